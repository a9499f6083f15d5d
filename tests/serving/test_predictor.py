"""`predictor` at work, and the folder that `bundle` keeps it in."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from transfer import engines
from transfer.backbones import memory, networks, weights
from transfer.config import RunConfig
from transfer.data.bad_images import BadImages
from transfer.engines import openvino, options
from transfer.evaluation import experiment
from transfer.evaluation.results import Result
from transfer.heads import serialization
from transfer.heads.ncm import NearestMean
from transfer.heads.registry import METHODS
from transfer.serving import bundle, predictor
from transfer.serving.bundle import ModelsNotSaved
from transfer.serving.prediction import Prediction
from transfer.system import schemas
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]
WAY = {"engine": "eager", "precision": "fp32", "device": "cpu"}
STEPS = ("l2", "pca:12", "whiten")


def photographs(root: Path) -> Path:
    """Three classes of noise, tinted so faintly that no head gets all of them right."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("valid", 6), ("test", 8)):
        for c in range(3):
            folder = root / split / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 200, (48, 64, 3))
                pixels[..., c] += 3
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")
    return root


def run(folder: Path, **settings: Any) -> Result:
    """A run on `folder / images` that keeps its models in `folder / out / models`."""
    given = {
        "backbone": "resnet18",
        "weights": "random",
        "epochs": 2,
        "methods": tuple(METHODS),
        **WAY,
        **settings,
    }
    config = RunConfig(data=str(folder / "images"), store=folder / "store", **given)
    return experiment.run(config, models=folder / "out" / "models")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    photographs(root / "images")
    return root


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return run(folder)


