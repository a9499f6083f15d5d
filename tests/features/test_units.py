from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.refusals import refusal
from transfer.data.dataset import Samples
from transfer.data.loader import IndexedImages
from transfer.data.names import Names
from transfer.features.units import compact, divide, share_cores


def images(count: int) -> IndexedImages:
    samples = Samples(Path("root"), Names.of(f"{i:06}.jpg" for i in range(count)), np.zeros(count, np.int32))
    ids_N32 = np.random.default_rng(0).integers(0, 256, (count, 32), np.uint8)
    return IndexedImages(samples, np.zeros(count, np.uint8), ids_N32, np.ones((count, 2), np.int32))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000, 5193, 100_000])
@pytest.mark.parametrize("batch", [1, 8, 100, 128])
@pytest.mark.parametrize("workers", [1, 2, 30])
def test_units_are_whole_batches_in_the_same_order(count: int, batch: int, workers: int) -> None:
    parts = divide(images(count), batch, workers)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    rows = {part.stop - part.start for part in parts}
    assert all(each % batch == 0 for each in rows)
    assert len(parts) >= min(-(-count // batch), workers * 4)
    assert max(rows) < 4096 + batch


def test_large_units_are_shards_that_are_not_merged() -> None:
    assert {part.stop - part.start for part in divide(images(100_000), 8, 1)} == {4096}
    assert {part.stop - part.start for part in divide(images(100_000), 100, 1)} == {4100}


def test_what_is_sent_of_a_unit_has_no_other_names() -> None:
    part = images(10_000)[5000:5008]
    sent = compact(part)
    assert [one.path for one in sent] == [one.path for one in part]
    assert len(pickle.dumps(sent)) < 2000


@pytest.mark.parametrize(
    ("machines", "workers", "on_gpus", "expected"),
    [
        ([(2, 0)], None, False, (1, 2)),
        ([(2, 0)], 2, False, (2, 1)),
        ([(16, 0), (16, 0)], None, False, (2, 16)),
        ([(16, 0), (0, 0), (12, 0)], None, False, (2, 12)),
        ([(16, 0), (4, 0)], 3, False, (3, 5)),
        ([(32, 8)], None, True, (8, 4)),
        ([(32, 8), (64, 0)], 4, True, (4, 8)),
        ([(4, 8)], None, True, (4, 1)),
    ],
)
def test_cores_are_shared_out(
    machines: list[tuple[int, int]], workers: int | None, on_gpus: bool, expected: tuple[int, int]
) -> None:
    assert share_cores(machines, workers, on_gpus=on_gpus) == expected


def test_more_workers_than_there_is_room_for_are_refused() -> None:
    assert "`workers` is 3, and the cluster has cores for 2" in refusal(
        share_cores, [(2, 0)], 3, on_gpus=False
    )
    assert "cores and GPUs for 0" in refusal(share_cores, [(2, 0)], None, on_gpus=True)
    assert "cores for 0" in refusal(share_cores, [(0, 0)], None, on_gpus=False)
