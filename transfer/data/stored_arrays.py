"""Arrays of a NumPy `.npz` file that are read some rows at a time.

B: rows of a block.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from transfer.system.files import open_file

BLOCK_BYTES = 1 << 24
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class StoredArray:
    """What the header of an array says of it; its values are in the file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_column: bool

    @classmethod
    def open(cls, path: Path, name: str) -> Self:
        """Read the header; raise `KeyError` where there is no such array, `ValueError` for what is none."""
        with open_file(path) as file, zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as stream:
            shape, by_column, dtype = _read_header(stream)
            if math.prod(shape) * dtype.itemsize > archive.getinfo(f"{name}.npy").file_size:
                raise ValueError(f"{name} ends early")
        return cls(path, name, shape, dtype, by_column)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows, some at a time; raise `ValueError` or `zipfile.BadZipFile` for a damaged file."""
        width = math.prod(self.shape[1:])
        count = max(1, BLOCK_BYTES // (width * self.dtype.itemsize))
        member = f"{self.name}.npy"
        with open_file(self.path) as file, zipfile.ZipFile(file) as archive, archive.open(member) as stream:
            _read_header(stream)
            if self.by_column:
                yield self._read(stream, self.size).reshape(self.shape, order="F")
            else:
                for start in range(0, len(self), count):
                    rows = min(count, len(self) - start)
                    yield self._read(stream, rows * width).reshape(rows, *self.shape[1:])
            stream.read(1)  # the checksum is compared at the end

    def _read(self, stream: IO[bytes], count: int) -> npt.NDArray[Any]:
        data = stream.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise ValueError(f"{self.name} ends early")
        return np.frombuffer(data, self.dtype)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"an array of version {version}")
    shape, by_column, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    return shape, by_column, dtype