@pytest.fixture(scope="module")
def extracted(folder: Path, result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, and a store that holds their features from weights of the seeds 0 and 1."""
    root = tmp_path_factory.mktemp("extracted")
    for name in ("images", "store"):
        shutil.copytree(folder / name, root / name)
    run(root, methods=("knn",), seed=1)
    shutil.rmtree(root / "out")
    return root


@pytest.fixture
def ready(extracted: Path, tmp_path: Path) -> Path:
    """A copy of these, to run in."""
    return shutil.copytree(extracted, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def copy(folder: Path, result: Result, tmp_path: Path) -> Path:
    """The models of the run alone, elsewhere: what follows finds neither its images nor its store."""
    return shutil.copytree(folder / "out" / "models", tmp_path / "models")


@pytest.fixture(scope="module")
def transformed(
    folder: Path, result: Result, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """The same images, whose features are in the store, and a run that transforms these."""
    root = tmp_path_factory.mktemp("transform")
    for name in ("images", "store"):
        shutil.copytree(folder / name, root / name)
    return root, run(root, transform=STEPS, repeats=2)


def tested(folder: Path) -> list[Path]:
    return sorted((folder / "images" / "test").rglob("*.jpg"))


def confusion(predictions: list[Prediction], classes: tuple[str, ...]) -> list[list[int]]:
    counts = Counter((one.path.parent.name, one.label) for one in predictions)
    return [[counts[truth, predicted] for predicted in classes] for truth in classes]


def close(probability: float | None) -> Any:
    # The last bits of a forward pass depend on where in memory its images lie.
    return pytest.approx(probability, rel=1e-5)


class TestPredict:
    @pytest.mark.parametrize("method", METHODS)
    def test_labels_are_those_of_the_run(self, folder: Path, result: Result, copy: Path, method: str) -> None:
        loaded = predictor.load(copy, method=method, batch=8)
        predictions = loaded.predict(tested(folder))
        expected = result.method(method)["test"]["confusion"]
        assert confusion(predictions, loaded.classes) == expected
        assert np.trace(expected) < np.sum(expected)  # where every label is right, mixed-up images go unseen

    def test_a_batch_of_one_gives_the_same_labels(self, folder: Path, copy: Path) -> None:
        one, eight = (predictor.load(copy, method="svm", batch=batch) for batch in (1, 8))
        paths = tested(folder)
        assert [p.label for p in one.predict(paths)] == [p.label for p in eight.predict(paths)]
        assert [one.predict([path])[0].label for path in paths] == [p.label for p in one.predict(paths)]

    def test_one_image_is_a_batch_of_one(
        self, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded = predictor.load(copy)
        shapes = []
        forward = loaded.engine._forward  # type: ignore[attr-defined]
        monkeypatch.setattr(
            loaded.engine, "_forward", lambda x: (shapes.append(tuple(x.shape)), forward(x))[1]
        )
        loaded.predict(tested(folder)[:2])
        assert shapes == [(1, 48, 64, 3)] * 2

    @pytest.mark.parametrize("method", ["logreg", "svm"])
    def test_probabilities_are_calibrated(self, folder: Path, copy: Path, method: str) -> None:
        paths = tested(folder)
        loaded = predictor.load(copy, method=method, batch=8)
        predicted = loaded.predict(paths)
        _, x_ND = seen(loaded, paths)
        assert loaded.calibration
        share_NC = loaded.calibration.predict_proba(loaded.head, x_ND)
        own_N = [
            share_N[loaded.classes.index(p.label)] for p, share_N in zip(predicted, share_NC, strict=True)
        ]
        assert [p.probability for p in predicted] == pytest.approx(own_N)

    def test_a_class_that_is_less_probable_than_asked_for_is_no_label(self, folder: Path, copy: Path) -> None:
        loaded = predictor.load(copy, method="logreg", batch=8)
        everything = loaded.predict(tested(folder))
        least = round(float(np.median([p.probability for p in everything if p.probability])), 2)
        for before, now in zip(everything, loaded.predict(tested(folder), min_confidence=least), strict=True):
            assert before.probability is not None
            assert now.probability == before.probability
            assert now.label == (before.label if before.probability >= least else None)

    @pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
    def test_a_confidence_that_is_no_probability_is_refused(self, copy: Path, value: float) -> None:
        with pytest.raises(UserError, match="give a number from 0 to 1"):
            predictor.load(copy).predict([], min_confidence=value)

    def test_models_of_earlier_versions_have_their_heads_probabilities(
        self, folder: Path, copy: Path
    ) -> None:
        record = json.loads((copy / "model.json").read_text())
        for method in record["methods"]:
            del method["calibration"]
        (copy / "model.json").write_text(json.dumps(record))
        assert {p.probability for p in predictor.load(copy, method="svm").predict(tested(folder)[:2])} == {
            None
        }
        loaded = predictor.load(copy, method="logreg", batch=8)
        _, x_ND = seen(loaded, tested(folder))
        own_N = loaded.head.predict_proba(x_ND).max(axis=1)
        assert [p.probability for p in loaded.predict(tested(folder))] == pytest.approx(own_N.tolist())
        with pytest.raises(UserError, match="no calibrated probabilities"):
            loaded.predict(tested(folder)[:2], min_confidence=0.9)

    def test_order_and_paths_are_the_callers(self, folder: Path, copy: Path) -> None:
        loaded = predictor.load(copy)
        paths = tested(folder)
        forth, back = loaded.predict(paths), loaded.predict([str(path) for path in reversed(paths)])
        assert [p.path for p in forth] == paths
        assert forth == back[::-1]
        assert loaded.predict([]) == []

    def test_images_of_another_size_and_format_are_stretched(self, copy: Path, tmp_path: Path) -> None:
        Image.new("L", (500, 90), 80).save(tmp_path / "grey.png")
        (prediction,) = predictor.load(copy).predict([tmp_path / "grey.png"])
        assert prediction.label in ("class0", "class1", "class2")

    def test_progress_names_the_method(self, copy: Path) -> None:
        calls: list[tuple[Any, ...]] = []
        loaded = predictor.load(copy, on_progress=lambda *call: calls.append(call))
        assert f"network, {loaded.method}" in calls[0]

    def test_many_images_go_to_the_head_in_parts(
        self, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded = predictor.load(copy, batch=8)
        whole = loaded.predict(tested(folder))
        monkeypatch.setattr(predictor, "ROWS", 7)
        calls: list[tuple[Any, ...]] = []
        assert loaded.predict(tested(folder), on_progress=lambda *call: calls.append(call)) == whole
        assert calls[0] == ("predict", 0, 24, "", "images")
        assert list(dict.fromkeys(done for _, done, *_ in calls)) == [0, 7, 14, 21, 24]

    def test_a_bad_image_ends_it_or_is_left_out_and_the_model_works_on(
        self, folder: Path, copy: Path, tmp_path: Path
    ) -> None:
        paths = tested(folder)
        (tmp_path / "bad.jpg").write_bytes(paths[0].read_bytes()[:-600])
        mixed = [*paths[:3], tmp_path / "bad.jpg", tmp_path / "none.jpg", *paths[3:]]
        loaded = predictor.load(copy, engine="openvino")
        with pytest.raises(UserError, match=r"can't read .*bad\.jpg: .*; mend it or leave it out$"):
            loaded.predict(mixed[:4])
        with pytest.raises(UserError, match=r"^no such file: .*none\.jpg$"):
            loaded.predict(mixed)
        bad = BadImages(None, "skip")
        calls: list[tuple[Any, ...]] = []
        assert loaded.predict(mixed, bad, lambda *call: calls.append(call)) == loaded.predict(paths)
        assert calls[-1][1:3] == (len(mixed), len(mixed))
        assert [Path(name).name for name in bad.skipped] == ["bad.jpg", "none.jpg"]
        assert loaded.predict(mixed[3:5], bad) == []

    def test_one_image_or_several_in_any_form(self, folder: Path, copy: Path) -> None:
        paths = tested(folder)[:3]
        opened = [Image.open(path) for path in paths]
        arrays = [np.asarray(image) for image in opened]
        loaded = predictor.load(copy, method="logreg")
        expected = loaded.predict(paths)
        alone: list[Any] = [str(paths[0]), paths[0], opened[0], arrays[0]]
        for image in alone:
            (one,) = loaded.predict(image)
            assert (one.label, one.probability) == (expected[0].label, close(expected[0].probability))
            assert one.path == (paths[0] if isinstance(image, str | Path) else None)
        mixed: Any = [str(paths[0]), opened[1], arrays[2]]
        for several in (opened, arrays, np.stack(arrays), mixed, tuple(paths)):
            found = loaded.predict(several)
            assert [(p.label, p.probability) for p in found] == [
                (p.label, close(p.probability)) for p in expected
            ]
        np.testing.assert_array_equal(np.asarray(opened[0]), arrays[0])

    def test_16_bits_are_shifted_as_in_the_run(self, copy: Path, tmp_path: Path) -> None:
        (path,) = copy.rglob("model.json")
        record = json.loads(path.read_text())
        assert record["features"]["shift"] == 8
        path.write_text(json.dumps({**record, "features": {**record["features"], "shift": 4}}))
        x = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
        Image.fromarray(x).save(tmp_path / "8.png")
        Image.fromarray(x.astype(np.uint16) << 4).save(tmp_path / "12.png")
        found = [predictor.load(copy).predict(tmp_path / name)[0] for name in ("8.png", "12.png")]
        assert found[0].probability == found[1].probability
        assert found[0].label == found[1].label

    def test_images_in_memory_are_turned_and_stretched_as_files_are(self, copy: Path, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        image = Image.fromarray(rng.integers(0, 256, (90, 70), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        image.save(tmp_path / "turned.png", exif=exif)
        loaded = predictor.load(copy, method="logreg")
        with Image.open(tmp_path / "turned.png") as opened:
            (in_memory,) = loaded.predict(opened)
        (file,) = loaded.predict(tmp_path / "turned.png")
        assert (in_memory.label, in_memory.probability) == (file.label, file.probability)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (
                np.zeros((3, 48, 64), np.uint8),
                r"images\[1\] is an array of shape \(3, 48, 64\) and dtype uint8",
            ),
            (
                np.zeros((48, 64, 3), np.float32),
                r"images\[1\] is an array of .* dtype float32; give \(H, W, 3\)",
            ),
            (np.zeros((48, 64), np.uint8), r"shape \(48, 64\)"),
            (np.zeros((0, 64, 3), np.uint8), r"shape \(0, 64, 3\)"),
            (b"bytes", r"images\[1\] is of type bytes; give a path, a PIL image, or an array"),
        ],
        ids=["channels first", "floats", "grey", "empty", "bytes"],
    )
    def test_what_is_no_image_is_reported(self, folder: Path, copy: Path, image: Any, message: str) -> None:
        with pytest.raises(UserError, match=message):
            predictor.load(copy).predict([tested(folder)[0], image])

    def test_features_that_are_no_numbers_are_reported(self, folder: Path, copy: Path) -> None:
        loaded = predictor.load(copy)

        class Broken:
            plan, in_flight = loaded.plan, 1

            def submit(self, x_NHW3: Any) -> Callable[[], Any]:
                return lambda: np.full((len(x_NHW3), loaded.head.n_features_in_), np.nan, np.float32)

        with pytest.raises(UserError, match="not finite in fp32"):
            replace(loaded, engine=Broken()).predict(tested(folder)[:2])


def seen(loaded: predictor.Model, paths: list[Path]) -> tuple[list[Path], np.ndarray]:
    """Features of images by the model's own engine, decoded one by one."""
    pixels = [np.asarray(Image.open(path)) for path in paths]
    parts = [loaded.engine.submit(np.stack(pixels[i : i + 8]))() for i in range(0, len(pixels), 8)]
    return paths, np.concatenate(parts)


class TestTransform:
    @pytest.mark.parametrize("method", METHODS)
    def test_labels_and_confidences_are_those_of_the_run(
        self, transformed: tuple[Path, Result], method: str
    ) -> None:
        root, found = transformed
        loaded = predictor.load(root / "out", method=method, batch=8)
        predictions = loaded.predict(tested(root))
        assert confusion(predictions, loaded.classes) == found.method(method)["test"]["confusion"]
        for level in found.method(method)["calibration"]["confident"]:
            least = level["min_confidence"]
            sure = [one for one in predictions if one.probability is not None and one.probability >= least]
            assert len(sure) == level["test"]["images"]

    def test_it_is_recorded_and_changes_what_methods_reach(
        self, transformed: tuple[Path, Result], result: Result
    ) -> None:
        root, found = transformed
        assert found.features["computed"] == 0
        assert found.config["transform"] == list(STEPS)
        assert found.seconds["transform"]
        assert found.comparison["suspects"] == result.comparison["suspects"]  # of the features as they are
        assert found.comparison["repeats"]["n"] == 2
        jsonschema_rs.validate(schemas.load_schema("result"), json.loads(found.to_json()))
        record = json.loads((root / "out/models/model.json").read_text())
        jsonschema_rs.validate(schemas.load_schema("model"), record)
        assert record["transform"] == list(STEPS)
        assert "transform" not in result.config
        different = [m["name"] for m in found.methods if m["test"] != result.method(m["name"])["test"]]
        assert len(different) > len(METHODS) / 2

    def test_what_is_folded_is_an_ordinary_head(self, folder: Path, result: Result, ready: Path) -> None:
        found = run(ready, transform=("pca:12", "whiten"), methods=("ncm",))
        loaded = predictor.load(ready / "out", batch=8)
        assert type(loaded.head) is NearestMean
        assert loaded.head.n_features_in_ == found.backbone["feature_dim"]
        expected = found.methods[0]["test"]["confusion"]
        assert confusion(loaded.predict(tested(ready)), loaded.classes) == expected

    def test_more_components_than_training_images_are_refused(self, ready: Path) -> None:
        with pytest.raises(UserError, match="pca:36, but 36 training images with"):
            run(ready, transform=("pca:36",), methods=("knn",))


class TestFolder:
    def test_it_holds_the_network_every_head_and_what_they_are(self, copy: Path, result: Result) -> None:
        record = json.loads((copy / "model.json").read_text())
        jsonschema_rs.validate(schemas.load_schema("model"), record)
        names = [method["name"] for method in record["methods"]]
        assert names == list(METHODS)
        assert {path.name for path in copy.iterdir()} == {
            "model.json", "backbone.safetensors", *(f"{name}.safetensors" for name in names),
        }  # fmt: skip
        assert record["best"] == result.comparison["best"]
        assert record["backbone"]["weights_sha256"] == result.backbone["weights_sha256"]
        for method in record["methods"]:
            entry = result.method(method["name"])
            assert method["params"] == entry["best_params"]
            assert method["test"]["accuracy"] == entry["test"]["accuracy"]

    def test_pixels_are_scaled_as_in_the_run(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder / "images", tmp_path / "images")
        given = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "channel_order": "bgr"}
        result = run(tmp_path, methods=("svm-lab",), **given)
        record = schemas.load(tmp_path / "out" / "models" / "model.json", "model")
        for block in (record["backbone"], result.backbone):
            assert {name: block[name] for name in given} == {
                "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "channel_order": "bgr",
            }  # fmt: skip
        jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))
        loaded = predictor.load(tmp_path / "out", batch=8)
        predictions = loaded.predict(tested(tmp_path))
        assert confusion(predictions, loaded.classes) == result.method("svm-lab")["test"]["confusion"]
        assert loaded.engine._forward.bgr  # type: ignore[attr-defined]

    def test_a_model_from_before_normalisation_was_recorded_has_imagenets(
        self, folder: Path, copy: Path
    ) -> None:
        expected = predictor.load(copy, method="svm").predict(tested(folder))
        record = json.loads((copy / "model.json").read_text())
        for name in ("mean", "std", "channel_order"):
            del record["backbone"][name]
        (copy / "model.json").write_text(json.dumps(record))
        assert predictor.load(copy, method="svm").predict(tested(folder)) == expected

    def test_the_network_is_the_one_that_was_used(self, folder: Path, copy: Path) -> None:
        (given,) = (folder / "store" / "weights").glob("*/*.safetensors")
        kept, used = load_file(copy / "backbone.safetensors"), load_file(given)
        assert kept.keys() == used.keys()
        assert all(np.array_equal(kept[key], used[key]) for key in kept)
        networks.build("resnet18", weights.load(copy / "backbone.safetensors"))

    def test_the_folder_above_will_do(self, folder: Path, result: Result) -> None:
        assert predictor.load(folder / "out").method == result.comparison["best"]

    def test_without_a_folder_nothing_is_saved(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bundle, "save", lambda *_: pytest.fail("saved"))
        config = RunConfig(
            data=str(folder / "images"), store=folder / "store", backbone="resnet18", weights="random",
            methods=("svm-lab",), **WAY,
        )  # fmt: skip
        experiment.run(config)

    def test_what_an_earlier_run_left_is_never_mixed_in(self, ready: Path) -> None:
        run(ready, methods=("fc", "svm"))
        models = ready / "out" / "models"
        (models / "calibrated.safetensors").write_bytes(b"of an int8 run")
        (models / "mine.safetensors").write_bytes(b"somebody's own")
        run(ready, methods=("svm",))
        assert {path.name for path in models.iterdir()} == {
            "model.json", "backbone.safetensors", "svm.safetensors", "mine.safetensors",
        }  # fmt: skip
        with pytest.raises(UserError, match=r"^`method` is 'fc'; choose one of svm, which .* has$"):
            predictor.load(models, method="fc")

    @pytest.mark.parametrize(
        ("error", "number"),
        [(KeyboardInterrupt(), 2), (UserError("disk full"), 1), (MemoryError(), 2)],
    )
    def test_a_run_that_ends_while_it_saves_leaves_the_model_that_was_there(
        self, ready: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, number: int
    ) -> None:
        run(ready, methods=("svm",))
        models = ready / "out" / "models"
        before = {path.name: path.read_bytes() for path in models.iterdir()}
        real = bundle.files.write
        written = []

        def ends(path: Path, data: bytes) -> str:
            if models in path.parents:
                written.append(path)
                if len(written) == number:
                    raise error
            return real(path, data)

        monkeypatch.setattr(bundle.files, "write", ends)
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ModelsNotSaved):
            run(ready, methods=("svm",), seed=1)
        assert {path.name: path.read_bytes() for path in models.iterdir()} == before
        assert predictor.load(ready / "out").method == "svm"

    def test_a_run_killed_while_it_replaces_leaves_no_model(
        self, ready: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(ready, methods=("svm",))

        def killed(self: Path, target: Path) -> Path:
            if self.parent.name.startswith(bundle.STAGING) and self.suffix == ".safetensors":
                raise KeyboardInterrupt
            return self.rename(target)

        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run(ready, methods=("svm",), seed=1)
        with pytest.raises(UserError, match=r"no model\.json in"):
            predictor.load(ready / "out")

    @pytest.mark.parametrize("left", ["whole", "damaged", "of another version", "of other weights", "none"])
    def test_the_network_that_an_earlier_run_saved_is_kept_where_it_is_the_same(
        self, ready: Path, left: str
    ) -> None:
        run(ready, methods=("svm",))
        path = ready / "out" / "models" / "backbone.safetensors"
        data, file = path.read_bytes(), path.stat().st_ino
        if left == "damaged":
            path.write_bytes(data[:-1] + b"x")
        if left == "of another version":
            _changed(path.parent, lambda record: record.update(transfer="0.0.1"))
        if left == "of other weights":
            _changed(path.parent, lambda record: record["backbone"].update(weights_sha256="0" * 64))
        if left == "none":
            path.unlink()
        run(ready, methods=("svm",))
        assert path.read_bytes() == data
        if left == "whole":
            assert path.stat().st_ino == file
        assert predictor.load(ready / "out").method == "svm"

    def test_what_a_killed_run_had_not_finished_goes_after_a_day(self, ready: Path) -> None:
        models = ready / "out" / "models"
        for name, age_s in (("old", 2 * 86400), ("new", 60)):
            (models / f"{bundle.STAGING}{name}").mkdir(parents=True)
            os.utime(models / f"{bundle.STAGING}{name}", (time.time() - age_s,) * 2)
        run(ready, methods=("svm",))
        assert [path.name for path in models.glob(".*")] == [f"{bundle.STAGING}new"]

    def test_a_head_that_cant_be_saved_is_reported_and_left_out(
        self, ready: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = serialization.save

        def refuses(head: Any, path: Path) -> Path:
            if path.stem == "svm":
                raise UserError("can't save it")
            return real(head, path)

        monkeypatch.setattr(serialization, "save", refuses)
        with pytest.raises(ModelsNotSaved, match="svm is not saved: can't save it") as caught:
            run(ready, methods=("fc", "svm"))
        assert caught.value.result is not None
        assert [method["name"] for method in caught.value.result.methods] == ["fc", "svm"]
        assert predictor.load(ready / "out").method == "fc"

    def test_a_disk_that_refuses_costs_the_models_and_not_the_result(self, ready: Path) -> None:
        (ready / "out").mkdir()
        (ready / "out" / "models").write_text("a file")
        with pytest.raises(ModelsNotSaved, match="the models are not saved: ") as caught:
            run(ready, methods=("svm-lab",))
        assert caught.value.result is not None
        assert caught.value.result.methods


class TestReplacing:
    """Whether a run may replace the model that lies in its folder."""

    def config(self, folder: Path, **settings: Any) -> RunConfig:
        given = {"data": str(folder / "images"), "backbone": "resnet18", "weights": "random", **settings}
        return RunConfig(store=folder / "store", **given)

    def test_what_it_was_made_from_is_recorded_without_a_path(self, folder: Path, copy: Path) -> None:
        text = (copy / "model.json").read_text()
        made_from = json.loads(text)["made_from"]
        assert made_from["data"] == "images"
        assert str(folder) not in text

    def test_a_rerun_may(self, folder: Path, copy: Path, tmp_path: Path) -> None:
        for settings in ({}, {"seed": 1}, {"size": (48, 64)}, {"engine": "openvino"}, {"select": "accuracy"}):
            bundle.check_replaceable(copy, self.config(folder, **settings))
        bundle.check_replaceable(tmp_path / "none", self.config(folder))
        _changed(copy, lambda r: r.pop("made_from"))  # as files of before have it
        bundle.check_replaceable(copy, self.config(folder))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"data": "/elsewhere/photos"}, "a model of 'images', not 'photos'"),
            ({"data": "/elsewhere/images"}, "a model of 'images' in another folder, not 'images'"),
            ({"data": "lagoon"}, "a model of 'images', not 'lagoon'"),
            ({"backbone": "resnet34"}, "a model with resnet18, not resnet34"),
            ({"weights": "/some/w.pth"}, r"a model with weights random, not w\.pth"),
            ({"size": (64, 64)}, "a model at 48x64, not 64x64"),
            ({"layers": ("layer3", "layer4")}, "a model with layers none, not layer3,layer4"),
            ({"resize": "crop"}, "a model with resize stretch, not crop"),
            ({"decoder": "pillow-reduced"}, "a model with decoder pillow, not pillow-reduced"),
            ({"mean": (0.5, 0.5, 0.5)}, r"a model with mean \[0.485, 0.456, 0.406\], not \[0.5, 0.5, 0.5\]"),
            ({"std": (0.5, 0.5, 0.5)}, r"a model with std \[0.229, 0.224, 0.225\], not \[0.5, 0.5, 0.5\]"),
            ({"transform": ("l2", "pca:8")}, "a model with transform none, not l2,pca:8"),
        ],
        ids=str,
    )
    def test_a_run_on_something_else_may_not(
        self, folder: Path, copy: Path, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(
            UserError, match=rf"{message}; give another `out`, or replace it with `force=True`"
        ):
            bundle.check_replaceable(copy, self.config(folder, **settings))

    def test_layers_resizing_and_transform_that_are_the_same_may(self, folder: Path, copy: Path) -> None:
        def change(record: dict[str, Any]) -> None:
            record["backbone"] |= {"layers": ["layer3"], "resize": "crop"}
            record["transform"] = ["l2"]

        _changed(copy, change)
        own = {"layers": ("layer3",), "resize": "crop", "transform": ("l2",)}
        bundle.check_replaceable(copy, self.config(folder, **own))
        with pytest.raises(
            UserError,
            match="with layers layer3, not none, with resize crop, not stretch, with transform l2, not",
        ):
            bundle.check_replaceable(copy, self.config(folder))

    def test_one_of_another_normalisation_may_not(self, folder: Path, copy: Path) -> None:
        order = {"channel_order": "bgr"}
        with pytest.raises(UserError, match=r"with std .*, with channel_order rgb, not bgr; give another"):
            bundle.check_replaceable(copy, self.config(folder, std=(0.5, 0.5, 0.5), **order))
        _changed(copy, lambda r: r["backbone"].update(mean=[0.406, 0.456, 0.485], std=[0.5] * 3, **order))
        bundle.check_replaceable(copy, self.config(folder, std=(0.5, 0.5, 0.5), **order))
        with pytest.raises(UserError, match="with channel_order bgr, not rgb"):
            bundle.check_replaceable(copy, self.config(folder))
        _changed(copy, lambda r: [r["backbone"].pop(name) for name in ("mean", "std", "channel_order")])
        bundle.check_replaceable(copy, self.config(folder))  # files of before are of ImageNet's

    def test_what_is_not_understood_is_not_replaced(self, folder: Path, copy: Path) -> None:
        (copy / "model.json").write_text("{}")
        with pytest.raises(UserError, match="is no model file of version 1 .*force=True"):
            bundle.check_replaceable(copy, self.config(folder))

    def test_it_is_refused_before_any_work_unless_forced(
        self, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Begun(Exception):
            pass

        def begins(*_: Any, **__: Any) -> None:
            raise Begun

        monkeypatch.setattr(experiment, "find_features", begins)
        config = self.config(folder, backbone="resnet34")
        with pytest.raises(UserError, match="`force=True`"):
            experiment.run(config, models=copy)
        with pytest.raises(Begun):
            experiment.run(config, models=copy, force=True)

    def test_a_folder_among_the_images_is_refused_before_any_work(self, folder: Path) -> None:
        models = folder / "images" / "train" / "models"
        with pytest.raises(UserError, match="which holds images"):
            experiment.run(self.config(folder), models=models)
        assert not models.exists()


def _changed(copy: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((copy / "model.json").read_text())
    change(record)
    (copy / "model.json").write_text(json.dumps(record))


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda r: r.update(schema_version=2), r"no model file of version 1 \(schema_version is 2\)"),
            (lambda r: r.update(classes="class0"), 'at classes, "class0" is not of type "array"'),
            (lambda r: r.pop("backbone"), '"backbone" is a required property'),
            (lambda r: r["features"].update(input_size=[48.5, 64]), "at features/input_size/0"),
            (lambda r: r["features"].update(engine="../warp"), "at features/engine"),
            (lambda r: r["methods"][0].update(name="../../secret"), "at methods/0/name"),
            (lambda r: r["methods"][0].update(sha256="abc"), "at methods/0/sha256"),
            (lambda r: r.update(methods=[]), "at methods"),
            (lambda r: r.update(best="forest"), "its best does not fit its methods"),
            (lambda r: r["methods"].append(r["methods"][0]), "its best does not fit its methods"),
            (lambda r: r["backbone"].update(name="resnet5"), "no classification network 'resnet5'"),
            (lambda r: r["backbone"].update(name="resnet34"), "do not fit resnet34"),
            (lambda r: r.update(classes=["class0", "class1"]), "doesn't match the classes of "),
        ],
    )
    def test_a_record_edited_by_hand_is_refused_in_a_line(
        self, copy: Path, change: Callable[[dict[str, Any]], Any], message: str
    ) -> None:
        _changed(copy, change)
        with pytest.raises(UserError, match=message) as caught:
            predictor.load(copy)
        assert "\n" not in str(caught.value)

    def test_a_network_of_another_width_is_refused(self, copy: Path, tmp_path: Path) -> None:
        noise = torch.zeros(2, 3, 48, 64, dtype=torch.uint8)
        state = networks.random_state("resnet34", seed=0, batches=[noise])
        digest = bundle.files.write(copy / "backbone.safetensors", bundle.to_bytes(state))
        _changed(copy, lambda r: r["backbone"].update(name="resnet34", sha256=digest))
        assert predictor.load(copy).plan.batch == 1  # as many features
        state = networks.random_state("mobilenet_v3_small", seed=0, batches=[noise])
        digest = bundle.files.write(copy / "backbone.safetensors", bundle.to_bytes(state))
        _changed(copy, lambda r: r["backbone"].update(name="mobilenet_v3_small", sha256=digest))
        with pytest.raises(UserError, match="the network has 1024 features, the head takes 64"):
            predictor.load(copy)

    @pytest.mark.parametrize("name", ["backbone", "ridge"])
    def test_files_that_are_not_what_was_written_are_refused(self, copy: Path, name: str) -> None:
        path = copy / f"{name}.safetensors"
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"{name}\.safetensors is not the file that model\.json names"):
            predictor.load(copy, method="ridge")
        path.unlink()
        with pytest.raises(UserError, match=rf"can't read .*{name}\.safetensors"):
            predictor.load(copy, method="ridge")

    def test_one_methods_damage_leaves_the_others(self, copy: Path) -> None:
        (copy / "knn.safetensors").unlink()
        assert predictor.load(copy, method="fc").method == "fc"

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "none"):
            with pytest.raises(UserError, match=r"no model\.json in .*; give the folder that transfer run"):
                predictor.load(path)
        (tmp_path / "model.json").write_text("{")
        with pytest.raises(UserError, match="is no model file: not JSON"):
            predictor.load(tmp_path)


