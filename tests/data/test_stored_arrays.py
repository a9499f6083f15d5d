"""Arrays of a file that are read some rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer.data import stored_arrays
from transfer.data.stored_arrays import StoredArray


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_are_the_rows(tmp_path: Path, save: Any, order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_arrays, "BLOCK_BYTES", 8 * 5 * 3)
    x_ND = np.asarray(np.random.default_rng(0).normal(size=(10, 5)), order=order)
    save(tmp_path / "a.npz", x=x_ND)
    found = StoredArray.open(tmp_path / "a.npz", "x")
    assert (found.shape, found.ndim, found.size, len(found)) == ((10, 5), 2, 50, 10)
    blocks = list(found.blocks())
    assert len(blocks) == (4 if order == "C" else 1)
    assert np.array_equal(np.concatenate(blocks), x_ND)


def test_objects_are_refused_by_their_header(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        StoredArray.open(tmp_path / "a.npz", "x")


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((100, 5)))
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(Exception, match="CRC"):
        list(StoredArray.open(path, "x").blocks())
