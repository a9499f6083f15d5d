"""Where the features of a run are held: in memory, or where they do not fit there in a file that is mapped.

N: rows. D: features. B: rows of a part.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.system.errors import UserError
from transfer.system.hardware import available_bytes

# Features are held in memory where so many times their bytes are free: methods hold standardised copies.
COPIES = 3
ROWS = 4096
# Rows that are searched together for subnormal numbers: they stay in a core's cache.
PART = 64

MakeRows = Callable[[tuple[int, int]], npt.NDArray[np.float32]]
"""Makes an array of a shape `(N, D)`."""

log = logging.getLogger(__name__)


def in_memory(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return an array in memory."""
    return np.empty(shape, np.float32)


class RowStorage:
    """Makes arrays for rows of features, all in memory or all on disk.

    Parameters
    ----------
    folder : Path
        Where files are made, created if need be. They have no name: whatever ends the process removes them.
    on_disk : bool
        Whether rows are held on disk even where they fit into memory.
    """

    def __init__(self, folder: Path, *, on_disk: bool = False) -> None:
        self._folder, self._asked, self._on_disk = folder, on_disk, False

    def __call__(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return an array in memory or a map of a new file, of float32; raise `UserError` for a full disk."""
        size, free = 4 * math.prod(shape), available_bytes()
        if not size or not (self._asked or self._on_disk or size * COPIES > free):
            return in_memory(shape)
        if not self._on_disk:
            why = "as asked" if self._asked else f"{free / 1e9:.1f} GB of memory are free"
            log.warning("%.2f GB of features are held in a file below %s: %s", size / 1e9, self._folder, why)
        self._on_disk = True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                if hasattr(os, "posix_fallocate"):  # a disk that is full later would end the process
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                return np.memmap(file, np.float32, "r+", shape=shape)
        except OSError as error:
            raise UserError(
                f"can't make a file of {size / 1e9:.1f} GB for features in {self._folder} ({error.strerror}); "
                "make room there, or name another folder by `store`"
            ) from error


def is_mapped(x_ND: Any) -> bool:
    """Return whether an array is a memory map of a file, or a view of one, as scikit-learn's checks return it."""
    while isinstance(x_ND, np.ndarray) and not isinstance(x_ND, np.memmap):
        x_ND = x_ND.base
    return isinstance(x_ND, np.memmap)


def without_subnormals(x_ND: npt.NDArray[np.float32], *, in_place: bool = False) -> npt.NDArray[np.float32]:
    """Replace subnormal numbers by zero.

    Whether a thread flushes them is its own state, and threads of BLAS, OpenMP and libsvm are not all ours. Rows
    without subnormal numbers are read alike by all threads, on every device, and at full speed.

    Parameters
    ----------
    x_ND : (N, D) float32
    in_place : bool
        Whether the array itself is changed.

    Returns
    -------
    (N, D) float32
        The array itself if it has none or `in_place`, else a copy.
    """
    rows_ND = x_ND
    for start in range(0, len(x_ND), PART):
        magnitude_BD = x_ND[start : start + PART].view(np.uint32) & np.uint32(0x7FFFFFFF)
        magnitude_BD -= 1  # zero becomes the largest number
        tiny_BD = magnitude_BD < 0x007FFFFF
        if tiny_BD.any():
            if rows_ND is x_ND and not in_place:
                rows_ND = x_ND.copy()
            rows_ND[start : start + PART][tiny_BD] = 0
    return rows_ND
