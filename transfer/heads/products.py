"""Products of two sets of rows, in blocks that the cores take one by one.

A BLAS library splits a product among threads that spin while they wait for each other, which is slow where another
process is busy on one of the cores. Blocks do not wait for each other.

M, N: rows. D: columns.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import gen_even_slices

from transfer.heads.flushing import flush_thread, flushed
from transfer.heads.threads import one_thread_each, own_cores, pool_of_cores

Array = npt.NDArray[Any]

BLOCK_ROWS, EVEN_ROWS = 512, 1024
# Smaller products are not split: starting threads would take longer.
LEAST_OPERATIONS = 1e9
# oneDNN's layer, as `torch.compile` calls it. PyTorch leaves products to MKL, which does without AVX-512 on processors
# that are not Intel's and takes twice as long there.
_LAYER = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.cpu.get_cpu_capability() == "AVX512"
    else None
)


def even_blocks(n: int) -> list[slice]:
    """Split `n` rows into blocks of at most `EVEN_ROWS` rows, equally many for each core of the calling thread."""
    cores = own_cores()
    rounds = -(-n // (cores * EVEN_ROWS))
    return list(gen_even_slices(n, min(n, cores * rounds)))


def multiply_few(x_MD: torch.Tensor, y_ND: torch.Tensor) -> torch.Tensor:
    """Return the products (M, N) of the rows of two tensors, computed by torch's threads; M or N is small."""
    if _LAYER is None or not (_is_taken(x_MD) and _is_taken(y_ND)):
        return x_MD @ y_ND.T
    # Of rows with gaps between them it takes a hundred times as long.
    x_MD, y_ND = (own if own.T.is_contiguous() else own.contiguous() for own in (x_MD, y_ND))
    products_MN: torch.Tensor = _LAYER(x_MD, y_ND, None, "none", [], "")
    return products_MN


def _is_taken(x_ND: torch.Tensor) -> bool:
    """Return whether oneDNN's layer takes rows: float32 on a processor, of one column or more, without gradients."""
    in_grad = x_ND.requires_grad and torch.is_grad_enabled()
    return x_ND.dtype == torch.float32 and x_ND.shape[1] > 0 and not (x_ND.is_cuda or in_grad)


def multiply_rows(x_MD: Array, y_ND: Array) -> Array:
    """Return the products (M, N) of the rows of two arrays; of an array with itself, half of them are computed.

    Blocks of float32 are computed by `multiply_few` where NumPy's library may do without the processor's AVX-512.
    """
    # What is converted or copied for a product (rows of another type, or read-only) is so block by block.
    as_it_is = len(x_MD) <= BLOCK_ROWS or (x_MD.dtype == y_ND.dtype and x_MD.flags.writeable)
    if as_it_is and 2.0 * len(x_MD) * len(y_ND) * x_MD.shape[1] < LEAST_OPERATIONS:
        with flushed():
            return _multiply(x_MD, y_ND)
    own = x_MD is y_ND
    x_MD = np.ascontiguousarray(x_MD)
    y_ND = x_MD if own else np.ascontiguousarray(y_ND)
    out_MN = np.empty((len(x_MD), len(y_ND)), np.result_type(x_MD, y_ND))

    def fill(starts: tuple[int, int]) -> None:
        rows, others = (slice(start, start + BLOCK_ROWS) for start in starts)
        out_MN[rows, others] = _multiply(x_MD[rows], y_ND[others])
        if own and rows != others:
            out_MN[others, rows] = out_MN[rows, others].T

    pairs = product(range(0, len(x_MD), BLOCK_ROWS), range(0, len(y_ND), BLOCK_ROWS))
    blocks = [pair for pair in pairs if not own or pair[0] >= pair[1]]
    with flushed(), one_thread_each(), pool_of_cores(len(blocks), flush_thread) as pool:
        list(pool.map(fill, blocks))
    return out_MN


def _multiply(x_BD: Array, y_BD: Array) -> Array:
    if not (_LAYER and x_BD.dtype == y_BD.dtype == np.float32):
        return x_BD @ y_BD.T
    # What lies in a file may be read-only, which torch doesn't take.
    blocks = (torch.from_numpy(np.require(own, requirements=("C", "W"))) for own in (x_BD, y_BD))
    return multiply_few(*blocks).numpy()
