"""`prediction_table`: the same rows in every format, whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer.serving.prediction import Prediction
from transfer.serving.prediction_table import TABLE_WRITERS, check_path, column_names, open_table
from transfer.system.errors import UserError

CLASSES = ("a,b", 'say "x"', "label")
NOT_UTF8 = "r\udcffd"
COLUMNS = ["path", "label", "probability", "a,b", 'say "x"', "class:label"]


def predictions() -> list[Prediction]:
    shares = np.array([0.25, 0.5, 0.25], np.float32)
    return [
        Prediction(path=Path("new/ä.jpg"), label='say "x"', probability=0.5, probabilities=shares),
        Prediction(path=Path("c\udcff.jpg"), label=None, probability=0.5, probabilities=shares),
    ]


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return list(parquet.read_table(path).to_pylist())
    if path.suffix == ".json":
        return list(json.loads(path.read_text()))
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    shares = dict.fromkeys(COLUMNS[2:], float)
    return [{name: shares.get(name, str)(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("suffix", TABLE_WRITERS)
def test_every_format_holds_the_same_rows(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"found{suffix}"
    with open_table(path, CLASSES) as add:
        for one in predictions():  # in two parts
            add([one])
        add([])
    rows = read(path)
    assert [list(row) for row in rows] == [COLUMNS, COLUMNS]
    assert [row["label"] or None for row in rows] == ['say "x"', None]
    assert rows[0]["path"] == "new/ä.jpg"
    assert rows[1]["path"] == ("c\\udcff.jpg" if suffix == ".parquet" else "c\udcff.jpg")
    assert [list(row.values())[2:] for row in rows] == [[0.5, 0.25, 0.5, 0.25]] * 2


@pytest.mark.parametrize("suffix", TABLE_WRITERS)
def test_a_table_of_no_rows_can_be_read(suffix: str, tmp_path: Path) -> None:
    with open_table(tmp_path / f"found{suffix}", CLASSES):
        pass
    assert read(tmp_path / f"found{suffix}") == []


@pytest.mark.parametrize("suffix", TABLE_WRITERS)
def test_what_fails_leaves_what_was_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"found{suffix}"
    path.write_text("before")
    with pytest.raises(UserError, match="can't read"), open_table(path, CLASSES) as add:  # noqa: PT012
        add(predictions())
        raise UserError("can't read 3.jpg")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["before"]


def test_names_of_columns_are_all_different() -> None:
    names = column_names(["label", "class:label", "path", "boat"])
    assert names[3:] == ["class:class:label", "class:label", "class:path", "boat"]


@pytest.mark.parametrize(
    ("name", "words"), [("x.txt", "csv"), ("x", "csv"), ("none/x.csv", "in a folder that is there")]
)
def test_what_can_not_be_written_is_refused_before_any_work(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        check_path(tmp_path / name)


@pytest.mark.parametrize("suffix", TABLE_WRITERS)
def test_classes_may_have_names_that_are_no_utf8(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"found{suffix}"
    one = Prediction(
        path=Path("a.jpg"), label=NOT_UTF8, probability=1.0, probabilities=np.ones(1, np.float32)
    )
    with open_table(path, (NOT_UTF8,)) as add:
        add([one])
    (row,) = read(path)
    name = "r\\udcffd" if suffix == ".parquet" else NOT_UTF8
    assert row["label"] == name
    assert float(row[name]) == 1


@pytest.mark.parametrize("name", ["result.json", "predictions.csv", "frontier.json"])
def test_files_of_a_run_are_not_written_over(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("before")
    (tmp_path / "result.json").touch()
    with pytest.raises(UserError, match="is a file of a run"):
        check_path(tmp_path / name)


def test_a_table_of_earlier_predictions_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").touch()
    check_path(tmp_path / "predictions.csv")
