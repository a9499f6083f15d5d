"""How much work is done, counted: gates on running time that have no noise.

Every figure here follows from the number of images, their batches or the settings of a grid. A change that does
something twice, or again on a warm store, moves one of them on any machine, however fast or busy it is.

N: images. D: features an image.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from tests.engines.samples import BATCH, SIZE, photographs, plan_of
from transfer.backbones import fitting, networks, weights
from transfer.cache import feature_table, shards, store
from transfer.config import BUNDLED_BACKBONE, RunConfig
from transfer.data import decode, lagoon
from transfer.engines import build, options
from transfer.engines.eager import Eager
from transfer.evaluation import experiment, suspects
from transfer.features import plan
from transfer.heads import kernels, knn, multinomial, ncm, primal_problem, ridge, svm, training
from transfer.heads.registry import METHODS
from transfer.system import files
from transfer.system.content_ids import from_hex

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("timed_once")]
COUNTS = {
    "train": 7,
    "valid": 3,
    "test": 3,
}  # of each of two classes: 26 images, three batches and two left over
N, D = 26, 512
BATCHES = math.ceil(N / BATCH)
SIZE_CHECK = 1  # a pass of one image, so that a network that can't take this size is refused before any trial
ROW_BYTES = 4 * D + 32  # features and id
# At most, of a file: levels of each row, and a footer with what features depend on, twice (Arrow's schema has it too).
LEVELS, FOOTER = D // 8 + 8, 4000


@dataclass
class Work:
    """What was counted during a run."""

    passes: list[int] = field(default_factory=list)
    """Images in each forward pass, padding included: what reached the layer that sees three channels."""
    submitted: list[int] = field(default_factory=list)
    """Images in each batch that an engine was given."""
    decoded: list[str] = field(default_factory=list)
    """The sha256 of each file that was decoded."""
    written: list[tuple[Path, int]] = field(default_factory=list)
    """Each file that was written to the store, and its bytes."""
    resolved: Counter[str] = field(default_factory=Counter)
    """How often weights, engines and the device were decided on."""
    weights: Counter[str] = field(default_factory=Counter)
    """How often the weights' file was hashed, read, fitted to a network, and how often that was built."""
    verified: list[Path] = field(default_factory=list)
    """The table of each shard whose rows were checked."""
    flops: int = 0
    """Those of the check of labels apart."""
    label_flops: int = 0

    def bytes_of(self, suffix: str) -> int:
        return sum(size for path, size in self.written if path.suffix == suffix)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some images of lagoon in `images/`, and a file of weights that does not hang on them."""
    folder = tmp_path_factory.mktemp("work")
    for c, name in enumerate(("Mototopo", "Water")):
        for s, (split, count) in enumerate(COUNTS.items()):
            (folder / "images" / split / name).mkdir(parents=True)
            for i in range(count):
                image = lagoon.draw(name, np.random.default_rng((c, s, i)))
                image.save(folder / "images" / split / name / f"{i}.jpg")
    x_NHW3 = torch.from_numpy(photographs(BATCH))
    torch.save(
        networks.random_state("resnet18", seed=0, batches=[x_NHW3.permute(0, 3, 1, 2)]),
        folder / "weights.pth",
    )
    return folder


def counting(
    module: ModuleType | type, name: str, patch: pytest.MonkeyPatch, on_call: Callable[..., None]
) -> None:
    """Have `on_call` see the arguments of every call of a function or a method."""
    real = getattr(module, name)

    def counted(*args: Any, **settings: Any) -> Any:
        on_call(*args, **settings)
        return real(*args, **settings)

    patch.setattr(module, name, counted)


def run(root: Path, *, name: str = "store", models: Path | None = None, **settings: Any) -> None:
    given = {"backbone": "resnet18", "weights": str(root / "weights.pth"), "engine": "eager", **settings}
    config = RunConfig(
        data=str(root / "images"),
        store=root / name,
        size=SIZE,
        device="cpu",
        precision="fp32",
        methods=("svm",),
        **given,
    )
    experiment.run(config, models=models)


def work_of_a_run(root: Path) -> Work:
    work = Work()

    def passed(layer: nn.Module, args: tuple[torch.Tensor]) -> None:
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3:
            work.passes.append(len(args[0]))

    def hashed(path: Path) -> None:
        if path == root / "weights.pth":
            work.weights["hashed"] += 1

    def decoded(data: bytes, size: tuple[int, int], shift: int, resizing: object) -> None:
        work.decoded.append(hashlib.sha256(data).hexdigest())

    def read(path: Path, check: bool = True) -> None:
        if check:
            work.verified.append(path.parent)

    def wrote(path: Path, data: bytes) -> None:
        if path.is_relative_to(root / "store"):
            work.written.append((path, len(data)))

    score_out_of_fold = suspects.score_out_of_fold

    def scored(*args: Any) -> Any:
        before = counter.get_total_flops()
        scores = score_out_of_fold(*args)
        work.label_flops += counter.get_total_flops() - before
        return scores

    with pytest.MonkeyPatch.context() as patch, FlopCounterMode(display=False) as counter:
        counting(Eager, "submit", patch, lambda _, x_NHW3: work.submitted.append(len(x_NHW3)))
        counting(decode, "pixels", patch, decoded)
        counting(files, "file_sha256", patch, hashed)
        counting(weights, "_read", patch, lambda _: work.weights.update(["read"]))
        counting(fitting, "fill", patch, lambda *_: work.weights.update(["fitted"]))
        counting(models, "get_model", patch, lambda *_, **__: work.weights.update(["built"]))
        counting(plan, "list_options", patch, lambda **_: work.resolved.update(["engines"]))
        counting(options, "pick_device", patch, lambda _: work.resolved.update(["device"]))
        counting(plan, "choose_weights", patch, lambda _: work.resolved.update(["weights"]))
        counting(shards, "read", patch, read)
        counting(files, "write", patch, wrote)
        patch.setattr(suspects, "score_out_of_fold", scored)
        hook = nn.modules.module.register_module_forward_pre_hook(passed)
        try:
            run(root, models=root / "models")
        finally:
            hook.remove()
    work.flops = counter.get_total_flops() - work.label_flops
    return work


@pytest.fixture(scope="module")
def cold(root: Path) -> Work:
    return work_of_a_run(root)


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """The bytes of every file and when it was written, in nanoseconds.

    But for the list of files that were read: whether it has images made a moment ago depends on the clock.
    """
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != plan.KNOWN_FILES
    }


def test_a_cold_run_is_one_pass_for_each_batch(cold: Work) -> None:
    """`eager` and `fp32` leave nothing to try, a file of weights nothing to estimate."""
    assert cold.submitted == [BATCH] * (N // BATCH) + [N % BATCH]
    assert cold.passes == [SIZE_CHECK, *[BATCH] * BATCHES]


def test_a_cold_run_computes_what_so_many_images_need(cold: Work) -> None:
    """Of torchvision's own network without its last layer; folding batch norm adds nothing."""
    network = models.resnet18().eval()
    network.fc = nn.Identity()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, *SIZE))
    of_one = counter.get_total_flops()
    assert of_one > 1e8
    assert cold.flops == (SIZE_CHECK + BATCHES * BATCH) * of_one


