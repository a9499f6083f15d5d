from __future__ import annotations

import gc
import json
from collections.abc import Callable
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
from bench import conftest, features
from bench.references import adam_loop, label_loop, one_by_one, svc_grid, uncached_loop
from transfer.config import RunConfig
from transfer.heads import METHODS

pytest_plugins = ["pytester"]

COMMON = {"way": "svm", "reference": False, "device": "cpu", "threads": 2}
CONFIG = RunConfig(data="synthetic")


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


@pytest.fixture
def run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[pytest.RunResult, dict[str, Any]]]:
    """A function that runs made-up benchmarks under the conftest of the real ones; the outcome and the file left."""
    monkeypatch.setattr(conftest, "REST_S", 0)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)

    def run(source: str, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        path = pytester.path / "times.json"
        pytester.makepyfile(source)
        words = ("-p", "bench.conftest", "-p", "no:cacheprovider", f"--benchmark-json={path}", *options)
        done = pytester.runpytest_inprocess(*words)
        return done, json.loads(path.read_text()) if path.exists() and path.stat().st_size else {}

    return run


class TestSuites:
    def test_each_benchmark_names_its_operation_and_has_the_clock_of_its_device(
        self, suites: tuple[pytest.Item, ...]
    ) -> None:
        assert suites
        for item in suites:
            marker = item.get_closest_marker("benchmark")
            assert marker is not None
            assert marker.kwargs["group"]
            assert marker.kwargs["timer"] is conftest.CLOCKS[conftest.device_of(item)]

    def test_ways_of_one_operation_run_one_after_the_other(self, suites: tuple[pytest.Item, ...]) -> None:
        groups = [item.get_closest_marker("benchmark").kwargs["group"] for item in suites]  # type: ignore[union-attr]
        runs = [name for name, _ in groupby(groups)]
        assert len(runs) == len(set(runs)) > 10

    def test_every_method_is_fitted_and_predicts_and_those_that_take_a_device_are_fitted_on_cuda(
        self, suites: tuple[pytest.Item, ...]
    ) -> None:
        names = {item.name for item in suites}
        for method, entry in METHODS.items():
            assert f"bench_fit[{method}-cpu]" in names
            assert f"bench_predict[{method}]" in names
            takes_a_device = "device" in entry.build(CONFIG).get_params()
            assert (f"bench_fit[{method}-cuda]" in names) == takes_a_device


class TestVocabulary:
    def test_what_all_agree_on_passes(self) -> None:
        conftest.check("fit", {**COMMON, "shape": [3, 4], "accuracy": 0.5})

    @pytest.mark.parametrize(
        ("group", "info", "told"),
        [
            (None, {**COMMON, "accuracy": 0.5}, "no group"),
            ("fit", {"way": "svm", "device": "cpu", "threads": 2, "accuracy": 0.5}, r"lacks \['reference'\]"),
            ("fit", {**COMMON, "accuracy": 0.5, "acuracy": 0.5}, r"unknown \['acuracy'\]"),
            ("fit", {**COMMON, "accuracy": np.float32(0.5)}, r"wrong kind for \['accuracy'\]"),
            ("fit", {**COMMON, "shape": [3, 4]}, "nothing shows that the answer was right"),
        ],
    )
    def test_what_differs_is_named(self, group: str | None, info: dict[str, Any], told: str) -> None:
        with pytest.raises(ValueError, match=told):
            conftest.check(group, info)


class TestTimed:
    def test_what_is_wrong_or_lacks_words_fails_and_leaves_no_time(
        self, run: Callable[..., tuple[pytest.RunResult, dict[str, Any]]]
    ) -> None:
        done, times = run(
            """
            import gc
            import pytest
            pytestmark = pytest.mark.benchmark(group="sum")

            def test_right(timed, benchmark):
                assert gc.get_freeze_count() > 0
                assert timed(lambda: 2, way="right") == 2
                benchmark.extra_info["accuracy"] = 1.0

            def test_wrong(timed, benchmark):
                benchmark.extra_info["accuracy"] = 0.0
                assert timed(lambda: 3, way="wrong") == 2

            def test_not_shown(timed):
                timed(lambda: 2, way="not shown")
            """
        )
        done.assert_outcomes(passed=1, failed=2)
        (kept,) = times["benchmarks"]
        assert kept["group"] == "sum"
        assert kept["extra_info"].items() >= {"way": "right", "reference": False, "device": "cpu"}.items()
        assert len(kept["stats"]["data"]) == conftest.PROFILES["fast"].rounds
        assert times["profile"] == "fast"
        assert "node" not in times["machine_info"]
        assert gc.get_freeze_count() == 0

    def test_each_round_has_arguments_of_its_own_and_dear_ways_fewer_rounds(
        self, run: Callable[..., tuple[pytest.RunResult, dict[str, Any]]]
    ) -> None:
        done, times = run(
            """
            import pytest
            pytestmark = pytest.mark.benchmark(group="sum")

            def test_fresh(timed, benchmark):
                made = []
                def fresh():
                    made.append([])
                    return (made[-1],), {}
                timed(lambda one: one.append(1), way="fresh", setup=fresh, scaled_by=2.0)
                assert made == [[1]] * 8  # a warm-up and seven rounds

            def test_dear(timed, benchmark):
                called, warmed = [], []
                timed(
                    lambda: called.append(1), way="dear", reference=True, scaled_by=2.0,
                    warm_up=lambda: warmed.append(1), at_most=2,
                )
                assert (len(called), len(warmed)) == (2, 1)
            """,
            "--profile=full",
        )
        done.assert_outcomes(passed=2)
        assert [len(one["stats"]["data"]) for one in times["benchmarks"]] == [7, 2]

    def test_the_clock_waits_for_cuda_at_both_edges_of_every_round(
        self,
        run: Callable[..., tuple[pytest.RunResult, dict[str, Any]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[str] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", seen.append)
        monkeypatch.setattr(conftest, "seen", seen, raising=False)
        done, _ = run(
            """
            import pytest
            from bench import conftest

            @pytest.mark.benchmark(group="sum")
            @pytest.mark.parametrize("device", ["cuda", "cpu"])
            def test_it(timed, device):
                timed(lambda: conftest.seen.append("work"), way="made up", scaled_by=2.0)
            """
        )
        done.assert_outcomes(passed=2)
        rounds = conftest.PROFILES["fast"].rounds + 1
        assert seen == ["cuda", "work", "cuda"] * rounds + ["work"] * rounds

    def test_without_a_gpu_its_cases_are_skipped_with_a_reason(
        self,
        run: Callable[..., tuple[pytest.RunResult, dict[str, Any]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        done, _ = run(
            """
            import pytest

            @pytest.mark.benchmark(group="sum")
            @pytest.mark.parametrize("device", ["cpu", "cuda"])
            def test_it(timed, device):
                assert device == "cpu"
                timed(lambda: 2, way="made up", scaled_by=2.0)
            """,
            "-rs",
        )
        done.assert_outcomes(passed=1, skipped=1)
        done.stdout.fnmatch_lines(["*no CUDA device*"])


class TestReferences:
    def test_grids_are_those_of_our_methods(self) -> None:
        def settings(name: str, *words: str) -> list[Any]:
            params = METHODS[name].build(CONFIG).get_params()
            return [list(params[word]) for word in words]

        for name, ours, theirs in (
            ("ridge", "alpha", "alpha"),
            ("logreg", "C", "C"),
            ("knn", "k", "n_neighbors"),
        ):
            assert settings(name, ours) == [[one.get_params()[theirs] for one in one_by_one.GRIDS[name]]]
        assert settings("svm", "kernels", "C") == [list(svc_grid.KERNELS), list(svc_grid.GRID_C)]
        assert settings("svm-lab", "kernels", "C") == [["rbf"], [1]]

    def test_the_loop_over_rates_keeps_the_best_by_macro_f1_on_validation_rows(self) -> None:
        rows = features.synthetic(200, 60, 60, width=64, classes=4)
        settings: dict[str, Any] = {"lr": CONFIG.lr, "epochs": 3, "batch_size": 32}
        x_ND, y_N = torch.from_numpy(rows.x_train), torch.from_numpy(rows.y_train)
        layers = adam_loop.fit(x_ND, y_N, 4, **settings)
        f1 = [
            f1_score(rows.y_valid, adam_loop.predict(layer, rows.x_valid), average="macro", zero_division=0)
            for layer in layers
        ]
        assert len(layers) == len(CONFIG.lr)
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

    def test_the_label_loop_gives_files_in_their_order(self, tmp_path: Path) -> None:
        paths = [tmp_path / f"{i}.png" for i in range(11)]  # more than a batch
        for i, path in enumerate(paths):
            Image.new("RGB", (8, 4), (20 * i, 0, 0)).save(path)

        class Red:
            def predict(self, x_ND: np.ndarray) -> np.ndarray:
                return np.round((x_ND[:, 0] * 0.229 + 0.485) * 255 / 20).astype(int)

        assert label_loop.predict(paths, nn.Flatten(), Red(), (4, 8), "cpu") == list(range(11))
