"""Where rows of features are held."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.refusals import refusal
from transfer.system import row_storage
from transfer.system.row_storage import PART, RowStorage, is_mapped, without_subnormals


def test_rows_are_in_memory_where_they_fit(tmp_path: Path) -> None:
    assert not is_mapped(RowStorage(tmp_path / "new")((10, 3)))
    assert not (tmp_path / "new").exists()


def test_rows_that_do_not_fit_are_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(row_storage, "available_bytes", lambda: 119 * row_storage.COPIES)
    make_rows = RowStorage(tmp_path / "new")
    first = make_rows((10, 3))
    first[:] = 7
    monkeypatch.setattr(row_storage, "available_bytes", lambda: 10**9)
    second = make_rows((2, 3))
    assert is_mapped(first)
    assert is_mapped(np.asarray(first[2:]))
    assert is_mapped(second)
    assert (first == 7).all()
    assert not second.any()
    assert list((tmp_path / "new").iterdir()) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_asked_for_they_are_on_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert is_mapped(RowStorage(tmp_path, on_disk=True)((10, 3)))
    assert "as asked" in caplog.text


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    message = refusal(RowStorage(tmp_path, on_disk=True), (10, 3))
    assert "No space left on device" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("in_place", [False, True])
def test_only_subnormal_numbers_are_replaced(order: Literal["C", "F"], in_place: bool) -> None:
    tiny = np.finfo(np.float32).tiny
    kept = np.array([0.0, -0.0, tiny, -tiny, 1.0, -3e38, np.inf, np.nan], np.float32)
    rows = np.array(np.resize(kept, (PART + 3, 8)), order=order)
    assert without_subnormals(rows, in_place=in_place) is rows
    rows[5, 4], rows[PART + 1, 0] = -1e-40, 1e-45
    before = rows.copy()
    expected = rows.copy()
    expected[5, 4] = expected[PART + 1, 0] = 0
    assert without_subnormals(rows, in_place=in_place).tobytes() == expected.tobytes()
    assert rows.tobytes() == (expected if in_place else before).tobytes()


def test_subnormal_numbers_of_mapped_rows_become_zero(tmp_path: Path) -> None:
    x_ND = RowStorage(tmp_path, on_disk=True)((3, 2))
    x_ND[:] = [[1, 1e-39], [-1e-39, 0], [2e-38, np.finfo(np.float32).tiny]]
    assert without_subnormals(x_ND, in_place=True) is x_ND
    assert np.array_equal(x_ND, np.array([[1, 0], [0, 0], [2e-38, np.finfo(np.float32).tiny]], np.float32))