def test_labels_are_checked_by_one_gram_matrix(cold: Work) -> None:
    assert 1 <= cold.label_flops / (2 * N * N * 512) < 1.2


def test_a_cold_run_decodes_every_image_once(root: Path, cold: Work) -> None:
    images = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (root / "images").rglob("*.jpg")}
    assert len(images) == N
    assert Counter(cold.decoded) == dict.fromkeys(images, 1)


def test_a_cold_run_writes_each_row_twice_and_little_else(cold: Work) -> None:
    """Once with its batch, which a kill must not lose; once more where small shards become one."""
    shards = BATCHES + 1
    assert 0 < cold.bytes_of(".parquet") - 2 * N * ROW_BYTES < 2 * N * LEVELS + shards * FOOTER
    assert {path.suffix for path, _ in cold.written} == {".parquet"}
    assert len(cold.written) == shards


def test_the_store_keeps_the_features_and_little_else(root: Path, cold: Work) -> None:
    [(size, _)] = files_of(root / "store").values()
    assert 0 < size - N * ROW_BYTES < N * LEVELS + FOOTER


def test_a_run_decides_once_and_reads_its_weights_once(cold: Work) -> None:
    """Though it saves a model, for which the network is needed again."""
    assert cold.resolved == {"weights": 1, "engines": 1, "device": 1}
    assert cold.weights == {"hashed": 1, "read": 1, "fitted": 1, "built": 1}


def test_a_warm_run_decodes_computes_and_writes_nothing(root: Path, cold: Work) -> None:
    """And it checks each shard once."""
    before = files_of(root / "store")
    assert before
    warm = work_of_a_run(root)
    assert warm == Work(
        resolved=cold.resolved, weights=cold.weights, verified=warm.verified, label_flops=cold.label_flops
    )
    assert len(warm.verified) == len(list((root / "store").glob("features/*/*.parquet")))
    assert files_of(root / "store") == before


@pytest.mark.parametrize("source", ["embedded", "random"])
def test_weights_that_are_no_users_are_read_when_the_network_is_needed(
    root: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"weights": source, "backbone": BUNDLED_BACKBONE if source == "embedded" else "resnet18"}
    counts: Counter[str] = Counter()
    run(root, name=source, **given)
    counting(files, "file_sha256", monkeypatch, lambda path: counts.update([path.suffix]))
    counting(weights, "_read", monkeypatch, lambda _: counts.update(["read"]))
    run(root, name=source, **given)
    assert counts == {".safetensors": 1, ".parquet": 1}
    run(root, name=source, models=root / f"models of {source}", **given)
    assert counts == {".safetensors": 3, ".parquet": 2, "read": 1}  # one of them is the saved head


