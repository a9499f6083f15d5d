"""Networks of every source, from images to the predictions of a saved model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.backbones.hf_folders import save, whole
from transfer.config import RunConfig
from transfer.evaluation import experiment
from transfer.evaluation.results import Result
from transfer.serving import predictor
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("timed_once")]
TIMM = "timm:test_vit"


def run(folder: Path, backbone: str, **settings: Any) -> Result:
    given = {"engine": "eager", "precision": "fp32", "device": "cpu", "repeats": 0, **settings}
    config = RunConfig(
        data=str(folder / "images"), store=folder / "store", backbone=backbone, methods=("ridge",), **given
    )
    return experiment.run(config, models=folder / "out/models", force=True)


@pytest.fixture
def folder(tmp_path: Path, make_images: Callable[..., Path]) -> Path:
    make_images(tmp_path / "images")
    return tmp_path


def predicted(folder: Path) -> list[tuple[str, float | None]]:
    model = predictor.load(folder / "out", batch=12)
    found = model.predict(sorted((folder / "images/test").rglob("*.jpg")))
    return [(one.label, one.probability) for one in found]


@pytest.mark.parametrize("size", [None, (48, 64)])
def test_a_network_of_timm_is_cached_and_predicts_from_a_saved_model(
    folder: Path, size: tuple[int, int] | None
) -> None:
    pytest.importorskip("timm")
    first = run(folder, TIMM, weights="random", size=size)
    again = run(folder, TIMM, weights="random", size=size)
    assert first.features["computed"] == 48
    assert again.features["computed"] == 0
    own = first.backbone
    assert own["name"] == TIMM
    assert own["library"] == f"timm {metadata.version('timm')}"
    assert own["input_size"] == list(size or (160, 160))
    assert (own["own_size"], own["own_crop"], own["resample"]) == ([160, 160], 0.95, "bicubic")
    assert own["mean"] == [0.5, 0.5, 0.5]
    record = json.loads((folder / "out/models/model.json").read_text())
    assert record["backbone"]["own_size"] == [160, 160]
    labels = [label for label, _ in predicted(folder)]
    right = np.mean([label == f"class{i // 4}" for i, label in enumerate(labels)])
    assert right == pytest.approx(again.methods[0]["test"]["accuracy"])


@pytest.mark.parametrize("resize", ["letterbox", "crop"])
@pytest.mark.parametrize("engine", ["eager", "openvino"])
def test_layers_and_the_way_of_resizing_are_restored(folder: Path, resize: str, engine: str) -> None:
    given = {"layers": ("layer2", "layer3"), "resize": resize, "size": (64, 64), "engine": engine}
    result = run(folder, "resnet18", weights="random", **given)
    assert (result.backbone["layers"], result.backbone["resize"]) == (["layer2", "layer3"], resize)
    assert result.backbone["feature_dim"] == 128 + 256
    record = json.loads((folder / "out/models/model.json").read_text())
    assert (record["backbone"]["layers"], record["backbone"]["resize"]) == (["layer2", "layer3"], resize)
    labels = [label for label, _ in predicted(folder)]
    right = np.mean([label == f"class{i // 4}" for i, label in enumerate(labels)])
    assert right == pytest.approx(result.methods[0]["test"]["accuracy"])


def test_jpegs_are_decoded_at_a_reduced_scale_again(folder: Path) -> None:
    for path in (folder / "images").rglob("*.jpg"):
        image = Image.open(path)
        image.resize((160, 128), Image.Resampling.NEAREST).save(path, quality=90)
    given = {"weights": "random", "size": (32, 40)}
    plain = run(folder, "resnet18", **given)
    result = run(folder, "resnet18", decoder="pillow-reduced", **given)
    assert result.engine["decoder"] == "pillow-reduced"
    assert result.features["key"] != plain.features["key"]
    assert result.features["computed"] == 48
    labels = [label for label, _ in predicted(folder)]
    right = np.mean([label == f"class{i // 4}" for i, label in enumerate(labels)])
    assert right == pytest.approx(result.methods[0]["test"]["accuracy"])
    assert predictor.load(folder / "out" / "models").resizing.reduced


def test_layers_of_a_network_of_transformers_are_restored(folder: Path) -> None:
    pytest.importorskip("transformers")
    save(whole("vit"), folder / "net")
    result = run(folder, f"hf:{folder}/net", layers=("vit.layers.0", "vit.layernorm"))
    assert result.backbone["feature_dim"] == 64
    shutil.rmtree(folder / "net")
    assert len(predicted(folder)) == 12


def test_a_layer_that_is_not_there_is_refused_before_an_image_is_read(folder: Path) -> None:
    for image in (folder / "images").rglob("*.jpg"):
        image.write_bytes(b"no image")
    with pytest.raises(UserError, match="resnet18 has no layer 'layer9'; did you mean layer"):
        run(folder, "resnet18", weights="random", layers=("layer9",))


def test_a_network_of_transformers_predicts_without_the_folder_it_came_from(folder: Path) -> None:
    pytest.importorskip("transformers")
    save(whole("vit"), folder / "net")
    first = run(folder, f"hf:{folder}/net")
    shutil.move(folder / "net", folder / "moved")
    again = run(folder, f"hf:{folder}/moved")
    assert (first.features["computed"], again.features["computed"]) == (48, 0)
    assert first.backbone["name"] == "hf:net"
    assert str(folder) not in (folder / "out/models/model.json").read_text()
    before = predicted(folder)
    shutil.rmtree(folder / "moved")
    assert predicted(folder) == before


@pytest.mark.parametrize("kind", [TIMM, "resnet", "vit"])
def test_int8_is_calibrated(folder: Path, kind: str) -> None:
    pytest.importorskip("nncf")
    pytest.importorskip("timm" if kind == TIMM else "transformers")
    backbone = kind
    if kind != TIMM:
        save(whole(kind), folder / "net")
        backbone = f"hf:{folder}/net"
    weights = "random" if kind == TIMM else None
    result = run(folder, backbone, weights=weights, engine="openvino", precision="int8", size=(64, 64))
    assert result.engine["cosine_with_fp32"]["min"] > 0.9
    assert len(predicted(folder)) == 12


def test_a_library_that_is_missing_where_a_model_is_loaded_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    run(folder, TIMM, weights="random", size=(32, 32))
    find = metadata.version

    def version(name: str) -> str:
        if name == "timm":
            raise metadata.PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(UserError, match=r"needs the package timm.*pip install timm"):
        predictor.load(folder / "out")
