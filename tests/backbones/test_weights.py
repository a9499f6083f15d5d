from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file
from torchvision import models

from tests.refusals import refusal
from transfer.backbones import networks, weights
from transfer.backbones.choice import choose_weights
from transfer.backbones.preprocessing import IMAGENET
from transfer.cache.store import Store
from transfer.config import RunConfig
from transfer.data.bad_images import BadImages
from transfer.data.dataset import ImageSet, Samples
from transfer.data.indexing import read
from transfer.data.loader import IndexedImages
from transfer.data.names import Names
from transfer.features.extract import extract
from transfer.features.plan import plan_extraction
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.files import stamp
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

State = dict[str, torch.Tensor]
SIZE = (64, 64)


def small_state() -> State:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator),
        "bn.num_batches_tracked": torch.tensor(7),
    }


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w"])
def test_tensors_are_loaded_from_torchs_files(tmp_path: Path, name: str) -> None:
    torch.save(small_state(), tmp_path / name)
    assert_same(weights.load(tmp_path / name), small_state())


def test_tensors_are_loaded_from_torchs_older_files(tmp_path: Path) -> None:
    torch.save(OrderedDict(small_state()), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_same(weights.load(tmp_path / "w.pth"), small_state())


def test_tensors_are_loaded_from_safetensors(tmp_path: Path) -> None:
    save_file(small_state(), tmp_path / "w.safetensors")
    assert_same(weights.load(tmp_path / "w.safetensors"), small_state())


def test_parameters_are_loaded_too(tmp_path: Path) -> None:
    parameters = {key: torch.nn.Parameter(v, v.is_floating_point()) for key, v in small_state().items()}
    torch.save(parameters, tmp_path / "w.pth")
    assert_same(weights.load(tmp_path / "w.pth"), small_state())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model": state, "epoch": 3, "args": {"lr": 0.1}},
        lambda state: {"state_dict": state, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"state_dict": {"model": state}},
        lambda state: OrderedDict(state),
    ],
    ids=["state_dict", "model", "with optimizer", "module.", "both", "nested twice", "ordered"],
)
def test_training_checkpoints_are_unwrapped(tmp_path: Path, wrap: Callable[[State], Any]) -> None:
    torch.save(wrap(small_state()), tmp_path / "w.pth")
    found = weights.load(tmp_path / "w.pth")
    names = {re.sub(r"^(state_dict\.|model\.|module\.)+", "", name): name for name in found}
    assert_same({ours: found[name] for ours, name in names.items()}, small_state())


def test_a_network_called_module_keeps_its_name(tmp_path: Path) -> None:
    save_file({"modules.weight": torch.ones(2), "a.module.weight": torch.ones(3)}, tmp_path / "w.safetensors")
    assert weights.load(tmp_path / "w.safetensors").keys() == {"modules.weight", "a.module.weight"}


