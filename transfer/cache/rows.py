"""Rows as shards keep them: features as float32, maps as the bits of bfloat16, which NumPy has as uint16 alone.

N: rows. D: numbers a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
StoredRows = npt.NDArray[np.float32] | npt.NDArray[np.uint16]
FLOAT, BITS = "<f4", "<u2"


def as_column(x_ND: StoredRows) -> tuple[Any, Any]:
    """Return the type of a column of Parquet and its values, which are the bytes of the rows."""
    import pyarrow as pa

    buffers = [None, pa.py_buffer(x_ND)]
    if x_ND.dtype == BITS:  # Parquet has whole numbers of 32 bits at least
        kind = pa.binary(x_ND.strides[0])
        return kind, pa.Array.from_buffers(kind, len(x_ND), buffers)
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), x_ND.shape[1])
    numbers = pa.Array.from_buffers(pa.float32(), x_ND.size, buffers)
    return kind, pa.FixedSizeListArray.from_arrays(numbers, type=kind)