class TestWay:
    def test_it_is_the_runs_unless_another_is_asked_for(self, copy: Path) -> None:
        loaded = predictor.load(copy)
        assert (loaded.plan.engine, loaded.plan.precision, loaded.plan.batch) == ("eager", "fp32", 1)
        other = predictor.load(copy, engine="openvino", batch=4)
        assert (other.plan.engine, other.plan.precision, other.plan.batch) == ("openvino", "fp32", 4)
        assert predictor.load(copy, precision="bf16").plan.precision == "bf16"

    def test_where_it_fails_eager_fp32_takes_over_with_a_line(
        self, copy: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _changed(copy, lambda r: r["features"].update(engine="openvino", precision="bf16"))

        def fails(*_: object) -> None:
            raise RuntimeError("no bf16 here\nfor certain")

        monkeypatch.setattr(openvino, "build", fails)
        loaded = predictor.load(copy)
        assert (loaded.plan.engine, loaded.plan.precision) == ("eager", "fp32")
        (line,) = (record.getMessage() for record in caplog.records)
        assert line.startswith("openvino bf16 cpu, the way of the features, fails here (no bf16 here); ")
        with pytest.raises(UserError, match=r"openvino fp32 cpu fails here \(no bf16 here\)"):
            predictor.load(copy, engine="openvino", precision="fp32")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"engine": "warp"}, "^`engine` is 'warp'"),
            ({"precision": "fp8"}, "^`precision` is 'fp8'"),
            ({"device": "tpu"}, "^`device` is 'tpu'"),
            ({"batch": 0}, "batch is 0"),
            ({"method": "forest"}, "^`method` is 'forest'; choose one of fc-lab, fc"),
            ({"precision": "int8"}, "no int8 version"),
            ({"precision": "fp16", "device": "cpu"}, "eager fp16 cpu fails here"),
        ],
        ids=str,
    )
    def test_impossible_settings_are_reported(
        self, copy: Path, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            predictor.load(copy, **settings)

    def test_a_batch_that_does_not_fit_into_memory_is_halved_or_refused_before_the_first_pass(
        self, copy: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(networks, "count_activation_bytes", lambda *_: 100)
        monkeypatch.setattr(memory, "available_bytes", lambda: 600)
        loaded = predictor.load(copy, batch=8)
        assert loaded.plan.batch == 4
        assert [record.getMessage() for record in caplog.records] == [
            "memory is short: forward passes take 4 images at a time, not 8"
        ]
        monkeypatch.setattr(engines, "build", lambda *_: pytest.fail("an engine was made"))
        monkeypatch.setattr(memory, "available_bytes", lambda: 149)
        with pytest.raises(
            UserError, match=r"^a forward pass of one image at 48x64 .*; free memory"
        ) as caught:
            predictor.load(copy, batch=8)
        assert "`size`, such" not in str(caught.value)

    def test_a_model_of_a_gpu_works_on_a_machine_without(
        self, copy: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        _changed(copy, lambda r: r["features"].update(device="cuda", precision="fp16", decoder="nvjpeg"))
        loaded = predictor.load(copy)
        assert (loaded.plan.engine, loaded.plan.precision, loaded.plan.device) == ("eager", "fp32", "cpu")
        assert loaded.decoder == "pillow"
        assert "nvJPEG" in caplog.text

    @pytest.mark.exhaustive
    def test_int8_takes_its_calibrated_network_along(
        self,
        folder: Path,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """And runs it where NNCF, which quantised it, is not installed."""
        pytest.importorskip("nncf")
        shutil.copytree(folder / "images", tmp_path / "images")
        result = run(tmp_path, methods=("ridge",), engine="auto", precision="int8")
        shutil.rmtree(tmp_path / "store")
        caplog.clear()
        monkeypatch.setattr(options, "installed_version", lambda package: None if package == "nncf" else "1")
        loaded = predictor.load(tmp_path / "out", batch=8)
        assert (loaded.plan.engine, loaded.plan.precision) == ("openvino", "int8")
        expected = result.method("ridge")["test"]["confusion"]
        assert confusion(loaded.predict(tested(tmp_path)), loaded.classes) == expected
        assert not caplog.records
        path = tmp_path / "out" / "models" / "calibrated.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(UserError, match=r"calibrated\.safetensors is not the file"):
            predictor.load(tmp_path / "out")