class Code:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "nested"])
def test_code_in_a_file_is_refused_and_never_run(tmp_path: Path, form: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "w.pth"
    held: Any = {**small_state(), "code": Code(trace)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(Code(trace), protocol=2))
    elif form == "nested":
        torch.save({"state_dict": small_state(), "extra": [held]}, path)
    else:
        torch.save(held, path, _use_new_zipfile_serialization=form == "zip")
    assert str(path) in refusal(weights.load, path)
    assert not trace.exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists(), "the file would not have run its code anyway"


def test_code_under_the_name_of_safetensors_is_refused_and_never_run(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "w.safetensors"
    torch.save({"code": Code(trace)}, path)
    assert str(path) in refusal(weights.load, path)
    assert not trace.exists()


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"fc.weight": torch.zeros(1000, 1000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    assert packed.stat().st_size < plain.stat().st_size / 100
    with pytest.raises(UserError, match="unpacks to more than it is"):
        weights.load(packed)
    assert weights.load(plain).keys() == {"fc.weight"}


def test_a_file_that_would_keep_its_reader_busy_is_refused(tmp_path: Path) -> None:
    busy: Any = ()
    for _ in range(60):
        busy = (busy, busy)
    torch.save({"a": busy}, tmp_path / "w.pth")
    message = refusal(weights.load, tmp_path / "w.pth")
    assert "can't be read as weights: its tuples hold each other too many times" in message


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("can't allocate memory")],
    ids=repr,
)
def test_a_want_of_memory_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(MemoryError):
        weights.load(tmp_path / "w.pth")


@pytest.mark.parametrize("length", [2**40, 2**63, 100_000_001])
def test_a_header_of_absurd_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" * 100)
    with pytest.raises(UserError, match="can't be read as weights"):
        weights.load(path)


@pytest.mark.slow
def test_a_tensor_larger_than_what_it_is_made_of_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = models.resnet18().state_dict()
    state["conv1.weight"] = torch.zeros(1).expand(2**20, 2**20)  # 4 terabytes, in 4 bytes
    torch.save(state, path)
    with pytest.raises(UserError):
        networks.build("resnet18", weights.load(path))


def test_a_file_that_changes_while_it_is_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(small_state(), path)
    before = stamp(path)
    assert_same(weights.load(path, before), small_state())
    torch.save({**small_state(), "conv.bias": torch.zeros(4)}, path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # clocks of file systems may be coarse
    with pytest.raises(UserError, match="changed while it was being used"):
        weights.load(path, before)


def test_a_whole_pickled_network_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    message = refusal(weights.load, tmp_path / "w.pth")
    assert "state_dict()" in message


GARBAGE = {
    "empty": b"",
    "text": b"hello, these are no weights\n",
    "words": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n",
    "markup": b"<!DOCTYPE html><html><body>404</body></html>",
    "JSON": b'{"weights": [1, 2, 3]}',
    "dot": b".",
    "zeros": bytes(64),
    "empty pickle": b"\x80\x02.",
    "zip's first bytes": b"PK\x03\x04" + bytes(30),
    "accents": "è una prova".encode("latin-1"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    assert str(path) in refusal(weights.load, path)


def test_bytes_of_no_kind_are_said_to_be_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert "is not a file of PyTorch or safetensors" in refusal(weights.load, path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(small_state(), path)
    else:
        save_file(small_state(), path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert str(path) in refusal(weights.load, path)


@pytest.mark.parametrize(
    "held",
    [
        torch.ones(3),
        [torch.ones(3)],
        {"weight": "heavy"},
        {"state_dict": [1, 2]},
        {0: torch.ones(3)},
        {"model": {1: torch.ones(3)}},
        3,
        None,
    ],
    ids=["tensor", "list", "text", "wrapped list", "numbered", "wrapped numbered", "number", "nothing"],
)
def test_anything_but_a_state_dict_is_refused(tmp_path: Path, held: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(held, path)
    message = refusal(weights.load, path)
    assert str(path) in message
    assert "state_dict()" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"w{suffix}"
    if kind == "folder":
        path.mkdir()
    assert str(path) in refusal(weights.load, path)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def image_set(root: Path, *, train: int, size: tuple[int, int] = SIZE) -> ImageSet:
    """`train` images to train on and four others; all different."""
    rng = np.random.default_rng(0)
    splits: dict[str, Samples] = {}
    for split, count in (("train", train), ("valid", 2), ("test", 2)):
        (root / split).mkdir(parents=True)
        names = Names.of(f"{split}/{i:03}.png" for i in range(count))
        splits[split] = Samples(root, names, np.arange(count, dtype=np.int32) % 2)
        for sample in splits[split]:
            PillowImage.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(sample.path)
    return ImageSet(name="noise", root=root, classes=("a", "b"), splits=splits)


def images_in(root: Path, pool: ThreadPoolExecutor, *, train: int = 6) -> IndexedImages:
    return read(image_set(root, train=train), pool, BadImages(root, "error"), silent)


class Finder:
    """`weights.find` with a store and images of its own."""

    def __init__(self, root: Path, pool: ThreadPoolExecutor, *, train: int = 6) -> None:
        self.root = root
        self.pool = pool
        self.images = images_in(root / "images", pool, train=train)

    def __call__(
        self, size: tuple[int, int] = SIZE, images: IndexedImages | None = None, **values: Any
    ) -> weights.Weights:
        config = RunConfig(**{"backbone": "shufflenet_v2_x0_5", "weights": "random", **values})
        images = self.images if images is None else images
        bad = BadImages(self.root / "images", config.on_bad_image)
        return weights.find(choose_weights(config), images, size, Store(self.root / "store"), self.pool, bad)


@pytest.fixture
def finder(tmp_path: Path, pool: ThreadPoolExecutor) -> Finder:
    return Finder(tmp_path, pool)


def test_random_weights_are_made_once(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = finder()
    assert first.source == "random"
    assert first.path.is_relative_to(finder.root / "store")
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(networks, "random_state", refuse)
    assert finder() == first


def test_another_run_may_make_the_same_random_weights_before_they_are_read(finder: Finder) -> None:
    first = finder()
    files.write(first.path, first.path.read_bytes())  # as `Store.keep` does: another file with these bytes
    assert isinstance(first.network, torch.nn.Module)


@pytest.mark.slow
def test_random_weights_fit_their_network(finder: Finder) -> None:
    network = networks.build("shufflenet_v2_x0_5", weights.load(finder().path))
    with torch.inference_mode():
        features = network(torch.randn(2, 3, *SIZE))
    assert features.shape == (2, 1024)
    assert features.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [{"seed": 1}, {"size": (64, 96)}, {"backbone": "squeezenet1_1"}, {"channel_order": "bgr"}],
    ids=str,
)
def test_other_random_weights_are_another_file(finder: Finder, values: dict[str, Any]) -> None:
    first, other = finder(), finder(**values)
    assert other.path != first.path
    assert other.sha256 != first.sha256
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_other_training_images_bring_other_random_weights(finder: Finder) -> None:
    assert finder().sha256 != finder(images=finder.images[1:]).sha256


@pytest.mark.slow
def test_images_of_the_other_splits_do_not_matter(finder: Finder) -> None:
    assert finder(images=finder.images.in_split("train")) == finder()


@pytest.mark.parametrize("train", [3, 40, 70])
def test_statistics_are_estimated_on_some_training_images_each_once(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, train: int
) -> None:
    finder = Finder(tmp_path, pool, train=train)
    given: list[torch.Tensor] = []

    def note(name: str, *, seed: int, batches: Iterable[torch.Tensor], **_: Any) -> State:
        given.extend(batches)
        return {"weight": torch.zeros(1)}

    monkeypatch.setattr(networks, "random_state", note)
    finder(images=finder.images.select(np.append(np.arange(len(finder.images)), [0, 1])))
    chosen = sorted(finder.images.in_split("train"), key=lambda image: image.id)[:64]
    expected = np.stack([np.asarray(PillowImage.open(image.path)) for image in chosen])
    found = torch.cat(given)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
    assert all(len(batch) <= 16 for batch in given)


def test_random_weights_are_there_whole_or_not_at_all(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(networks, "random_state", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finder()
    assert not [path for path in (finder.root / "store").rglob("*") if path.is_file()]
    assert load_file(finder().path)


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_a_file_of_the_user_is_taken_as_it_is(finder: Finder, name: str) -> None:
    path = finder.root / name
    state = models.shufflenet_v2_x0_5().state_dict()
    torch.save(state, path) if name.endswith(".pth") else save_file(state, path)
    found = finder(weights=str(path))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == weights.Weights(
        backbone="shufflenet_v2_x0_5", source=name, path=path, sha256=expected, of_user=True
    )


@pytest.mark.slow
def test_a_file_of_another_network_is_reported_before_an_engine_is_made(finder: Finder) -> None:
    path = finder.root / "mine.pth"
    torch.save({"model": models.shufflenet_v2_x1_0().state_dict()}, path)
    message = refusal(finder, weights=str(path))
    assert message.startswith(f"{path}: these weights do not fit shufflenet_v2_x0_5")
    assert message.endswith("give `backbone='shufflenet_v2_x1_0'`")


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"mean": (0.5, 0.5, 0.5)}], ids=str)
def test_what_a_file_does_not_tell_is_said(
    finder: Finder, caplog: pytest.LogCaptureFixture, given: dict[str, Any]
) -> None:
    path = finder.root / "mine.pth"
    state = models.shufflenet_v2_x0_5().state_dict()
    changed = {key: value + 1 for key, value in state.items()}
    torch.save({"model": state, "ema": changed}, path)
    with caplog.at_level("INFO", "transfer"):
        found = finder(weights=str(path), **given)
    assert len(found.remarks) == 1
    assert f"mine.pth: {found.remarks[0]}" in caplog.messages
    assert ("pixels are scaled by ImageNet's mean" in caplog.text) == (not given)


def test_imagenets_statistics_follow_the_order_of_channels() -> None:
    rgb, bgr = (choose_weights(RunConfig(channel_order=order)).normalisation for order in ("rgb", "bgr"))
    assert rgb == IMAGENET
    assert (bgr.mean, bgr.std) == (rgb.mean[::-1], rgb.std[::-1])
    given = RunConfig(mean=(0.1, 0.2, 0.3), channel_order="bgr")
    assert choose_weights(given).normalisation.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_weights_file_that_is_none_is_reported(finder: Finder, kind: str) -> None:
    path = finder.root / "mine.pth"
    if kind == "folder":
        path.mkdir()
    message = refusal(finder, weights=str(path))
    for part in (str(path), "pretrained", "embedded", "random", ".safetensors", ".pth", ".bin"):
        assert part in message


def test_imagenet_weights_are_found_in_torchs_cache(
    hub: Path, finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub / "squeezenet1_1-b8a52dc0.pth"
    path.write_bytes(b"weights")
    expected = "b8a52dc0" + "0" * 56
    monkeypatch.setattr(files, "file_sha256", lambda path: expected)
    found = finder(weights="imagenet", backbone="squeezenet1_1")
    assert found == weights.Weights(backbone="squeezenet1_1", source="imagenet", path=path, sha256=expected)


@pytest.mark.slow
def test_a_size_that_the_network_cannot_take_is_reported_before_random_weights_are_made(
    tmp_path: Path,
) -> None:
    images = image_set(tmp_path / "images", train=4, size=(32, 32))
    config = RunConfig(
        backbone="inception_v3", weights="random", device="cpu", precision="fp32", store=tmp_path / "store"
    )
    message = refusal(extract, plan_extraction(config), images, Stopwatch("cpu"), silent)
    assert "inception_v3" in message
    assert "64x64" in message  # to which small images are scaled
    assert "224x224" in message
