from __future__ import annotations

import numpy as np
import pytest

from transfer.system.content_ids import Ids, are_among, find, firsts, from_hex, keys, to_hex


def with_zeros() -> Ids:
    """Ids that begin or end with zeros, or differ in their last byte alone."""
    ids_N32 = np.zeros((6, 32), np.uint8)
    ids_N32[1, 31] = 1
    ids_N32[2, 0] = 1
    ids_N32[3, :2] = 1
    ids_N32[4, 16] = 255
    ids_N32[5] = 255
    return ids_N32


def test_hexadecimal_digits_come_back() -> None:
    ids = ["00" * 31 + "ff", "ab" * 32, "ff" + "00" * 31]
    assert to_hex(from_hex(ids)) == ids
    assert from_hex([]).shape == (0, 32)
    assert to_hex(from_hex([])) == []


@pytest.mark.parametrize("ids", [["ab" * 31], ["xy" * 32], ["ab" * 32, "a"], ["no"]])
def test_what_is_no_id_is_refused(ids: list[str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader of a shard asks for no more
        from_hex(ids)


def test_keys_are_in_the_order_of_the_digits_zeros_and_all() -> None:
    ids_N32 = with_zeros()[[5, 3, 1, 0, 4, 2]]
    in_order = ids_N32[np.argsort(keys(ids_N32))]
    assert to_hex(in_order) == sorted(to_hex(ids_N32))
    assert len(np.unique(keys(ids_N32))) == 6
    assert keys(ids_N32[:0]).shape == (0,)


def test_keys_of_every_other_id_are_right_too() -> None:
    assert keys(with_zeros()[::2]).tolist() == keys(with_zeros()).tolist()[::2]


def test_the_first_of_copies_is_found_in_the_order_of_the_ids() -> None:
    ids_N32 = with_zeros()[[5, 0, 5, 1, 0]]
    assert firsts(ids_N32).tolist() == [1, 3, 0]
    assert firsts(ids_N32[:0]).tolist() == []


def test_keys_are_found_among_sorted_ones() -> None:
    sorted_M = np.sort(keys(with_zeros()))
    assert find(sorted_M[::-1], sorted_M).tolist() == [5, 4, 3, 2, 1, 0]
    assert find(sorted_M, sorted_M[1:3]).tolist() == [-1, 0, 1, -1, -1, -1]
    assert find(sorted_M, sorted_M[:0]).tolist() == [-1] * 6
    assert find(sorted_M[:0], sorted_M).tolist() == []


def test_ids_are_or_are_not_among_others() -> None:
    ids_N32 = with_zeros()
    assert are_among(ids_N32, ids_N32[[4, 1, 1]]).tolist() == [False, True, False, False, True, False]
    assert not are_among(ids_N32, ids_N32[:0]).any()
