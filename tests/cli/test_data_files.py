"""Commands on tables of files and labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from tests.cli.words import run_json
from tests.samples import MakeImages
from transfer import cli
from transfer.system import schemas

pytestmark = pytest.mark.usefixtures("slim_resnets", "timed_once")


@pytest.fixture
def words(tmp_path: Path, make_images: MakeImages) -> list[str]:
    """What follows DATA; `tmp_path/images` has a folder of images, and a table of the same."""
    root = make_images(tmp_path / "images")
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    rows = [f"{file},{file.split('/')[1]},{file.split('/')[0]},{file[-5]}" for file in reversed(files)]
    (root / "labels.csv").write_text("\n".join(["image,label,split,number", *rows]) + "\n")
    return ["--backbone=resnet18", "--weights=random", f"--store={tmp_path / 'store'}", "--device=cpu"]


def without_seconds(value: Any) -> Any:
    """A part of a result without what was timed."""
    if isinstance(value, dict):
        timed = ("fit_s", "fit_seconds", "predict_s", "predict_seconds")
        return {key: without_seconds(one) for key, one in value.items() if key not in timed}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_the_same_images_as_a_table_get_the_same_scores(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = str(tmp_path / "images"), str(tmp_path / "images/labels.csv")
    words = [*words, "--methods=fc,svm,knn", "--epochs=3"]
    first = run_json(capsys, "run", folder, *words)
    second = run_json(capsys, "run", table, *words, "--columns=file=image")
    jsonschema_rs.validate(schemas.load_schema("result"), second)
    assert second["features"]["computed"] == 0
    assert second["features"]["key"] == first["features"]["key"]
    assert without_seconds(second["methods"]) == without_seconds(first["methods"])
    assert without_seconds(second["comparison"]) == without_seconds(first["comparison"])
    name, others = second["data"].pop("name"), second["data"].pop("others")
    assert (name, others["count"]) == ("labels.csv", 0)
    assert second["data"] == {key: first["data"][key] for key in second["data"]}
    assert second["config"]["columns"] == {"file": "image"}


@pytest.mark.slow
def test_groups_are_a_column_of_the_table(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(tmp_path / "images/labels.csv")
    words = [*words, "--methods=knn", "--columns=file=image,split="]
    found = run_json(capsys, "run", table, *words, "--groups=number", "--repeats=groups")
    assert found["data"]["groups"]["count"] == found["comparison"]["repeats"]["n"] == 8
    assert found["data"]["groups"]["across_splits"] == []
    assert cli.main(["run", table, *words, "--repeats=groups"]) == 2
    assert "--repeats groups needs groups, and" in capsys.readouterr().err


@pytest.mark.slow
def test_a_page_shows_the_pictures_that_the_table_names(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "images/labels.csv", tmp_path / "out"
    moved = tmp_path / "elsewhere"
    (tmp_path / "images/train").rename(moved)
    table.write_text(table.read_text().replace("train/", "../elsewhere/"))
    assert cli.main(["run", str(table), *words, "--methods=knn", "--columns=file=image", f"--out={out}"]) == 0
    with (out / "predictions.csv").open() as file:
        files = [row["file"] for row in csv.DictReader(file)]
    with table.open() as file:
        assert sorted(files) == sorted(row["image"] for row in csv.DictReader(file))
    page = tmp_path / "page.html"
    assert cli.main(["report", str(out), "--html", str(page), "--images", str(table)]) == 0
    assert page.read_text() == (out / "report.html").read_text()
    assert "data:image/jpeg;base64," in page.read_text()
    np.savez(tmp_path / "x.npz", X=np.eye(9), y=np.arange(9) % 3)
    assert cli.main(["run", str(tmp_path / "x.npz"), f"--out={out}"]) == 2
    assert "holds a model of 'labels.csv'" in capsys.readouterr().err
    (tmp_path / "images/other.csv").write_text("file\nx.jpg\n")
    other = ["--images", str(tmp_path / "images/other.csv"), "--columns=file=file"]
    assert cli.main(["report", str(out), "--html", str(page), *other]) == 0
    assert "data:image/jpeg;base64," not in page.read_text()
    capsys.readouterr()
    assert cli.main(["predict", str(out), str(table), "--columns=file=image"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(files)


@pytest.mark.slow
def test_files_that_are_not_there_are_skipped_and_exit_3(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(tmp_path / "images/labels.csv")
    (tmp_path / "images/train/class1/3.jpg").unlink()
    (tmp_path / "images/test/class0/1.jpg").write_bytes(b"no image")
    words = [table, *words, "--columns=file=image"]
    assert cli.main(["extract", *words]) == 2
    assert "1 of 48 files are not there, the first 'train/class1/3.jpg' (line " in capsys.readouterr().err
    found = run_json(capsys, "run", *words, "--on-bad-image=skip", "--methods=knn", status=3)
    assert [one["name"] for one in found["data"]["skipped"]] == ["train/class1/3.jpg", "test/class0/1.jpg"]
    assert found["features"]["images"] == 46


@pytest.mark.slow
def test_a_curve_of_a_table(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(tmp_path / "images/labels.csv")
    found = run_json(capsys, "curve", table, *words, "--methods=knn", "--draws=2", "--columns=file=image")
    assert found["data"]["name"] == "labels.csv"


@pytest.mark.parametrize(
    ("argv", "refusal"),
    [
        (["images/labels.csv"], "has no column 'file', only 'image', 'label', 'split', 'number'"),
        (["images/none.csv"], "no such file"),
        (["images", "--columns=file=image"], "--columns names columns of a table, and"),
        (["images/labels.csv", "--columns=image"], "give each once, such as file=path,label=species"),
        (["images/labels.csv", "--columns=file=a,file=b"], "give each once"),
        (["images/labels.csv", "--columns=name=a"], "choose one of file, label, split, group"),
    ],
)
def test_wrong_use_of_tables_is_refused_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], refusal: str
) -> None:
    assert cli.main(["run", str(tmp_path / argv[0]), *argv[1:], *words]) == 2
    err = capsys.readouterr().err
    assert refusal in err
    assert err.count("\n") == 1


def test_predictions_are_never_written_over_the_table(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = (tmp_path / "images/labels.csv").rename(tmp_path / "predictions.csv")
    before = table.read_bytes()
    assert cli.main(["run", str(table), *words, f"--out={tmp_path}"]) == 2
    assert "would be written over" in capsys.readouterr().err
    assert table.read_bytes() == before
