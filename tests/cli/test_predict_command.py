"""`transfer predict`: the names it takes, and the tables it writes. What it prints is in `test_cli`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.words import words_for
from transfer import cli

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]


@pytest.fixture(scope="module")
def root(
    slim_resnets: None,
    timed_once: None,
    make_images: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Images, and a model of them in `out`."""
    root = tmp_path_factory.mktemp("predict")
    make_images(root / "images")
    words = ["--methods=knn", "--repeats=0", "--engine=eager", "--precision=fp32", "--quiet"]
    assert cli.main(["run", *words_for(root), *words, f"--out={root / 'out'}"]) == 0
    return root


@pytest.fixture
def predict(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Predict; return the status and what was printed."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(["predict", str(root / "out"), *words])
        return (status, *capsys.readouterr())

    return call


Predict = Callable[..., tuple[int, str, str]]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_what_is_printed_and_a_column_a_class(
    root: Path, predict: Predict, tmp_path: Path
) -> None:
    images, path = str(root / "images" / "test"), tmp_path / "found.csv"
    _, printed, err = predict(images)
    assert re.search(r"12 images at [\d.,]+ images/s\n", err)
    status, out, err = predict(images, f"--out={path}")
    assert (status, out) == (0, "")
    assert f"images/s, written to {path}" in err
    rows = rows_of(path)
    assert list(rows[0]) == ["path", "label", "probability", "class0", "class1", "class2"]
    for row, shown in zip(rows, printed.splitlines(), strict=True):
        assert [row["path"], row["label"], f"{float(row['probability']):.3f}"] == shown.split("\t")
        shares = [float(row[f"class{c}"]) for c in range(3)]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == pytest.approx(max(shares), abs=1e-6)


def test_many_images_are_written_in_parts(
    root: Path, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer.serving.predictor.ROWS", 5)
    path = tmp_path / "found.csv"
    assert predict(str(root / "images" / "test"), f"--out={path}", "--quiet") == (0, "", "")
    assert [Path(row["path"]) for row in rows_of(path)] == sorted((root / "images/test").rglob("*.jpg"))


def test_patterns_and_standard_input_name_images(
    root: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "images")
    whole = predict("test", "--quiet")[1]
    assert predict("test/**", "--quiet")[1] == predict("test/*/*.jpg", "--quiet")[1] == whole
    names = sorted(map(str, Path("test").rglob("*.jpg")))
    for text in ("\n".join(names), "\r\n".join(names) + "\r\n", "\0".join(names) + "\0", "test\n"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert predict("-", "--quiet")[1] == whole


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["new/*.jpg"], "nothing matches new/*.jpg"),
        (["none.jpg"], "no such file or folder: none.jpg"),
        (["-"], "no such file or folder: none.jpg"),
        (["test", "--out=found.xls"], "end its name in .csv, .json, .parquet"),
        (["labels.csv", "--out=labels.csv"], "labels.csv would be written over; give another --out"),
        (["label*.csv", "--out=labels.csv"], "labels.csv would be written over; give another --out"),
    ],
)
def test_what_is_wrong_is_one_line_and_costs_nothing(
    root: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, words: list[str], reason: str
) -> None:
    monkeypatch.chdir(root / "images")
    Path("labels.csv").write_text("file\ntest/class0/0.jpg\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"test\nnone.jpg\n")))
    status, out, err = predict(*words)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert reason in err
    assert Path("labels.csv").read_text() == "file\ntest/class0/0.jpg\n"


def test_a_bad_image_leaves_no_table(root: Path, predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"no image")
    status, out, err = predict(str(tmp_path / "0.jpg"), f"--out={tmp_path / 'found.csv'}", "--quiet")
    assert (status, out) == (2, "")
    assert "can't read" in err
    assert [path.name for path in tmp_path.iterdir()] == ["0.jpg"]
