from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from torch import nn

import bench
from bench import bench_heads, features, grids
from bench.conftest import Skipped
from bench.references import adam_loop, label_loop, one_by_one, pytorch_loop, svc_grid, uncached_loop
from transfer.heads.registry import METHODS


class Collected:
    """The benchmarks that pytest finds in `bench/`, in the order that they run in."""

    items: tuple[pytest.Item, ...] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = tuple(session.items)


@pytest.fixture(scope="module")
def suites() -> tuple[pytest.Item, ...]:
    found = Collected()
    assert pytest.main([str(Path(bench.__file__).parent), "--collect-only", "-qq"], plugins=[found]) == 0
    return found.items


class TestSuites:
    def test_a_benchmark_is_an_operation_on_a_device(self, suites: tuple[pytest.Item, ...]) -> None:
        groups = [item.get_closest_marker("benchmark").kwargs["group"] for item in suites]  # type: ignore[union-attr]
        runs = [name for name, _ in groupby(groups)]
        assert len(runs) == len(set(runs)) > 10
        names = [item.name for item in suites]
        assert len(names) == len(set(names))

    def test_fits_with_a_reference_are_of_methods(self) -> None:
        assert {method for method, _ in bench_heads.EQUAL.values()} <= set(METHODS)

    def test_every_method_that_takes_a_device_is_fitted_on_cuda(self) -> None:
        assert {name for name in METHODS if bench_heads.takes_device(name)} == {
            name for name, method in METHODS.items() if "device" in vars(method.build(grids.CONFIG))
        }


class TestSkipped:
    def test_what_is_skipped_is_counted_by_reason(self) -> None:
        found = Skipped()
        for outcome, longrepr in (
            ("skipped", ("bench/conftest.py", 1, "Skipped: no CUDA device")),
            ("skipped", ("bench/conftest.py", 1, "Skipped: no CUDA device")),
            ("skipped", ("bench/bench_extract.py", 2, "Skipped: needs minutes")),
            ("passed", None),
            ("failed", "Skipped: in a message"),
        ):
            report = pytest.TestReport("a", ("a", 1, "a"), {}, outcome, longrepr, "call")  # type: ignore[arg-type]
            found.pytest_runtest_logreport(report)
        assert found.reasons == {"no CUDA device": 2, "needs minutes": 1}


class TestGrids:
    @pytest.mark.parametrize(
        ("name", "ours", "theirs"),
        [("ridge", "alpha", "alpha"), ("logreg", "C", "C"), ("knn", "k", "n_neighbors")],
    )
    def test_ours_go_through_the_settings_of_the_reference(self, name: str, ours: str, theirs: str) -> None:
        params = grids.search(name).get_params()
        assert list(params[ours]) == [one.get_params()[theirs] for one in one_by_one.GRIDS[name]]

    def test_svms_go_through_the_settings_of_the_reference(self) -> None:
        rows = features.synthetic(120, 40, 40, width=32, classes=3)
        search = grids.search("svm").fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
        settings = [params for row in search.cv_results_ for params in (row["params"], *row["same_as"])]
        found = {(params["kernel"], params["C"]) for params in settings}
        assert len(settings) == len(found)
        assert found == {(kernel, C) for kernel in svc_grid.KERNELS for C in svc_grid.GRID_C}
        lab = grids.search("svm-lab").get_params()
        assert (list(lab["kernels"]), list(lab["C"])) == (["rbf"], [1])

    def test_the_lab_s_last_layer_is_trained_as_the_loop_trains_it(self) -> None:
        params = grids.search("fc-lab").get_params()
        assert {word: params[word] for word in adam_loop.LAB} == adam_loop.LAB
        assert not params["standardize"]

    def test_an_axis_can_be_replaced(self) -> None:
        assert grids.search("ridge", alpha=(3.0,)).get_params()["alpha"] == (3.0,)


class TestReferences:
    @pytest.mark.slow
    def test_the_loop_over_rates_keeps_the_best_by_macro_f1_on_validation_rows(self) -> None:
        rows = features.synthetic(200, 60, 60, width=64, classes=4)
        settings: dict[str, Any] = {**adam_loop.LAB, "epochs": 3, "batch_size": 32}
        x_ND, y_N = torch.from_numpy(rows.x_train), torch.from_numpy(rows.y_train)
        layers = adam_loop.fit(x_ND, y_N, 4, **settings)
        f1 = [
            f1_score(rows.y_valid, adam_loop.predict(layer, rows.x_valid), average="macro", zero_division=0)
            for layer in layers
        ]
        assert len(layers) == len(adam_loop.LAB["lr"])
        assert len(set(f1)) > 1
        found = adam_loop.search(rows, **settings)
        torch.testing.assert_close(found.weight, layers[int(np.argmax(f1))].weight)

    def test_the_uncached_loop_moves_the_layer_alone(self) -> None:
        body, layer = nn.Linear(6, 4), nn.Linear(4, 2)
        before = [one.weight.clone() for one in (body, layer)]
        batches = [(torch.rand(5, 6), torch.tensor([0, 1, 0, 1, 1]))]
        uncached_loop.epoch(body, layer, torch.optim.Adam(layer.parameters()), batches)
        assert torch.equal(body.weight, before[0])
        assert not torch.equal(layer.weight, before[1])

    @pytest.mark.parametrize(
        ("has_bf16", "precision", "close"), [(True, "bf16", False), (False, "fp32", True)]
    )
    def test_the_pytorch_loop_emulates_no_bf16(
        self, monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str, close: bool
    ) -> None:
        monkeypatch.setattr(pytorch_loop, "has_bf16", lambda: has_bf16)
        assert pytorch_loop.precision("cpu") == precision
        assert pytorch_loop.precision("cuda") == "bf16"
        torch.manual_seed(0)
        body, x_N3HW = nn.Conv2d(3, 4, 3).eval(), torch.rand(2, 3, 6, 5)
        found = pytorch_loop.forward(pytorch_loop.prepare(body), x_N3HW)
        expected = body(x_N3HW).flatten(1).detach().numpy()
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-6) == close
        np.testing.assert_allclose(found, expected, atol=0.05)

    def test_the_label_loop_gives_files_in_their_order(self, tmp_path: Path) -> None:
        paths = [tmp_path / f"{i}.png" for i in range(11)]  # more than a batch
        for i, path in enumerate(paths):
            Image.new("RGB", (8, 4), (20 * i, 0, 0)).save(path)

        class Red:
            def predict(self, x_ND: np.ndarray) -> np.ndarray:
                return np.round((x_ND[:, 0] * 0.229 + 0.485) * 255 / 20).astype(int)

        assert label_loop.predict(paths, nn.Flatten(), Red(), (4, 8), "cpu") == list(range(11))
