from __future__ import annotations

import io
import itertools
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image as PillowImage
from pyarrow import parquet

from tests.samples import MakeImages
from transfer import engines
from transfer.backbones import memory, networks, torchvision_files, weights
from transfer.backbones.pixels import normalise
from transfer.backbones.sources import SOURCES
from transfer.cache import shards
from transfer.cache.feature_table import FeatureTable
from transfer.cache.store import Store
from transfer.config import RunConfig
from transfer.data import dataset, decode, resize
from transfer.engines import autotune, inductor, openvino, options, trials
from transfer.engines.eager import Eager
from transfer.engines.options import BATCH
from transfer.features import extract, extractor, fill, matmul_share
from transfer.features.extract import Features
from transfer.features.extractor import FeatureExtractor
from transfer.features.plan import plan_extraction
from transfer.system import hardware
from transfer.system.errors import UserError
from transfer.system.progress import silent
from transfer.system.row_storage import is_mapped
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets")]


def config(root: Path, **settings: Any) -> RunConfig:
    given = {
        "backbone": "resnet18",
        "weights": "random",
        "device": "cpu",
        "engine": "eager",
        "precision": "fp32",
        **settings,
    }
    return RunConfig(data=str(root / "images"), store=root / "store", **given)


def features(root: Path, **settings: Any) -> Features:
    found = dataset.find(root / "images")
    return extract.extract(plan_extraction(config(root, **settings)), found, Stopwatch(), silent)


