from __future__ import annotations

import numpy as np
import pytest

from transfer.data.copies import are_torn, copy_codes, count_copies, join_groups
from transfer.data.random_splits import SPLITS
from transfer.system.content_ids import Ids


def ids_of(contents: list[int]) -> Ids:
    """An id for each content; some end in zero bytes, which NumPy drops of a single value."""
    ids_N32 = np.zeros((len(contents), 32), np.uint8)
    ids_N32[:, 0] = contents
    return ids_N32


def count(rows: list[tuple[str, int, int]]) -> dict[str, object]:
    """Count the copies among rows of split, class and content."""
    split_N = np.array([SPLITS.index(split) for split, _, _ in rows], np.uint8)
    labels_N = np.array([label for _, label, _ in rows], np.int32)
    return count_copies(ids_of([content for _, _, content in rows]), labels_N, split_N)._asdict()


NONE = dict.fromkeys(("train-valid", "train-test", "valid-test"), 0)
DISTINCT = [(split, label, 10 * i + label) for i, split in enumerate(SPLITS) for label in range(3)]


@pytest.mark.parametrize("rows", [DISTINCT, []])
def test_without_copies_there_is_nothing_to_count(rows: list[tuple[str, int, int]]) -> None:
    assert count(rows) == {
        "across": NONE,
        "of_another_class": NONE,
        "within": dict.fromkeys(SPLITS, 0),
        "in_two_classes": 0,
        "classes": [],
    }


@pytest.mark.parametrize(("first", "second"), [("train", "valid"), ("train", "test"), ("valid", "test")])
def test_copies_across_splits_are_counted_by_whether_their_class_agrees(first: str, second: str) -> None:
    rows = [
        *DISTINCT,
        *[(first, 1, 100), (first, 0, 101), (first, 2, 101)],
        *[(second, 1, 100), (second, 1, 100), (second, 0, 100), (second, 2, 101)],
    ]
    found, pair = count(rows), f"{first}-{second}"
    assert found["across"] == {**NONE, pair: 4}
    assert found["of_another_class"] == {**NONE, pair: 1}  # 101 is in both classes of the first split


@pytest.mark.parametrize("split", SPLITS)
def test_copies_within_a_split_are_counted(split: str) -> None:
    rows = [*DISTINCT, *[(split, 0, 100)] * 3, (split, 1, 101), (split, 2, 101), (split, 2, 101)]
    found = count(rows)
    assert found["across"] == NONE
    assert found["within"] == {**dict.fromkeys(SPLITS, 0), split: 3}
    assert (found["in_two_classes"], found["classes"]) == (1, [1, 2])


def test_codes_are_equal_for_copies_alone() -> None:
    code_N = copy_codes(ids_of([7, 3, 7, 0, 3]))
    assert code_N[0] == code_N[2]
    assert code_N[1] == code_N[4]
    assert len(set(code_N.tolist())) == 3
    assert set(code_N.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("groups", "copies", "joined"),
    [
        ([0, 0, 1, 1, 2], [0, 1, 2, 3, 4], [0, 0, 1, 1, 2]),
        ([0, 0, 1, 1, 2], [0, 1, 1, 3, 4], [0, 0, 0, 0, 2]),
        ([0, 1, 2, 3, 4], [9, 8, 9, 8, 7], [0, 1, 0, 1, 4]),
        ([0, 1, 1, 2, 3], [5, 5, 6, 6, 7], [0, 0, 0, 0, 3]),
        ([5, 2, 5, 2], [0, 1, 2, 0], [2, 2, 2, 2]),
    ],
)
def test_groups_that_share_copies_are_joined(groups: list[int], copies: list[int], joined: list[int]) -> None:
    assert join_groups(np.array(groups), np.array(copies)).tolist() == joined


def test_copies_in_two_splits_are_torn() -> None:
    assert not are_torn(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1], np.uint8))
    assert are_torn(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1], np.uint8))
