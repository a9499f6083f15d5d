"""Exported files, run by the libraries that they are for."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transfer.config import EXPORT_FORMATS, RunConfig
from transfer.evaluation import experiment
from transfer.serving import export, formats, predictor
from transfer.serving.exported import TOLERANCE, Check, Exported
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]


NETWORKS = [
    *itertools.product(("timm:test_convnext", "mobilenet_v3_small", "swin_t"), EXPORT_FORMATS),
    # OpenVINO can't convert how its position embedding is resampled.
    *(("timm:test_vit", format) for format in ("onnx", "torch")),
]
WAY = {"engine": "eager", "precision": "fp32", "device": "cpu", "repeats": 0}


@pytest.fixture(scope="module")
def images(make_images: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("export") / "images")


def saved(images: Path, name: str, **settings: Any) -> Path:
    """The models of a run with other settings."""
    store, models = images.parent / "store", images.parent / name
    config = RunConfig(
        data=str(images), store=store, backbone="resnet18", weights="random", **WAY, **settings
    )
    experiment.run(config, models=models)
    return models


@pytest.fixture(scope="module")
def models(images: Path) -> Path:
    """The models of a run, without its result."""
    return saved(images, "models", epochs=2)


@pytest.fixture(scope="module")
def behind_steps(images: Path) -> Path:
    """The models of a run whose features are transformed."""
    return saved(images, "behind steps", methods=("svm-lab", "ncm"), transform=("l2", "pca:6", "whiten"))


def tested(images: Path) -> list[Path]:
    return sorted((images / "test").rglob("*.jpg"))


def exported(models: Path, out: Path, format: str, method: str = "logreg", **given: Any) -> Exported:
    for package in formats.EXPORTERS[format].packages:
        pytest.importorskip(package)
    return export.export(models, out, format=format, method=method, **given)


@pytest.fixture(scope="module")
def whole(images: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """A function that exports to a format, once, and checks that on the test images."""

    @functools.cache
    def make(format: str) -> Exported:
        return exported(models, tmp_path_factory.mktemp(format), format, images=tested(images))

    return make


def probabilities(models: Path, method: str, path: Path) -> np.ndarray:
    model = predictor.load(models, method=method, engine="eager", precision="fp32")
    return model.predict(path, all_classes=True)[0].probabilities


def test_formats_are_those_of_the_command_line() -> None:
    assert tuple(formats.EXPORTERS) == EXPORT_FORMATS


class TestAnswers:
    @pytest.mark.parametrize("format", EXPORT_FORMATS)
    def test_they_are_those_of_the_model_on_its_test_images(
        self, images: Path, models: Path, whole: Callable[[str], Exported], format: str
    ) -> None:
        paths, done = tested(images), whole(format)
        assert done.check.passed
        assert (done.check.images, done.check.equal_labels, done.check.of_noise) == (12, 12, False)
        assert done.check.largest_difference < 1e-5
        answer = formats.EXPORTERS[format].read(done.file)
        pixels = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths[:5]])
        label_N, share_NC = answer(pixels)  # another number of images than were traced
        own_NC = np.stack([probabilities(models, "logreg", path) for path in paths[:5]])
        np.testing.assert_allclose(share_NC, own_NC, atol=1e-5)
        classes = json.loads(done.metadata["classes"])
        own = predictor.load(models, method="logreg").predict(paths[:5])
        assert [classes[label] for label in label_N] == [one.label for one in own]

    @pytest.mark.parametrize("method", ["fc", "svm-lab", "ridge"])
    def test_they_are_those_of_every_kind_of_head(self, models: Path, tmp_path: Path, method: str) -> None:
        done = exported(models, tmp_path, "torch", method=method)
        assert done.check.passed
        assert done.check.of_noise
        assert done.licence.startswith("none")
        assert done.metadata["method"] == method

    @pytest.mark.parametrize("format", EXPORT_FORMATS)
    @pytest.mark.parametrize("method", ["svm-lab", "ncm"])
    def test_they_are_those_of_heads_behind_steps(
        self, images: Path, behind_steps: Path, tmp_path: Path, format: str, method: str
    ) -> None:
        done = exported(behind_steps, tmp_path, format, method=method, images=tested(images))
        assert done.check.passed
        assert done.check.largest_difference < 1e-4

    def test_images_of_any_size_are_stretched(
        self, models: Path, whole: Callable[[str], Exported], tmp_path: Path
    ) -> None:
        done = whole("torch")
        pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "image.png")
        _, share_NC = formats.EXPORTERS["torch"].read(done.file)(pixels.transpose(2, 0, 1)[None].copy())
        expected_C = probabilities(models, "logreg", tmp_path / "image.png")
        np.testing.assert_allclose(share_NC[0], expected_C, atol=1e-5)

    @pytest.mark.parametrize("format", EXPORT_FORMATS)
    @pytest.mark.parametrize("resize", ["letterbox", "crop"])
    def test_layers_and_the_way_of_resizing_are_in_the_file(
        self, images: Path, tmp_path: Path, resize: str, format: str
    ) -> None:
        config = RunConfig(
            data=str(images), store=images.parent / "store", backbone="resnet18", weights="random",
            methods=("logreg",), layers=("layer2", "layer4"), resize=resize, size=(64, 80), **WAY,
        )  # fmt: skip
        experiment.run(config, models=tmp_path / "models")
        for size in [(90, 70), (41, 200)]:
            pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{size[0]}.png")
        # Files of any size, but for OpenVINO's: pixels of the model's size are handed to that.
        done = exported(
            tmp_path / "models", tmp_path, format, images=[*tested(images), *tmp_path.glob("*.png")]
        )
        assert done.check.passed
        assert done.check.largest_difference < 1e-5

    @pytest.mark.exhaustive
    @pytest.mark.parametrize(("name", "format"), NETWORKS)
    def test_they_are_those_of_other_networks(
        self, images: Path, tmp_path: Path, name: str, format: str
    ) -> None:
        if name.startswith("timm"):
            pytest.importorskip("timm")
        config = RunConfig(
            data=str(images),
            store=tmp_path / "store",
            backbone=name,
            methods=("logreg",),
            weights="random",
            **WAY,
        )
        experiment.run(config, models=tmp_path / "models")
        assert exported(tmp_path / "models", tmp_path / "out", format).check.passed

    def test_without_resize_images_have_the_size_of_the_model(self, models: Path, tmp_path: Path) -> None:
        done = exported(models, tmp_path, "torch", resize=False)
        assert done.check.passed
        assert (done.metadata["any_size"], done.metadata["input_size"]) == ("false", "48x64")
        answer = formats.EXPORTERS["torch"].read(done.file)
        assert answer(np.zeros((3, 3, 48, 64), np.uint8))[1].shape == (3, 3)
        with pytest.raises((AssertionError, RuntimeError)):
            answer(np.zeros((1, 3, 50, 64), np.uint8))

    def test_others_do_not_pass(self, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = export.build_module

        def swapped(head: Any, calibration: Any) -> torch.nn.Module:
            module = real(head, calibration)
            module.temperature *= 100
            return module

        monkeypatch.setattr(export, "build_module", swapped)
        done = exported(models, tmp_path, "torch")
        assert not done.check.passed
        assert done.check.largest_difference > TOLERANCE


class TestMetadata:
    def test_onnx_has_it(self, whole: Callable[[str], Exported]) -> None:
        onnx = pytest.importorskip("onnx")
        done = whole("onnx")
        model = onnx.load(done.file)
        assert {one.key: one.value for one in model.metadata_props} == done.metadata
        assert json.loads(done.metadata["classes"]) == ["class0", "class1", "class2"]
        assert [one.name for one in model.graph.output] == ["label", "probabilities"]

    def test_openvino_has_it(self, whole: Callable[[str], Exported]) -> None:
        from transfer.engines.openvino import import_openvino

        done = whole("openvino")
        model = import_openvino().Core().read_model(done.file)
        found = {name: model.get_rt_info(["transfer", name]).astype(str) for name in done.metadata}
        assert found == done.metadata

    def test_torch_has_it(self, whole: Callable[[str], Exported]) -> None:
        done = whole("torch")
        extra = {formats.METADATA: ""}
        torch.export.load(done.file, extra_files=extra)
        assert json.loads(extra[formats.METADATA]) == done.metadata


class TestRefusals:
    def test_nearest_neighbours_are_refused_and_an_earlier_file_stays(
        self, models: Path, tmp_path: Path
    ) -> None:
        done = exported(models, tmp_path, "torch")
        before = done.file.read_bytes()
        with pytest.raises(UserError, match="KNN keeps all training features"):
            exported(models, tmp_path, "torch", method="knn")
        assert done.file.read_bytes() == before
        assert list(tmp_path.iterdir()) == [done.file]

    def test_a_missing_package_is_named(
        self, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "installed_version", lambda name: None)
        with pytest.raises(UserError, match=r"`format='onnx'` needs .*: pip install onnx onnxscript"):
            export.export(models, tmp_path / "out", format="onnx")
        assert not (tmp_path / "out").exists()

    def test_a_model_without_calibration_is_refused(self, models: Path, tmp_path: Path) -> None:
        old = shutil.copytree(models, tmp_path / "models")
        record = json.loads((old / "model.json").read_text())
        for method in record["methods"]:
            del method["calibration"]
        (old / "model.json").write_text(json.dumps(record))
        with pytest.raises(UserError, match="no calibrated probabilities.*; run again$"):
            exported(old, tmp_path / "out", "torch")

    def test_images_that_cannot_be_read_are_refused(self, models: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.jpg").write_bytes(b"no image")
        with pytest.raises(UserError, match=r"can't read .*bad.jpg"):
            exported(models, tmp_path / "out", "torch", images=[tmp_path / "bad.jpg"])


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "Check 'false' failed\nSummary:\n-- No conversion rule for: aten.x\n",
            "No conversion rule for: aten.x",
        ),
        ("first\nsecond", "first"),
    ],
)
def test_what_a_converter_lacks_is_named(message: str, line: str) -> None:
    assert export._reason(RuntimeError(message)) == line


def test_a_check_passes_where_labels_are_equal_and_probabilities_close() -> None:
    def check(equal_labels: int, largest_difference: float) -> Check:
        return Check(
            images=3, of_noise=False, equal_labels=equal_labels, largest_difference=largest_difference
        )

    assert check(3, 1e-4).passed
    assert not check(2, 1e-4).passed
    assert not check(3, 2e-3).passed
    assert str(check(3, 1e-4)).startswith("3 of 3 images get the same label")