def usual_setup(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    for name, setup_s in seconds.items():
        spec = replace(engines.ENGINES[name], usual_setup_s=setup_s)
        monkeypatch.setitem(engines.ENGINES, name, spec)


def everything(found: Features) -> np.ndarray:
    return np.concatenate([part.x_ND for part in found.splits.values()])


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in every forward pass of the network."""
    counted: list[int] = []
    real = Eager.submit

    def count(self: Eager, x_NHW3: np.ndarray) -> Callable[[], np.ndarray]:
        counted.append(len(x_NHW3))
        return real(self, x_NHW3)

    monkeypatch.setattr(Eager, "submit", count)
    return counted


def test_features_are_what_the_network_gives_one_image_at_a_time(
    tmp_path: Path, make_images: MakeImages
) -> None:
    make_images(tmp_path / "images")
    found = features(tmp_path)
    network = networks.build("resnet18", weights.load(found.extraction.weights.path))
    for split, samples in dataset.find(tmp_path / "images").splits.items():
        part = found.splits[split]
        assert part.x_ND.dtype == np.float32
        assert part.y_N.tolist() == [sample.label for sample in samples]
        for row, sample in zip(part.x_ND, samples, strict=True):
            pixels = np.array(decode.pixels(sample.path.read_bytes(), (48, 64)))
            alone = torch.from_numpy(pixels).permute(2, 0, 1)[None]
            with torch.no_grad():
                expected = network(normalise(alone))[0]
            np.testing.assert_allclose(row, expected, atol=5e-5)


def test_features_on_disk_are_those_in_memory(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images")
    inside, outside = features(tmp_path), features(tmp_path, from_disk=True)
    assert (is_mapped(inside.x_ND), is_mapped(outside.x_ND)) == (False, True)
    assert all(is_mapped(part.x_ND) for part in outside.splits.values())
    np.testing.assert_array_equal(outside.x_ND, inside.x_ND)


def test_a_second_run_computes_nothing(tmp_path: Path, make_images: MakeImages, forwards: list[int]) -> None:
    make_images(tmp_path / "images")
    cold = features(tmp_path)
    assert forwards == [8] * 6  # 3 classes of 8 + 4 + 4 images, in batches of 8
    assert (cold.extraction.computed, cold.extraction.reused) == (48, 0)
    forwards.clear()
    warm = features(tmp_path)
    assert forwards == []
    assert (warm.extraction.computed, warm.extraction.reused) == (0, 48)
    assert warm.extraction.cold_s == pytest.approx(cold.extraction.cold_s)
    np.testing.assert_array_equal(everything(warm), everything(cold))


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], dict[str, Any]]] = {
    "weights": lambda patch: {"weights": "random", "seed": 1},
    "size": lambda patch: {"size": (64, 64)},
    "backbone": lambda patch: {"backbone": "resnet34"},
    "precision": lambda patch: {"precision": "bf16"},
    "engine": lambda patch: {"engine": "openvino"},
    "layer": lambda patch: patch.setitem(SOURCES, "", replace(SOURCES[""], layer="another")) or {},
    "mean": lambda patch: {"mean": (0.5, 0.5, 0.5)},
    "spread": lambda patch: {"std": (0.5, 0.5, 0.5)},
    "layers": lambda patch: {"layers": ("layer3", "layer4")},
    "one layer": lambda patch: {"layers": ("layer4",)},
    "letterbox": lambda patch: {"resize": "letterbox"},
    "crop": lambda patch: {"resize": "crop"},
    "order of channels": lambda patch: {"channel_order": "bgr"},
    "decoder's version": lambda patch: patch.setitem(decode.DECLARED, "decoder", "pillow 99") or {},
    "rule of resizing": lambda patch: patch.setitem(resize._DECLARED, "stretch", "cropped") or {},
    "torch's version": lambda patch: patch.setattr(torch, "__version__", "99.0.0") or {},
    "torchvision's version": lambda patch: (
        patch.setattr(torchvision_files, "version", lambda: "99.0.0") or {}
    ),
    "engine's version": lambda patch: patch.setattr(options, "version", lambda name: "99") or {},
    "store's version": lambda patch: patch.setattr(extractor, "SCHEMA_VERSION", 99) or {},
}


def test_whatever_features_hang_on_is_never_answered_from_what_it_was(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "images", train=2, valid=1, test=1)
    given = {"backbone": "resnet18"}
    keys = {features(tmp_path, **given).extraction.table.key}
    for name, change in CHANGES.items():
        with monkeypatch.context() as patch:
            found = features(tmp_path, **given | change(patch)).extraction
            assert found.computed == len(found.images) == 12, f"{name}: stale"
            keys.add(found.table.key)
    assert features(tmp_path, **given).extraction.computed == 0
    assert len(keys) == len(CHANGES) + 1


def test_the_decoder_of_heic_counts_where_there_is_heic(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    given = {"backbone": "resnet18", "weights": str(_weights(tmp_path))}
    one = next(make_images(tmp_path / "images", train=2, valid=1, test=1).glob("train/*/*.jpg"))
    without = features(tmp_path, **given).extraction.table.key
    with monkeypatch.context() as patch:
        patch.setattr(pillow_heif, "__version__", "99")
        assert features(tmp_path, **given).extraction.table.key == without
    pillow_heif.register_heif_opener()
    with PillowImage.open(one) as image:
        image.save(one, "HEIF")
    assert features(tmp_path, **given).extraction.table.key != without
    assert features(tmp_path, **given).extraction.computed == 0
    monkeypatch.setattr(pillow_heif, "__version__", "99")
    assert features(tmp_path, **given).extraction.computed == 12


@pytest.mark.trial
def test_ten_more_images_are_all_that_is_computed(
    tmp_path: Path, forwards: list[int], pytestconfig: pytest.Config
) -> None:
    rng = np.random.default_rng(0)
    root = tmp_path / "images"
    for c in range(2):
        (root / f"class{c}").mkdir(parents=True)

    def add(numbers: range) -> None:
        for i in numbers:
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            PillowImage.fromarray(pixels).save(root / f"class{i % 2}" / f"{i:05}.bmp")

    before = 100 * int(pytestconfig.getoption("--trial-share"))
    add(range(before))
    found = dataset.find(root)
    watch = Stopwatch()
    assert fill.fill(plan_extraction(_tiny(tmp_path)), found, watch, silent).computed == before
    forwards.clear()
    add(range(before, before + 10))
    (root / "class0").rename(root / "renamed")
    more = fill.fill(plan_extraction(_tiny(tmp_path)), dataset.find(root), watch, silent)
    assert (more.computed, more.reused) == (10, before)
    assert len(forwards) == 2


def _tiny(root: Path) -> RunConfig:
    path = root / "weights.pth"
    if not path.exists():
        torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return config(root, backbone="squeezenet1_1", weights=str(path), size=(32, 32))


def test_images_are_known_by_their_bytes(
    tmp_path: Path, make_images: MakeImages, forwards: list[int]
) -> None:
    root = make_images(tmp_path / "images")
    before = features(tmp_path, weights=str(_weights(tmp_path)))
    forwards.clear()
    (root / "train/class0/0.jpg").rename(root / "train/class0/renamed.jpg")
    shutil.copy(root / "train/class1/0.jpg", root / "train/class1/copy.jpg")
    again = features(tmp_path, weights=str(_weights(tmp_path)))
    assert forwards == []
    assert (again.extraction.computed, again.extraction.reused) == (0, 49)
    shutil.copy(root / "train/class1/0.jpg", root / "train/class0/1.jpg")  # the same name, other bytes
    make_images(tmp_path / "more", seed=9)
    for i in range(3):
        shutil.copy(tmp_path / f"more/train/class2/{i}.jpg", root / f"train/class2/new{i}.jpg")
    added = features(tmp_path, weights=str(_weights(tmp_path)))
    assert forwards == [3]
    assert added.extraction.table.key == before.extraction.table.key


def _weights(root: Path) -> Path:
    """A file of weights that does not hang on the images, as random ones do."""
    path = root / "weights.pth"
    if not path.exists():
        path.write_bytes(_bytes_of_weights())
    return path


@cache
def _bytes_of_weights() -> bytes:
    noise = torch.randint(256, (8, 3, 48, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    file = io.BytesIO()
    torch.save(networks.random_state("resnet18", seed=0, batches=[noise]), file)
    return file.getvalue()


def test_a_decoder_for_cuda_is_refused_on_a_processor(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images", train=3, valid=2, test=2)
    with pytest.raises(UserError, match="`decoder='nvjpeg'` runs on a CUDA device; use `decoder='pillow'`"):
        features(tmp_path, decoder="nvjpeg")
    assert not (tmp_path / "store").exists()


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_images_decoded_on_the_device_have_a_key_of_their_own(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "images", train=3, valid=2, test=2)
    weights = str(_weights(tmp_path))
    one = features(tmp_path, weights=weights)
    # torchvision's decoder for processors stands in for the device.
    planned = replace(plan_extraction(config(tmp_path, weights=weights)), decoder="nvjpeg")
    found = dataset.find(tmp_path / "images")
    other = extract.extract(planned, found, Stopwatch(), silent)
    assert other.extraction.table.key != one.extraction.table.key
    assert other.extraction.computed == 21
    np.testing.assert_allclose(everything(other), everything(one), rtol=1e-4, atol=1e-5)


def test_imagenets_statistics_given_are_the_default(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images", train=3, valid=2, test=2)
    weights = str(_weights(tmp_path))
    key = features(tmp_path, weights=weights).extraction.table.key
    given = features(tmp_path, weights=weights, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert given.extraction.table.key == key
    assert given.extraction.computed == 0


def test_sizes_that_differ_are_stretched_to_224_and_a_line_says_so(
    tmp_path: Path, make_images: MakeImages, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "transfer")
    root = make_images(tmp_path / "images", train=3, valid=2, test=2)
    assert features(tmp_path).extraction.size == (48, 64)
    decode.Image.new("RGB", (50, 50)).save(root / "train/class0/other.png")
    assert "several sizes" not in caplog.text
    assert features(tmp_path).extraction.size == (224, 224)
    assert "the images have several sizes: all are stretched to 224x224 (`resize='letterbox'`" in caplog.text
    caplog.clear()
    features(tmp_path, resize="letterbox")
    assert "several sizes" not in caplog.text


@pytest.mark.parametrize(("own", "expected"), [((20, 30), (64, 96)), ((960, 640), (679, 453))])
def test_the_default_size_is_bounded_and_a_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, own: tuple[int, int], expected: tuple[int, int]
) -> None:
    def draw(rng: np.random.Generator) -> np.ndarray:
        return np.tile(rng.integers(0, 256, (10, 10, 3), np.uint8), (own[0] // 10, own[1] // 10, 1))

    write_images(tmp_path / "images", draw, count=1)
    assert features(tmp_path).extraction.size == expected
    assert f"the images are {own[0]}x{own[1]}: they are scaled to {expected[0]}x{expected[1]}" in caplog.text
    caplog.clear()
    assert features(tmp_path, size=(48, 64)).extraction.size == (48, 64)
    assert "scaled" not in caplog.text


def write_images(root: Path, draw: Callable[[np.random.Generator], np.ndarray], count: int = 2) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for c in "ab":
            (root / split / c).mkdir(parents=True)
            for i in range(count):
                decode.Image.fromarray(draw(rng)).save(root / split / c / f"{i}.png")


def test_a_set_of_12_bits_of_16_is_seen_as_the_same_set_of_8(tmp_path: Path) -> None:
    shown = [np.random.default_rng(i).integers(0, 256, (48, 64), dtype=np.uint8) for i in range(12)]
    shown[0][0, 0] = 255
    weights = str(_weights(tmp_path))
    found = {}
    for bits in (8, 12, 14):
        left = iter(shown)

        def draw(_: np.random.Generator, left: Any = left, bits: int = bits) -> np.ndarray:
            x = next(left)
            return x if bits == 8 else x.astype(np.uint16) << (bits - 8)

        write_images(tmp_path / f"{bits}" / "images", draw)
        found[bits] = features(tmp_path / f"{bits}", weights=weights)
    assert [one.extraction.images.shift for one in found.values()] == [8, 4, 6]
    for one in found.values():
        np.testing.assert_array_equal(one.x_ND, found[8].x_ND)
    assert len({one.extraction.table.key for one in found.values()}) == 3


@pytest.mark.parametrize("value", [0, 77])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_one_colour_get_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, value: int, dtype: type[np.generic]
) -> None:
    count = itertools.count(48)  # files of different bytes, stretched to one size
    write_images(tmp_path / "images", lambda _: np.full((48, next(count)), value, dtype))
    found = features(tmp_path, weights=str(_weights(tmp_path)), size=(48, 64))
    assert found.alike == (value, value)
    assert f"pixels are {value} to {value} of 255" in caplog.text


def test_a_forward_pass_that_does_not_fit_is_refused_before_it(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, forwards: list[int]
) -> None:
    make_images(tmp_path / "images", train=3, valid=2, test=2)
    weights = str(_weights(tmp_path))
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with pytest.raises(UserError, match=r"one image at 480x640 .* smaller `size`"):
        features(tmp_path, weights=weights, size=(480, 640))
    assert not forwards
    monkeypatch.setattr(memory, "available_bytes", lambda: 5 * 10**6)
    assert features(tmp_path, weights=weights, size=(96, 128)).extraction.plan.batch < BATCH["cpu"]
    assert max(forwards) < BATCH["cpu"]


def test_features_that_are_not_finite_are_refused_and_not_kept(
    tmp_path: Path, make_images: MakeImages
) -> None:
    make_images(tmp_path / "images", train=3, valid=2, test=2)
    path = _weights(tmp_path)
    state = torch.load(path)
    state["layer4.0.bn2.weight"][0] = float("nan")
    torch.save(state, path)
    with pytest.raises(UserError, match="not finite in fp32; try other weights"):
        features(tmp_path, weights=str(path))
    assert _rows(tmp_path / "store") == {}


def test_auto_goes_on_with_the_way_that_the_store_holds(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images")
    weights = str(_weights(tmp_path))
    asked = features(tmp_path, weights=weights, engine="openvino", precision="fp32")
    auto = features(tmp_path, weights=weights, engine="auto", precision="auto")
    assert auto.extraction.picked.reason == autotune.CACHED
    assert (auto.extraction.computed, auto.extraction.table.key) == (0, asked.extraction.table.key)


def test_auto_measures_once(tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    make_images(tmp_path / "images")
    make_images(tmp_path / "others/images", seed=5)
    shutil.copy(_weights(tmp_path), tmp_path / "others/weights.pth")
    # Every eager way is tried, no other ever. With usual seconds one that took long to set up on a busy machine
    # may promise less, the next time, than another that was not tried.
    usual_setup(monkeypatch, eager=-1e6, openvino=1e6, compile=1e6)
    monkeypatch.setattr(hardware, "BUSY", 1.0)  # the machine may be
    auto = {"weights": str(_weights(tmp_path)), "engine": "auto", "precision": "auto"}
    first = features(tmp_path, **auto).extraction.picked
    assert first.reason == "measured"
    monkeypatch.setattr(autotune, "try_engine", lambda *_: pytest.fail("tried again"))
    (tmp_path / "store").rename(tmp_path / "others/store")
    again = features(tmp_path / "others", **auto).extraction
    assert again.picked.reason == "measured before"
    assert again.computed == 48
    assert again.picked.trials == first.trials


def test_another_engine_gives_the_features_of_the_plain_one(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images")
    plain, other = (everything(features(tmp_path, engine=name)) for name in ("eager", "openvino"))
    np.testing.assert_allclose(other, plain, rtol=1e-3, atol=1e-4)
    assert not np.array_equal(other, plain)


def test_an_engine_that_fails_is_passed_over_and_the_run_goes_on(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_images(tmp_path / "images")

    def broken(*_: Any) -> None:
        raise RuntimeError("this processor is too old")

    monkeypatch.setattr(openvino, "build", broken)
    monkeypatch.setattr(inductor, "build", broken)
    usual_setup(monkeypatch, **dict.fromkeys(engines.ENGINES, 0.0))
    found = features(tmp_path, engine="auto")
    assert found.extraction.plan.engine == "eager"
    assert found.extraction.computed == 48
    assert "openvino fp32 fails here (this processor is too old); continuing without it" in caplog.messages


@pytest.mark.parametrize("moment", ["build", "later"])
def test_a_way_that_fails_after_it_was_chosen_is_passed_over_too(
    tmp_path: Path,
    make_images: MakeImages,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    moment: str,
) -> None:
    make_images(tmp_path / "images")
    weights = str(_weights(tmp_path))
    if moment == "build":
        # The store holds half of the images by a way that does not work any more.
        features(tmp_path, weights=weights, engine="openvino", precision="fp32")
        make_images(tmp_path / "more", train=2, seed=9)
        for path in (tmp_path / "more").rglob("*.jpg"):
            path.replace(
                tmp_path / "images" / path.relative_to(tmp_path / "more").with_name(f"new{path.name}")
            )

        def broken(*_: Any) -> None:
            raise RuntimeError("device lost\nlong story")

        monkeypatch.setattr(openvino, "build", broken)
    else:
        usual_setup(monkeypatch, compile=1e6)
        monkeypatch.setattr(
            trials, "parse_trials", lambda _: [tried("eager", 1.0), tried("openvino", 1000.0)]
        )
        monkeypatch.setattr(FeatureExtractor, "compute", _failing_for("openvino", FeatureExtractor.compute))
    found = features(tmp_path, weights=weights, engine="auto", precision="fp32").extraction
    assert found.plan.engine == "eager"
    assert found.computed == len(found.images)
    assert "openvino fp32 fails here (device lost); continuing without it" in caplog.messages


def tried(engine: str, images_per_s: float, precision: str = "fp32", cosine: float = 1.0) -> trials.Trial:
    return trials.Trial(
        engine=engine,
        precision=precision,
        setup_s=1,
        images_per_s=images_per_s,
        cosine=cosine,
        made_at=time.time(),  # an old trial does not count
        contention=None,
    )


class Instead:
    """An engine in another's place, whose features are what `submit` makes of pixels."""

    def __init__(self, plan: engines.Plan, submit: Callable[[np.ndarray], Any]) -> None:
        self.plan, self.submit, self.in_flight = plan, submit, 1


def _failing_for(engine: str, real: Callable[..., None]) -> Callable[..., None]:
    def fails(x_NHW3: np.ndarray) -> None:
        raise RuntimeError("device lost")

    def compute(self: FeatureExtractor, ready: Any, *args: Any, **more: Any) -> None:
        real(self, Instead(ready.plan, fails) if ready.plan.engine == engine else ready, *args, **more)

    return compute


@pytest.mark.parametrize("where", ["decoding", "keeping"])
def test_errors_that_are_not_the_engines_are_passed_on(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    make_images(tmp_path / "images")
    weights = str(_weights(tmp_path))

    def fails(*_: Any) -> None:
        raise KeyError("a mistake of our own")

    monkeypatch.setattr(*{"decoding": (decode, "pixels"), "keeping": (FeatureTable, "append")}[where], fails)
    with pytest.raises(KeyError, match="a mistake of our own"):
        features(tmp_path, weights=weights, engine="eager")


@pytest.fixture
def three_quick_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine runs as eager does, in fp32 and bf16."""
    for name, spec in engines.ENGINES.items():
        monkeypatch.setitem(engines.ENGINES, name, replace(spec, module="eager", packages=()))
    monkeypatch.setattr(options, "has_bf16", lambda: True)


def _bf16_overflows(real: Callable[..., None]) -> Callable[..., None]:
    def compute(self: FeatureExtractor, ready: Any, *args: Any, **more: Any) -> None:
        overflowing = Instead(
            ready.plan, lambda x_NHW3: lambda: np.full((len(x_NHW3), 64), np.inf, np.float32)
        )
        real(self, overflowing if ready.plan.precision == "bf16" else ready, *args, **more)

    return compute


@pytest.mark.usefixtures("three_quick_engines")
def test_where_auto_took_a_precision_that_overflows_another_takes_over(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_images(tmp_path / "images")
    weights = str(_weights(tmp_path))
    features(tmp_path, weights=weights, precision="bf16")
    decode.Image.new("RGB", (64, 48), "teal").save(root / "train/class0/new.png")
    monkeypatch.setattr(FeatureExtractor, "compute", _bf16_overflows(FeatureExtractor.compute))
    with pytest.raises(UserError, match="not finite in bf16; try `precision='fp32'`"):
        features(tmp_path, weights=weights, engine="auto", precision="bf16")
    found = features(tmp_path, weights=weights, engine="auto", precision="auto").extraction
    assert (found.plan.precision, found.computed, len(found.images)) == ("fp32", 49, 49)
    assert "features are not finite in bf16; continuing without it" in caplog.messages


@pytest.mark.usefixtures("three_quick_engines")
def test_features_that_are_known_to_disagree_are_computed_by_another_engine(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the cache has them all."""
    make_images(tmp_path / "images")
    weights = str(_weights(tmp_path))
    features(tmp_path, weights=weights, precision="bf16")
    wrong = tried("eager", 9, precision="bf16", cosine=0.5)
    monkeypatch.setattr(trials, "parse_trials", lambda _: [wrong])
    found = features(tmp_path, weights=weights, engine="auto", precision="bf16").extraction
    assert found.plan.engine != "eager"
    assert found.computed == 48


@pytest.mark.usefixtures("three_quick_engines")
def test_of_all_that_the_cache_holds_what_is_used_is_read_and_timed(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_images(tmp_path / "images")
    weights = str(_weights(tmp_path))
    for engine in engines.ENGINES:
        features(tmp_path, weights=weights, engine=engine)
    checked: list[Path] = []
    real = shards.read

    def read(path: Path, *, check: bool = True) -> object:
        if check:
            checked.append(path)
        return real(path, check=check)

    monkeypatch.setattr(shards, "read", read)
    watch = Stopwatch()
    with caplog.at_level("INFO", "transfer"):
        found = fill.fill(
            plan_extraction(config(tmp_path, weights=weights, engine="auto")),
            dataset.find(tmp_path / "images"),
            watch,
            silent,
        )
    assert found.computed == 0
    assert {path.parent for path in checked} == {found.table.folder}
    assert len(watch.seconds["open cache"]) == 2  # what is listed, and the features that are used
    assert caplog.messages[-1] == (
        "eager fp32: the cache holds its features of 48 of 48 images (`engine` and `precision` name others)"
    )


def test_an_engine_that_was_named_and_fails_is_reported_in_one_line(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "images")

    def broken(*_: Any) -> None:
        raise RuntimeError("no compiler\nlong story")

    monkeypatch.setattr(inductor, "build", broken)
    with pytest.raises(UserError) as message:
        features(tmp_path, engine="compile")
    assert str(message.value) == (
        "compile fp32 fails here (no compiler); try `engine='eager', precision='fp32'`"
    )


def test_bad_images_in_the_sample_of_a_trial_are_left_out(tmp_path: Path, make_images: MakeImages) -> None:
    root = make_images(tmp_path / "images", train=12)
    weights = str(_weights(tmp_path))
    for i in range(8):
        path = root / f"train/class0/{i}.jpg"
        path.write_bytes(path.read_bytes()[:-600])
    found = features(
        tmp_path, weights=weights, engine="auto", precision="auto", on_bad_image="skip"
    ).extraction
    assert found.picked.reason == "measured"
    assert len(found.skipped) == 8
    assert found.computed == 52


def test_a_batch_under_way_is_kept_when_the_next_image_is_bad(
    tmp_path: Path, make_images: MakeImages
) -> None:
    root = make_images(tmp_path / "images", train=16)
    weights = str(_weights(tmp_path))
    path = root / "train/class1/9.jpg"  # the 32nd by name
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(UserError, match=r"9\.jpg"):
        features(tmp_path, weights=weights, engine="openvino")
    path.unlink()
    assert features(tmp_path, weights=weights, engine="openvino").extraction.reused == 24


class TestBadImages:
    @pytest.fixture
    def truncated(self, tmp_path: Path, make_images: MakeImages) -> Path:
        path = make_images(tmp_path / "images") / "train/class1/5.jpg"
        path.write_bytes(path.read_bytes()[:-600])
        return path

    def test_the_first_one_ends_the_run_and_is_named(self, tmp_path: Path, truncated: Path) -> None:
        with pytest.raises(UserError, match=r"train/class1/5\.jpg.*truncated.*on_bad_image=.skip"):
            features(tmp_path, weights=str(_weights(tmp_path)))

    def test_what_was_done_before_stays_done(
        self, tmp_path: Path, truncated: Path, forwards: list[int]
    ) -> None:
        weights = str(_weights(tmp_path))
        with pytest.raises(UserError):
            features(tmp_path, weights=weights)
        done = sum(forwards)
        assert done == 8  # one batch before the bad image's own
        truncated.unlink()
        assert features(tmp_path, weights=weights).extraction.reused == done

    def test_they_can_be_left_out(self, tmp_path: Path, truncated: Path) -> None:
        found = features(tmp_path, weights=str(_weights(tmp_path)), on_bad_image="skip")
        assert list(found.extraction.skipped) == ["train/class1/5.jpg"]
        assert len(found.splits["train"].y_N) == 23
        assert found.extraction.computed == 47

    def test_a_class_must_keep_training_images(self, tmp_path: Path, make_images: MakeImages) -> None:
        root = make_images(tmp_path / "images", train=1)
        (root / "train/class1/0.jpg").write_bytes(b"no image")
        with pytest.raises(UserError, match="no training image of class 'class1'"):
            features(tmp_path, on_bad_image="skip")


RUN = """
import sys
from pathlib import Path
from transfer.config import RunConfig
from transfer.data import dataset
from transfer.engines.eager import Eager
from transfer.features import extract
from transfer.features.plan import plan_extraction
from transfer.system.timer import Stopwatch
root = Path(sys.argv[1])
config = RunConfig(
    data=str(root / "images"), store=root / "store", backbone="shufflenet_v2_x0_5", weights="random",
    device="cpu", engine="eager", precision="fp32"
)
real = Eager.submit
def message(self, x):
    print(len(x), flush=True)
    return real(self, x)
Eager.submit = message
extract.extract(plan_extraction(config), dataset.find(root / "images"), Stopwatch(), lambda *_: None)
"""


@pytest.mark.trial
def test_a_killed_extraction_goes_on_and_ends_in_the_same_bits(
    tmp_path: Path, make_images: MakeImages
) -> None:
    make_images(tmp_path / "images", classes=4, train=40, valid=10, test=10)
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    for _ in range(10):  # in the middle of the tenth of 30 batches
        killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    kept = _rows(tmp_path / "store")
    assert 64 <= len(kept) <= 80  # what was forwarded before the last batch or two is on the disk
    backbone = "shufflenet_v2_x0_5"  # the process has no slim ResNets
    assert features(tmp_path, backbone=backbone).extraction.computed == 240 - len(kept)
    (tmp_path / "store").rename(tmp_path / "killed")
    assert features(tmp_path, backbone=backbone).extraction.computed == 240
    one, two = _rows(tmp_path / "killed"), _rows(tmp_path / "store")
    assert one.keys() == two.keys()
    for image_id in one:
        np.testing.assert_array_equal(one[image_id], two[image_id])


def _rows(store: Path) -> dict[bytes, np.ndarray]:
    """Every row of a store by image id, read without the code under test."""
    rows = {}
    for path in store.glob("features/*/*.parquet"):
        columns = parquet.read_table(path)
        rows |= zip(columns["id"].to_pylist(), np.stack(columns["features"].to_numpy()), strict=True)
    return rows


def test_a_share_that_cannot_be_kept_is_lost_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, declared = Store(tmp_path), {"backbone": "resnet18"}
    plan = options.list_options("eager", "fp32", "cpu")[0]
    trial = trials.Trial(
        engine="eager",
        precision="fp32",
        setup_s=1.0,
        images_per_s=2.0,
        cosine=1.0,
        made_at=0.0,
        contention=None,
    )
    store.keep_trials(declared, [asdict(trial)])
    extractor: Any = SimpleNamespace(store=store, declare_trials=lambda plan: declared)
    matmul_share._keep(extractor, plan, 0.5)
    assert trials.parse_trials(store.trials(declared)) == [replace(trial, share=0.5)]

    def full(declared: object, trials: object) -> None:
        raise UserError("can't write the trials: no space left")

    monkeypatch.setattr(store, "keep_trials", full)
    matmul_share._keep(extractor, plan, 0.75)
    assert "no space left" in caplog.text
