from __future__ import annotations

import os

import numpy as np
import pytest

from transfer.data.names import Names

NAMES = ["a/1.jpg", "", "Gòndola/船.png", "x" * 4000, os.fsdecode(b"\xff\xfe.jpg"), "a/1.jpg"]


def test_names_come_back_as_they_were() -> None:
    names = Names.of(NAMES)
    assert len(names) == 6
    assert list(names) == NAMES
    assert names[-1] == NAMES[-1]
    with pytest.raises(IndexError):
        names[6]


@pytest.mark.parametrize(
    ("rows", "at"),
    [
        (slice(1, 4), [1, 2, 3]),
        (np.array([4, 0, 4]), [4, 0, 4]),
        (np.array([False, True, True, False, False, True]), [1, 2, 5]),
        (np.array([], int), []),
    ],
)
def test_some_are_selected_and_share_the_text(rows: slice | np.ndarray, at: list[int]) -> None:
    names = Names.of(NAMES)
    chosen = names.select(rows)
    assert list(chosen) == [NAMES[i] for i in at]
    assert chosen.text is names.text


def test_joined_names_follow_each_other_and_shared_text_is_kept_once() -> None:
    one, other = Names.of(NAMES[:3]), Names.of(NAMES[3:])
    parts = [one[2:], other, one[:2], Names.of(())]
    joined = Names.join(parts)
    assert list(joined) == [name for part in parts for name in part]
    assert len(joined.text) == len(one.text) + len(other.text)
    assert list(Names.join([])) == []


def test_an_iterable_is_read_once() -> None:
    assert list(Names.of(name for name in NAMES)) == NAMES
