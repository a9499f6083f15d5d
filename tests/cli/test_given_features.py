"""Commands on features that the user brings."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from tests.cli.words import run_json
from tests.conftest import DATA
from transfer import cli
from transfer.config import RunConfig
from transfer.evaluation import experiment
from transfer.heads import FineTuneSearch, SVMSearch
from transfer.system import schemas

pytestmark = pytest.mark.usefixtures("timed_once")
COUNTS = {"train": 60, "valid": 30, "test": 45}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Features of three classes that overlap, in three splits."""
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {"classes": np.array(["low", "middle", "high"])}
    for split, count in COUNTS.items():
        y_N = np.arange(count) % 3
        made[f"x_{split}"] = rng.normal(size=(count, 6)) + y_N[:, None]
        made[f"y_{split}"] = y_N
    return made


@pytest.fixture
def path(arrays: dict[str, np.ndarray], tmp_path: Path) -> Path:
    np.savez(tmp_path / "sounds.npz", **arrays)
    return tmp_path / "sounds.npz"


@pytest.mark.slow
def test_everything_after_the_features_is_as_with_images(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    argv = ["run", str(path), "--methods=fc-lab,svm,ridge", "--repeats=2", f"--out={out}"]
    assert cli.main([*argv, "--verbose"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "sounds.npz: 3 classes, 60 train, 30 valid, 45 test rows of 6 features that were given;" in text
    assert "(nothing computed, 135 given)" in text
    assert "no models (given features have no network)" in text
    assert sorted(file.name for file in out.iterdir()) == [
        "predictions.csv",
        "report.html",
        "report.md",
        "result.json",
    ]
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows if row["split"] == "valid"] == [f"valid/{i}" for i in range(30)]
    assert [row["label"] for row in rows[:3]] == ["low", "middle", "high"]
    result = json.loads((out / "result.json").read_text())
    jsonschema_rs.validate(schemas.load_schema("result"), result)
    assert result["features"]["given"] == "sounds.npz"
    assert result["backbone"]["weights_sha256"] == result["features"]["key"]
    assert result["backbone"]["feature_dim"] == 6
    assert result["data"]["image_size"] is None
    assert result["comparison"]["repeats"]["n"] == 2
    assert len(result["comparison"]["ladder"]) > 1
    page = (out / "report.html").read_text()
    assert "<img" not in page
    assert "Confusion matrix" in page
    assert cli.main(["report", str(out)]) == 0
    assert cli.main(["report", str(out), str(out), "--html", str(tmp_path / "page.html")]) == 0
    capsys.readouterr()
    assert cli.main(["predict", str(out), str(path)]) == 2
    assert "holds a result without models: given features have no network" in capsys.readouterr().err


@pytest.mark.slow
def test_the_scores_are_those_of_heads_fitted_by_hand(
    path: Path, arrays: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_json(capsys, "run", str(path), "--methods=fc,svm", "--device=cpu", "--select=accuracy")
    x, y = ({split: arrays[f"{kind}_{split}"] for split in COUNTS} for kind in "xy")
    x = {split: own.astype(np.float32) for split, own in x.items()}
    searches = {
        "fc": FineTuneSearch(select="accuracy", class_weight=(None,), device="cpu"),
        "svm": SVMSearch(select="accuracy", device="cpu"),
    }
    for method in result["methods"]:
        search = searches[method["name"]].fit(x["train"], y["train"], x["valid"], y["valid"])
        assert method["best_params"] == search.best_params_
        right_N = search.predict(x["test"]) == y["test"]
        assert method["test"]["accuracy"] == pytest.approx(right_N.mean())


@pytest.mark.slow
def test_methods_are_fitted_to_transformed_features(
    path: Path, arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(path), "--methods=fc-lab,svm,ncm", "--device=cpu", "--select=accuracy"]
    outs = [str(tmp_path / name) for name in ("as-they-are", "transformed")]
    run_json(capsys, "run", *words, "--repeats=2", f"--out={outs[0]}")
    steps = "--transform=l2,pca:3"
    result = run_json(capsys, "run", *words, steps, "--repeats=2", f"--out={outs[1]}")
    assert len(result["comparison"]["repeats"]["methods"]) == 3
    assert len(result["comparison"]["ladder"]) > 1
    x, y = ({split: arrays[f"{kind}_{split}"] for split in COUNTS} for kind in "xy")
    pipeline = make_pipeline(Normalizer(), PCA(3)).fit(x["train"])
    x = {split: pipeline.transform(own).astype(np.float32) for split, own in x.items()}
    search = SVMSearch(select="accuracy", device="cpu").fit(x["train"], y["train"], x["valid"], y["valid"])
    svm = next(method for method in result["methods"] if method["name"] == "svm")
    assert svm["best_params"] == search.best_params_
    assert svm["test"]["accuracy"] == pytest.approx((search.predict(x["test"]) == y["test"]).mean())
    assert cli.main(["report", *outs]) == 0
    assert "features by l2," in capsys.readouterr().out
    curve = run_json(capsys, "curve", *words, steps, "--draws=2")
    assert curve["config"]["transform"] == ["l2", "pca:3"]


def test_a_transform_is_fitted_to_training_rows_alone(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    def steps(**others: np.ndarray) -> Any:
        np.savez(tmp_path / "rows.npz", **arrays | others)
        config = RunConfig(
            data=str(tmp_path / "rows.npz"), methods=("ncm",), transform=("l2", "pca:3", "whiten")
        )
        return experiment.compare(config).steps[1]

    before, after = steps(), steps(x_valid=arrays["x_valid"] ** 2 + 9, x_test=-7 * arrays["x_test"])
    np.testing.assert_array_equal(before.matrix_DK, after.matrix_DK)
    np.testing.assert_array_equal(before.mean_D, after.mean_D)


@pytest.mark.parametrize("command", ["run", "curve"])
def test_a_transform_that_cannot_be_is_refused(
    path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, str(path), "--transform=pca:7"]) == 2
    expected = "--transform has pca:7, but 60 training images with 6 features have 6 components"
    assert expected in capsys.readouterr().err
    assert cli.main([command, str(path), "--transform=whiten"]) == 2
    assert "--transform has whiten, which follows pca:N" in capsys.readouterr().err


@pytest.mark.slow
def test_groups_of_an_array_are_left_out_one_after_the_other(
    tmp_path: Path, arrays: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "whole.npz"
    np.savez(path, X=arrays["x_train"], y=arrays["y_train"], groups=np.arange(60) // 12)
    result = run_json(capsys, "run", str(path), "--methods=knn", "--repeats=groups")
    assert result["data"]["drawn"] == ["train", "valid", "test"]
    assert result["data"]["groups"]["count"] == result["comparison"]["repeats"]["n"] == 5


def test_a_curve_of_given_features(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(["curve", str(path), "--methods=knn", "--draws=2", f"--out={out}"]) == 0
    assert "rows of 6 features that were given" in " ".join(capsys.readouterr().out.split())
    jsonschema_rs.validate(schemas.load_schema("curve"), json.loads((out / "curve.json").read_text()))


def test_a_run_in_python_saves_no_models(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "transfer"):
        experiment.run(RunConfig(data=str(path), methods=("knn",)), models=tmp_path / "models")
    assert "no models are saved" in caplog.text
    assert not (tmp_path / "models").exists()


def test_another_result_is_replaced_by_force_alone_and_its_models_with_it(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, models = tmp_path / "out", tmp_path / "out/models"
    words = ["run", str(path), "--methods=ncm", "--repeats=0", "--quiet", f"--out={out}"]
    for _ in range(2):
        assert cli.main(words) == 0  # again on the same features
    before = (out / "result.json").read_bytes()
    words[1] = str(path.rename(tmp_path / "others.npz"))
    capsys.readouterr()
    assert cli.main(words) == 2
    expected = (
        "holds a result of 'sounds.npz', not 'others.npz'; give another --out, or replace it with --force"
    )
    assert expected in capsys.readouterr().err
    assert (out / "result.json").read_bytes() == before
    (tmp_path / "elsewhere").mkdir()
    words[1] = str(shutil.copy(tmp_path / "others.npz", tmp_path / "elsewhere" / "sounds.npz"))
    assert cli.main(words) == 2
    assert "holds a result of 'sounds.npz' in another folder, not 'sounds.npz'" in capsys.readouterr().err
    assert (out / "result.json").read_bytes() == before
    words[1] = str(tmp_path / "others.npz")
    for name in ("model.json", "ridge.safetensors", "notes.txt"):
        models.mkdir(exist_ok=True)
        (models / name).touch()
    assert cli.main([*words, "--force"]) == 0
    assert json.loads((out / "result.json").read_text())["data"]["name"] == "others.npz"
    assert [file.name for file in models.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "PATH", "--weights=imagenet"], "--weights is about images, and"),
        (["extract", "PATH"], "holds features, and images are wanted"),
        (["run", "missing.npz"], "no such file: missing.npz"),
        (["run", "PATH", "--groups=^x"], "--groups is for names of files"),
    ],
)
def test_wrong_use_of_features_is_refused_in_one_line(
    path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert cli.main([*(word.replace("PATH", str(path)) for word in argv), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_the_features_of_boats_run_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    path = DATA / "boats-features.npz"
    if not path.is_file():
        pytest.skip(f"the boat features are not at {path}")
    result = run_json(capsys, "run", str(path), "--methods=ridge", "--repeats=0", "--device=cpu")
    assert {split: part["images"] for split, part in result["data"]["splits"].items()} == {
        "train": 3474,
        "valid": 395,
        "test": 375,
    }
    with np.load(path) as found:
        assert result["data"]["classes"] == found["classes"].tolist()
    assert result["methods"][0]["test"]["accuracy"] > 0.85