def test_however_many_rows_each_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merging small shards into ever larger ones would write the first rows again and again."""
    work, total = Work(), 500
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 4 * BATCH)
    counting(files, "write", monkeypatch, lambda path, data: work.written.append((path, len(data))))
    kept = store.Store(tmp_path).table({"made": "up"})
    ids_N32 = from_hex([hashlib.sha256(bytes([i // 256, i % 256])).hexdigest() for i in range(total)])
    for start in range(0, total, BATCH):
        part_N32 = ids_N32[start : start + BATCH]
        kept.append(part_N32, np.zeros((len(part_N32), 3), np.float32), 0.1, "a machine")
    kept.merge()
    assert len(work.written) == math.ceil(total / BATCH) + math.ceil(total / (4 * BATCH))
    extra = work.bytes_of(".parquet") - 2 * total * (3 * 4 + 32)
    assert 0 < extra < 2 * total * LEVELS + len(work.written) * FOOTER


def test_openvino_converts_and_compiles_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    calls: Counter[str] = Counter()
    counting(openvino.Core, "compile_model", monkeypatch, lambda *_, **__: calls.update(["compile"]))
    counting(openvino, "convert_model", monkeypatch, lambda *_, **__: calls.update(["convert"]))
    run(root, engine="openvino", name="openvino")
    assert calls == {"convert": 1, "compile": 1}


class Tiny(nn.Module):
    """A network that compiles fast."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8)

    def forward(self, x_N3HW: torch.Tensor) -> torch.Tensor:
        mean_ND: torch.Tensor = self.norm(self.conv(x_N3HW)).relu().mean((2, 3))
        return mean_ND


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch.compiler.reset()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("fresh_compiler")
def test_nothing_is_compiled_again_after_the_first_batch() -> None:
    engine = build(Tiny().eval(), plan_of("compile"), SIZE)
    engine.submit(photographs(BATCH))()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # no part of it is left to Python
    with torch.compiler.set_stance("fail_on_recompile"):
        for count in (BATCH, 3, 1, BATCH):
            assert engine.submit(photographs(count, seed=count))().shape == (count, 8)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, ...]:
    """X, y, X_valid, y_valid: more rows than features."""
    x, y = make_classification(300, 20, n_informative=10, n_classes=4, n_clusters_per_class=1, random_state=0)
    return x[:200].astype(np.float32), y[:200], x[200:].astype(np.float32), y[200:]


@pytest.mark.parametrize("name", METHODS)
def test_a_search_standardises_once(
    name: str, rows: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a whole grid, not for each of its settings; an SVM is standardised in float64, by scikit-learn."""
    seen: list[int] = []
    for module in (knn, ncm, primal_problem, multinomial, ridge, training):
        counting(module, "compute_moments", monkeypatch, lambda x_ND: seen.append(len(x_ND)))
    METHODS[name].build(RunConfig(data="x", epochs=1, device="cpu")).fit(*rows)
    times = {"fc-lab": 0, "svm-lab": 0, "svm": 0, "ridge": 2}.get(
        name, 1
    )  # ridge: once for each class weight
    assert seen == [200] * times


@pytest.mark.parametrize("gammas", [("scale",), ("scale", 0.1, 1.0)])
def test_an_svm_search_makes_one_gram_matrix_and_a_kernel_for_each_kind(
    rows: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch, gammas: tuple[Any, ...]
) -> None:
    products: list[int] = []
    made: list[tuple[str, int]] = []
    counting(kernels.Gram, "products", monkeypatch, lambda _, x_MD: products.append(len(x_MD)))
    counting(
        kernels,
        "kernel_values",
        monkeypatch,
        lambda name, _, products_MN, *__: made.append((name, len(products_MN))),
    )
    svm.SVMSearch(gamma=gammas, extend=False).fit(*rows)
    assert products == [200, 100]  # training rows, and once more validation rows with them
    kinds = {"linear": 1, "rbf": len(gammas)}
    assert Counter(made) == {(kind, count): kinds[kind] for kind in kinds for count in (200, 100)}


@pytest.mark.parametrize("taken", [200, 15])
def test_a_ridge_search_reads_the_rows_once_and_factors_once_a_penalty(
    rows: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """Whichever of rows and features are fewer."""
    factored: list[tuple[int, ...]] = []
    passes: list[int] = []
    counting(torch.linalg, "cholesky", monkeypatch, lambda gram_KK: factored.append(tuple(gram_KK.shape)))
    counting(ridge, "gen_batches", monkeypatch, lambda total, _: passes.append(total))
    for module in (scipy.linalg, np.linalg):
        for name in ("eigh", "svd", "solve", "inv"):
            monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("another factorisation"))
    x, y, x_valid, y_valid = rows
    ridge.RidgeSearch(alpha=(1, 10, 100), extend=False).fit(x[:taken], y[:taken], x_valid, y_valid)
    narrow = min(taken, x.shape[1])
    assert factored == [(narrow, narrow)] * 3
    assert passes == [taken]
