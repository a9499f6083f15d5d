from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.refusals import refusal
from transfer.data.feature_files import holds_features, read_features
from transfer.data.label_rows import GivenRows
from transfer.system.row_storage import RowStorage

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LABELS = {"label": ["b", "a", "b", "a"]}
X = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]


def save(root: Path, columns: dict[str, Any]) -> Path:
    path = root / "features.parquet"
    parquet.write_table(pa.table(columns), path, row_group_size=3)
    return path


def read(path: Path, groups: str | None = None, **columns: str) -> GivenRows:
    return read_features(path, columns, groups, RowStorage(path.parent))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.int64()),
    ],
)
def test_features_are_a_column_of_lists(tmp_path: Path, kind: Any) -> None:
    lists = [np.asarray(row, np.float16) for row in X] if "halffloat" in str(kind) else X
    if "int" in str(kind):
        lists = [[int(value) for value in row] for row in X]
    found = read(save(tmp_path, {"features": pa.array(lists, kind), "note": list("pqrs"), **LABELS}))
    assert found.x_ND.dtype == np.float32
    np.testing.assert_array_equal(found.x_ND, X)
    assert found.rows.files == ["0", "1", "2", "3"]
    assert [found.rows.labels[i] for i in range(4)] == LABELS["label"]


def test_features_are_all_columns_of_numbers_beside_the_label(tmp_path: Path) -> None:
    columns = {
        "one": np.array([1, 3, 5, 7], np.int8),
        **LABELS,
        "two": [2.0, 4.0, 6.0, 8.0],
        "set": ["train", "test", "train", "train"],
        "person": [1, 2, 1, 3],
        "yes": [True, False, True, True],
        "__index_level_0__": [9, 8, 7, 6],
    }
    found = read(save(tmp_path, columns), "person", split="set")
    np.testing.assert_array_equal(found.x_ND, np.c_[X, [1, 0, 1, 1]])
    assert found.rows.split_N.tolist() == [0, 2, 0, 0]
    assert found.rows.groups is not None
    assert found.rows.groups.texts == ["1", "2", "3"]


def test_labels_and_groups_that_are_not_taken_are_no_features(tmp_path: Path) -> None:
    columns = {
        "one": [1.0, 2.0, 3.0, 4.0],
        "label": [0, 0, 1, 1],
        "group": [1, 2, 3, 4],
        "kind": list("abab"),
    }
    found = read(save(tmp_path, columns), label="kind", group="")
    assert found.x_ND.tolist() == [[1.0], [2.0], [3.0], [4.0]]


def test_files_name_rows_that_have_features(tmp_path: Path) -> None:
    path = save(tmp_path, {"file": list("pqrs"), "features": X, **LABELS})
    assert read(path, r"^[pq]?").rows.files == list("pqrs")
    assert read(path, r"^\w").pattern == r"^\w"


@pytest.mark.parametrize(
    ("columns", "given", "expected"),
    [
        ({"file": ["a"], "label": ["x"]}, {}, False),
        ({"file": ["a"], "label": ["x"], "width": [1]}, {}, False),
        ({"path": ["a"], "label": ["x"]}, {"file": "path"}, False),
        ({"file": ["a"], "label": ["x"], "features": [[1.0]]}, {}, True),
        ({"file": ["a"], "label": ["x"], "embedding": [[1.0]]}, {"features": "embedding"}, True),
        ({"label": ["x"], "width": [1]}, {}, True),
    ],
)
def test_a_column_of_features_or_none_of_files_makes_features(
    tmp_path: Path, columns: dict[str, Any], given: dict[str, str], expected: bool
) -> None:
    assert holds_features(save(tmp_path, columns), given) is expected


def test_other_files_hold_none(tmp_path: Path) -> None:
    assert not holds_features(tmp_path / "labels.csv", {})
    (tmp_path / "folder.npz").mkdir()
    assert not holds_features(tmp_path / "folder.npz", {})
    assert holds_features(tmp_path / "features.npz", {})


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"one": [1.0] * 4}, "has no column 'label', only 'one'"),
        (
            {"path": list("abcd"), **LABELS},
            "column 'path' holds string, not numbers; take it out, or where it names",
        ),
        (LABELS, "no columns of numbers and none of lists"),
        ({"features": ["a"] * 4, **LABELS}, "column 'features' holds string; give lists of numbers"),
        ({"features": [["a"]] * 4, **LABELS}, "give lists of numbers"),
        (
            {"features": [[1.0], [1.0], [1.0, 2.0], [1.0]], **LABELS},
            "row 2: the list is missing, empty, or not as long",
        ),
        (
            {"features": [[1.0], [1.0], [1.0], [1.0, 2.0]], **LABELS},
            "row 3: the list is missing, empty, or not as long",
        ),
        ({"features": [[1.0], None, [1.0], [1.0]], **LABELS}, "row 1: the list is missing"),
        ({"features": [[1.0], [None], [1.0], [1.0]], **LABELS}, "1 of 4 rows hold NaN"),
        ({"one": [1, None, 3, 4], **LABELS}, "1 of 4 rows hold NaN"),
        ({"one": [1, 2], "label": ["a", None]}, "row 1: the label is empty"),
        ({"one": pa.array([], pa.int8()), "label": pa.array([], pa.string())}, "has no rows"),
        ({"one": [1, 2], "label": ["a", "b"], "weight": [1, 1]}, "`columns='weight='` leaves it out"),
    ],
)
def test_columns_that_can_not_be_used_are_refused(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    path = save(tmp_path, columns)
    message = refusal(read, path)
    assert words in message
    assert str(path) in message


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    parquet.write_table(pa.Table.from_arrays([[1.0], [2.0], ["a"]], names=["one", "one", "label"]), path)
    assert f"{path} has two columns of one name" in refusal(read, path)
