from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.refusals import refusal
from transfer.data.feature_files import read_features
from transfer.system.row_storage import RowStorage


def save(root: Path, **arrays: Any) -> Path:
    path = root / "features.npz"
    np.savez(path, **arrays)
    return path


def blocks(**changes: Any) -> dict[str, Any]:
    """Arrays of two splits, with changes; None takes an array out."""
    x_ND = np.arange(24, dtype=np.float64).reshape(8, 3)
    given = {"x_train": x_ND[:5], "y_train": [0, 1, 0, 1, 0], "x_test": x_ND[5:], "y_test": [1, 0, 1]}
    return {name: value for name, value in (given | changes).items() if value is not None}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.bool_])
def test_splits_of_their_own_arrays_follow_each_other(tmp_path: Path, dtype: type) -> None:
    x_ND = (np.arange(30) % 2 == 0).reshape(10, 3).astype(dtype)
    path = save(
        tmp_path,
        X_train=x_ND[:4],
        Y_train=["b", "a", "b", "a"],
        x_val=x_ND[4:7],
        y_val=["a", "a", "b"],
        x_test=x_ND[7:],
        y_test=["b", "b", "a"],
    )
    found = read_features(path, {}, None, RowStorage(tmp_path))
    assert found.x_ND.dtype == np.float32
    np.testing.assert_array_equal(found.x_ND, x_ND.astype(np.float32))
    assert found.rows.files[3:8] == ["train/3", "valid/0", "valid/1", "valid/2", "test/0"]
    assert found.rows.split_N.tolist() == [0] * 4 + [1] * 3 + [2] * 3
    assert [found.rows.labels[i] for i in range(10)] == list("babaaabbba")
    assert found.classes is None


def test_rows_of_one_array_may_have_splits_groups_and_files(tmp_path: Path) -> None:
    given = {
        "X": np.eye(4),
        "y": list("abab"),
        "split": ["train", "test", "val", "train"],
        "groups": [3, 4, 3, 3],
    }
    found = read_features(save(tmp_path, **given), {}, None, RowStorage(tmp_path))
    assert found.rows.files == ["0", "1", "2", "3"]
    assert found.rows.split_N.tolist() == [0, 2, 1, 0]
    assert found.rows.groups is not None
    assert [found.rows.groups[i] for i in range(4)] == ["3", "4", "3", "3"]
    named = read_features(
        save(tmp_path, **given, files=["p", "q", "r", "s"]), {}, r"^\w", RowStorage(tmp_path)
    )
    assert named.rows.files == ["p", "q", "r", "s"]
    assert named.rows.groups is None
    assert named.pattern == r"^\w"


@pytest.mark.parametrize(
    ("y", "classes", "labels", "order"),
    [
        ([2, 10, 2, 10], None, ["2", "10", "2", "10"], ["2", "10"]),
        ([1, 0, 1, 0], ["z", "a"], ["a", "z", "a", "z"], ["z", "a"]),
        (["a", "z", "a", "z"], ["z", "a"], ["a", "z", "a", "z"], ["z", "a"]),
        (["01", "1", "01", "1"], None, ["01", "1", "01", "1"], None),
    ],
)
def test_labels_are_indices_of_the_classes_or_their_names(
    tmp_path: Path, y: list[Any], classes: list[str] | None, labels: list[str], order: list[str] | None
) -> None:
    arrays = {"X": np.eye(4), "y": y} | ({} if classes is None else {"classes": classes})
    found = read_features(save(tmp_path, **arrays), {}, None, RowStorage(tmp_path))
    assert [found.rows.labels[i] for i in range(4)] == labels
    assert found.classes == order


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": None}, "no array x_train, only y_train, x_test, y_test; give x_train, y_train"),
        ({"y_test": None}, "no array y_test"),
        ({"x_test": None}, "no array x_test"),
        ({"y_train": [0, 1]}, "y_train has 2 values for 5 rows of features"),
        ({"y_train": np.eye(5)}, "y_train is float64 of shape (5, 5); give text or numbers, one a row"),
        (
            {"x_train": np.zeros(5)},
            "x_train is float64 of shape (5,); give numbers of shape (rows, features)",
        ),
        ({"x_test": np.zeros((3, 3), complex)}, "x_test is complex128"),
        ({"x_test": np.zeros((3, 2))}, "have [2, 3] features a row"),
        ({"x_test": np.zeros((3, 0))}, "x_test is float64 of shape (3, 0)"),
        ({"Y_train": [0]}, "two arrays whose names differ in case alone"),
        ({"groups": [1] * 8}, "groups does not belong with x_train, x_test"),
        ({"X": np.eye(3)}, "x does not belong with x_train, x_test"),
        ({"classes": ["a"]}, "y holds '1', which is none of its classes; give indices from 0 to 0"),
        ({"classes": ["a", "a"]}, "classes has a name twice"),
        ({"groups_train": [1, 2, 3, 4, 5]}, "no groups_test; add it, or leave out all arrays of groups"),
        ({"y_test": [0, 2, 1]}, "row 1: class '2' is in test but not in train"),
        ({"y_train": np.array([0, "a", None, 1, 2], object)}, "holds Python objects, which are never read"),
        ({"x_train": np.array([[1, np.nan, 0]] * 2 + [[0, 0, 0]] * 3)}, "2 of 8 rows hold NaN, infinity"),
        ({"x_test": [[0, 0, 0], [0, 1e39, 0], [0, 0, -np.inf]]}, "the first is test/1"),
        ({"x_test": np.array([[0, 0, 0], [0, 0, np.inf], [0, 0, 0]], np.float16)}, "1 of 8 rows"),
    ],
)
def test_arrays_that_can_not_be_used_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = save(tmp_path, **blocks(**changes))
    message = refusal(read_features, path, {}, None, RowStorage(tmp_path))
    assert words in message
    assert str(path) in message


def test_groups_by_names_need_names(tmp_path: Path) -> None:
    assert "add an array of files, or of groups" in refusal(
        read_features, save(tmp_path, **blocks()), {}, r"^\d+", RowStorage(tmp_path)
    )


@pytest.mark.parametrize("cut", [0, 10, 400])
def test_a_file_that_is_no_archive_of_arrays_is_refused(tmp_path: Path, cut: int) -> None:
    path = save(tmp_path, **blocks())
    path.write_bytes(path.read_bytes()[:cut])
    assert f"can't read {path}" in refusal(read_features, path, {}, None, RowStorage(tmp_path))


@pytest.mark.parametrize(
    ("member", "content"),
    [("X", b"text"), ("X.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': [[[[[[("), ("X.npy", b"")],
)
def test_an_archive_of_something_else_is_refused(tmp_path: Path, member: str, content: bytes) -> None:
    path = tmp_path / "features.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    assert f"can't read {path}" in refusal(read_features, path, {}, None, RowStorage(tmp_path))


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, **blocks())
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + flags] |= 1
    path.write_bytes(data)
    assert "encrypted" in refusal(read_features, path, {}, None, RowStorage(tmp_path))


def test_a_pickle_and_a_single_array_are_refused(tmp_path: Path) -> None:
    import pickle

    path = tmp_path / "features.npz"
    path.write_bytes(pickle.dumps({"X": [1]}))
    assert "not an archive of arrays" in refusal(read_features, path, {}, None, RowStorage(tmp_path))
    with path.open("wb") as file:
        np.save(file, np.eye(3))
    assert f"can't read {path}" in refusal(read_features, path, {}, None, RowStorage(tmp_path))
    path.unlink()
    assert f"no such file: {path}" in refusal(read_features, path, {}, None, RowStorage(tmp_path))
