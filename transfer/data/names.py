"""Sequences of many names in little memory.

N: names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias, overload

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = slice | npt.NDArray[np.bool_] | npt.NDArray[np.integer]
"""Which rows of columns are meant: a slice, a mask or indices."""


@dataclass(frozen=True, eq=False)
class Names(Sequence[str]):
    """A sequence of file names, with ten bytes each beyond their text; a `str` is created on access."""

    text: bytes
    """Of all names, one after another; selections share it."""
    start_N: npt.NDArray[np.int64]
    length_N: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Build the sequence from names, in their order."""
        encoded = [os.fsencode(name) for name in names]
        length_N = np.array([len(name) for name in encoded], np.uint16)
        return cls(b"".join(encoded), np.cumsum(length_N, dtype=np.int64) - length_N, length_N)

    @classmethod
    def join(cls, parts: Iterable[Names]) -> Names:
        """Concatenate the names of all `parts`; text that several share is kept once."""
        parts = [cls.of(()), *parts]
        texts = {id(part.text): part.text for part in parts}
        begins = dict(zip(texts, accumulate(map(len, texts.values()), initial=0), strict=False))
        return cls(
            b"".join(text for text in texts.values() if text),  # a single one is not copied
            np.concatenate([part.start_N + begins[id(part.text)] for part in parts]),
            np.concatenate([part.length_N for part in parts]),
        )

    def select(self, rows: Rows) -> Names:
        """Return the names of some rows: indices, a mask or a slice."""
        return Names(self.text, self.start_N[rows], self.length_N[rows])

    def __len__(self) -> int:
        return len(self.start_N)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Names: ...
    def __getitem__(self, at: int | slice) -> str | Names:
        if isinstance(at, slice):
            return self.select(at)
        start = int(self.start_N[at])
        return os.fsdecode(self.text[start : start + int(self.length_N[at])])
