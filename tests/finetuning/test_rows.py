from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from transfer.backbones.choice import Maps
from transfer.cache.store import Store
from transfer.features.maps import encode
from transfer.finetuning.rows import MapRows, cached_rows

COUNT, SHAPES = 10, ((2, 2, 2),)
Y_N = np.arange(COUNT) % 3


@pytest.fixture(params=["float32", "bfloat16"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> MapRows:
    """Rows whose numbers are the place of an image and ten times its view."""
    maps = Maps(block="layer4", dtype=request.param)
    ids_N32 = np.random.default_rng(0).integers(0, 256, (COUNT, 32), np.uint8)
    tables = []
    for view in range(3):
        x_ND = np.repeat(np.arange(COUNT, dtype=np.float32)[:, None] + 10 * view, 8, 1)
        tables.append(Store(tmp_path).table({"view": view}))
        tables[-1].append(ids_N32, encode(x_ND, maps), 1.0, "here")
    return cached_rows(tables, ids_N32, Y_N, maps, SHAPES)


def test_a_batch_may_be_of_any_views(rows: MapRows) -> None:
    assert (len(rows), rows.views) == (COUNT, 3)
    places = [np.array([3, 13, 29, 0, 20]), np.array([4, 1]), np.array([17])]
    for batch, ([maps], y_N) in zip(places, rows.batches(places), strict=True):
        assert maps.shape == (len(batch), 2, 2, 2)
        assert maps[:, 0, 0, 0].tolist() == batch.tolist()
        assert y_N.tolist() == Y_N[batch % COUNT].tolist()


def test_maps_come_in_the_dtype_that_is_asked_for(rows: MapRows) -> None:
    [([maps], _)] = rows.batches([np.array([1, 11])], dtype=torch.bfloat16)
    assert maps.dtype == torch.bfloat16
    assert (maps[0] == 1).all()
    assert (maps[1] == 11).all()
