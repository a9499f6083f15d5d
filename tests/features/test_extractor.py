from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.samples import MakeImages
from transfer.backbones import networks
from transfer.backbones.preprocessing import Normalisation
from transfer.backbones.weights import Weights
from transfer.cache.store import Store
from transfer.data import dataset
from transfer.data.bad_images import BadImages
from transfer.data.indexing import read
from transfer.engines import Plan
from transfer.engines.options import list_options
from transfer.features import extractor
from transfer.features.extractor import FeatureExtractor
from transfer.system.errors import UserError
from transfer.system.files import file_sha256
from transfer.system.progress import silent
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import now

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets")]
SIZE = (48, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    noise = torch.randint(256, (8, 3, *SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.save(networks.random_state("resnet18", seed=0, batches=[noise]), path)
    return Weights(backbone="resnet18", source="weights.pth", path=path, sha256=file_sha256(path))


@contextmanager
def opened(root: Path, weights: Weights, rule: str = "error", **settings: Any) -> Iterator[FeatureExtractor]:
    bad = BadImages(root, rule)
    with StartedPool(2) as pool:
        found = read(dataset.find(root), pool, bad, silent)
        changed = {name: settings.pop(name) for name in ("backbone", "normalisation") if name in settings}
        weights = replace(weights, **changed)
        given = {"size": SIZE, "store": Store(root.parent / "store"), **settings}
        yield FeatureExtractor(weights=weights, images=found, pool=pool, bad=bad, **given)


def plan(engine: str = "eager", precision: str = "fp32") -> Plan:
    return list_options(engine, precision, "cpu")[0]


@pytest.mark.parametrize(
    "other", [{"backbone": "resnet34"}, {"size": (40, 64)}], ids=lambda other: next(iter(other))
)
def test_network_and_size_belong_to_the_key(
    tmp_path: Path, make_images: MakeImages, weights: Weights, other: dict[str, Any]
) -> None:
    root = make_images(tmp_path / "images")
    with opened(root, weights) as one, opened(root, weights, **other) as two:
        assert one.table(plan()).key != two.table(plan()).key
        assert one.declare_trials(plan()) != two.declare_trials(plan())


def test_engine_its_version_and_precision_belong_to_the_key(
    tmp_path: Path, make_images: MakeImages, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(make_images(tmp_path / "images"), weights) as one:
        plans = [plan(), plan("openvino"), plan("eager", "bf16"), plan("openvino", "bf16")]
        keys = {one.table(each).key for each in plans}
        assert len(keys) == 4
        monkeypatch.setattr(extractor.options, "version", lambda engine: f"{engine} 99")
        assert one.table(plan("openvino")).key not in keys


@pytest.fixture
def quick_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibrated model that is the sha256 of the pixels it is calibrated on."""
    pytest.importorskip("nncf")

    def calibrate(_: object, batches: Iterable[np.ndarray]) -> bytes:
        return hashlib.sha256(b"".join(x_NHW3.tobytes() for x_NHW3 in batches)).digest()

    monkeypatch.setattr(extractor.openvino, "calibrate", calibrate)
    monkeypatch.setattr(extractor.openvino, "convert", lambda *_: None)


@pytest.mark.usefixtures("quick_calibration")
class TestCalibration:
    def test_it_sees_training_images_alone(
        self, tmp_path: Path, make_images: MakeImages, weights: Weights
    ) -> None:
        root = make_images(tmp_path / "images", train=5)  # few, so that all are used
        others = make_images(tmp_path / "others", train=5, seed=7)
        with opened(root, weights) as one:
            made = one.calibrated
        for split in ("valid", "test"):
            for path in (others / split).rglob("*.jpg"):
                path.replace(root / path.relative_to(others))
        with opened(root, weights) as changed:
            assert changed.calibrated == made  # from the store: what it hangs on is the same
        (others / "train/class0/0.jpg").replace(root / "train/class0/0.jpg")
        with opened(root, weights) as changed:
            assert changed.calibrated.path != made.path

    @pytest.mark.parametrize(
        ("images", "taken"), [(1, 16), (511, 16), (512, 32), (710, 32), (1023, 32), (1024, 64), (10**6, 64)]
    )
    def test_it_is_made_on_a_share_of_the_images(self, images: int, taken: int) -> None:
        limits = extractor.LEAST_CALIBRATED, extractor.MOST_CALIBRATED
        assert extractor.take_share(images, extractor.CALIBRATED_OF, *limits) == taken

    def test_its_bytes_belong_to_the_key_of_int8_features(
        self, tmp_path: Path, make_images: MakeImages, weights: Weights
    ) -> None:
        with opened(make_images(tmp_path / "images"), weights) as one:
            declared = one.declare(plan("openvino", "int8"))
            assert declared["calibrated_sha256"] == one.calibrated.sha256
            assert one.declare(plan("openvino"))["calibrated_sha256"] is None

    @pytest.mark.parametrize("changed", ["mean", "backbone"])
    def test_what_is_built_into_the_model_belongs_to_its_name(
        self,
        tmp_path: Path,
        make_images: MakeImages,
        weights: Weights,
        monkeypatch: pytest.MonkeyPatch,
        changed: str,
    ) -> None:
        root = make_images(tmp_path / "images")
        with opened(root, weights) as one:
            made = one.calibrated
        settings: dict[str, Any] = {
            "mean": {"normalisation": Normalisation(mean=(0.5, 0.5, 0.5))},
            "backbone": {"backbone": "resnet34"},
        }[changed]
        with opened(root, weights, **settings) as two:
            monkeypatch.setattr(FeatureExtractor, "network", None)
            assert two.calibrated.path != made.path


class TestSample:
    def test_it_holds_readable_images_of_all_classes(
        self, tmp_path: Path, make_images: MakeImages, weights: Weights
    ) -> None:
        root = make_images(tmp_path / "images", train=20)
        bad = [root / f"train/class0/{i}.jpg" for i in range(8)]
        for path in bad:
            path.write_bytes(path.read_bytes()[:-600])
        with opened(root, weights, "skip") as one:
            x_NHW3 = one.sample(one.images, 8)
        assert x_NHW3.shape == (8, *SIZE, 3)
        assert len(np.unique(x_NHW3.mean(axis=(1, 2)).argmax(axis=1))) > 1  # each class has its own tint

    def test_no_readable_image_is_reported(
        self, tmp_path: Path, make_images: MakeImages, weights: Weights
    ) -> None:
        root = make_images(tmp_path / "images", train=2, valid=1, test=1)
        for path in root.rglob("*.jpg"):
            path.write_bytes(path.read_bytes()[:-600])
        with opened(root, weights, "skip") as one, pytest.raises(UserError, match="none of 12 images"):
            one.sample(one.images, 8)


def test_a_disk_that_refuses_ends_the_run_in_one_line(
    tmp_path: Path, make_images: MakeImages, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(make_images(tmp_path / "images"), weights) as one:
        table = one.table(plan("openvino"))
        real = table.append
        done = []

        def full(*args: Any) -> None:
            done.append(1)
            if len(done) == 3:
                raise UserError("can't write to the store (No space left on device)")
            real(*args)

        monkeypatch.setattr(table, "append", full)
        with pytest.raises(UserError, match="No space left"):
            one.compute(one.engine(plan("openvino")), one.images, table, now(), silent)
        assert one.table(plan("openvino")).holds(one.images.ids_N32).sum() >= 16
