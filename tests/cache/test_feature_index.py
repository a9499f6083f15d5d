from __future__ import annotations

import numpy as np
import pytest

from transfer.cache import feature_index
from transfer.cache.feature_index import Index
from transfer.system.content_ids import Ids


def ids(count: int, seed: int = 0) -> Ids:
    """Ids of which the first three begin or end with zeros."""
    ids_N32 = np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)
    ids_N32[0] = 0
    ids_N32[1, :31] = 0
    ids_N32[2, 1:] = 0
    return ids_N32


@pytest.mark.parametrize("lookup", [1, 7, 100, 1000])
def test_places_are_found_in_the_order_asked(lookup: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_index, "LOOKUP", lookup)
    index, ids_N32 = Index(), ids(100)
    index.add(ids_N32[:60], np.arange(60))
    index.add(ids_N32[60:90], np.arange(60, 90))
    asked = np.random.default_rng(1).permutation(100)
    assert index.find(ids_N32[asked]).tolist() == [i if i < 90 else -1 for i in asked]
    assert index.find(ids_N32[:0]).tolist() == []


def test_an_empty_index_knows_no_place() -> None:
    assert Index().find(ids(3)).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("ask_between", [False, True])
def test_the_latest_of_several_places_counts(ask_between: bool) -> None:
    index, ids_N32 = Index(), ids(10)
    index.add(ids_N32[[0, 1, 2, 0]], np.array([0, 1, 2, 3]))
    if ask_between:
        assert index.find(ids_N32[:4]).tolist() == [3, 1, 2, -1]
    index.add(ids_N32[[1, 5]], np.array([4, 5]))
    assert index.find(ids_N32[:6]).tolist() == [3, 4, 2, -1, -1, 5]


@pytest.mark.parametrize("least", [0, 5, 1000])
def test_it_does_not_matter_when_additions_are_settled(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_index, "WAITING_LEAST", least)
    index, ids_N32 = Index(), ids(300)
    rng = np.random.default_rng(2)
    expected = np.full(300, -1)
    for step in range(100):
        added = rng.integers(0, 200, 7)
        index.add(ids_N32[added], np.full(7, step))
        expected[added] = step
    assert index.find(ids_N32).tolist() == expected.tolist()


def test_many_small_additions_are_sorted_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_index, "WAITING_LEAST", 64)
    settled = 0
    real = Index._settle

    def count(self: Index) -> None:
        nonlocal settled
        settled += 1
        real(self)

    monkeypatch.setattr(Index, "_settle", count)
    index, ids_N32 = Index(), ids(8000)
    for i in range(0, 8000, 8):
        index.add(ids_N32[i : i + 8], np.arange(i, i + 8))
    assert settled < 40
    assert index.find(ids_N32).tolist() == list(range(8000))
