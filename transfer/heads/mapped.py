"""Rows that lie in a file and are mapped into memory: read where they are needed, never copied as a whole.

N: rows. B: rows of a part. D: features.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import gen_batches

from transfer.system.hardware import available_bytes
from transfer.system.row_storage import is_mapped

Array = npt.NDArray[Any]

# What is read of a map at a time by those who hold few parts: 64 MB.
PART_BYTES = 1 << 26


def parts(n_rows: int, width: int) -> Iterator[slice]:
    """Return the slices of parts of rows of `width` numbers in float32."""
    slices: Iterator[slice] = gen_batches(n_rows, max(1, PART_BYTES // (4 * width)))
    return slices


@dataclass(frozen=True)
class MappedRows:
    """Mapped rows that are standardised whenever some are taken, to the bits that all at once would have.

    Parameters
    ----------
    x_ND : (N, D) float32
    mean_D, scale_D : (D,) float32
    """

    x_ND: Array
    mean_D: Array
    scale_D: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""
        return self.x_ND.shape

    def __len__(self) -> int:
        return len(self.x_ND)

    def __getitem__(self, rows: slice | Array) -> Array:
        x_BD: Array = self.x_ND[rows]
        if isinstance(rows, slice):  # a view of the file
            x_BD = x_BD - self.mean_D
        else:
            x_BD -= self.mean_D
        x_BD /= self.scale_D
        return x_BD

    @property
    def stay_in_memory(self) -> bool:
        """Whether the system can keep what it has read of the file in memory."""
        return self.x_ND.nbytes <= available_bytes()

    def expect(self, rows: Array) -> None:
        """Let the system read rows that will be taken soon: at once, where one after the other would be waited for."""
        mapped: Any = self.x_ND
        while not isinstance(mapped, np.memmap):
            mapped = mapped.base
        mapping, width = mapped._mmap, self.x_ND.strides[0]  # type: ignore[attr-defined]
        first = self.x_ND.ctypes.data - _address(mapping)
        for start in (first + rows * width).tolist():
            page = start - start % mmap.PAGESIZE
            mapping.madvise(mmap.MADV_WILLNEED, page, start + width - page)


def scale_rows(x_ND: Array, mean_D: Array, scale_D: Array) -> Array | MappedRows:
    """Return standardised rows: all of them, or of mapped ones an object that gives some at a time."""
    rows = MappedRows(x_ND, mean_D, scale_D)
    return rows if is_mapped(x_ND) else rows[:]


def _address(mapping: mmap.mmap) -> int:
    return int(np.frombuffer(mapping, np.uint8).ctypes.data)
