"""Ids of images: the sha256 of a file's bytes. Many are an array (N, 32) of uint8.

N, M: ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.bytes_]


def from_hex(ids: Sequence[str]) -> Ids:
    """Convert hexadecimal digits to ids.

    Parameters
    ----------
    ids : sequence of str
        64 digits each.

    Returns
    -------
    (N, 32) uint8

    Raises
    ------
    ValueError
        If a text is not hexadecimal, or the lengths do not fit.
    """
    return np.frombuffer(bytes.fromhex("".join(ids)), np.uint8).reshape(len(ids), 32)


def to_hex(ids_N32: Ids) -> list[str]:
    """Convert ids `(N, 32)` to hexadecimal digits."""
    return [row_32.tobytes().hex() for row_32 in ids_N32]


def keys(ids_N32: Ids) -> Keys:
    """Return each id as one value that NumPy can sort and compare.

    Parameters
    ----------
    ids_N32 : (N, 32) uint8

    Returns
    -------
    (N,) bytes of length 32
        In the order of the hexadecimal digits. Use them within arrays: a single value taken out of one loses the
        zeros at its end.
    """
    key_N: Keys = np.ascontiguousarray(ids_N32).view("S32")[:, 0]
    return key_N


def firsts(ids_N32: Ids) -> npt.NDArray[np.int64]:
    """Return the position of the first occurrence of each distinct id.

    Parameters
    ----------
    ids_N32 : (N, 32) uint8

    Returns
    -------
    (M,) int64
        Sorted by id.
    """
    first_M: npt.NDArray[np.int64] = np.unique(keys(ids_N32), return_index=True)[1]
    return first_M


def find(key_N: Keys, sorted_M: Keys) -> npt.NDArray[np.int64]:
    """Return the position of each key in a sorted array.

    Parameters
    ----------
    key_N : (N,) keys
        The keys to look up.
    sorted_M : (M,) keys
        Distinct keys in ascending order.

    Returns
    -------
    (N,) int64
        -1 for a key that is absent.
    """
    if not len(sorted_M):
        return np.full(len(key_N), -1)
    at_N = np.searchsorted(sorted_M, key_N)
    found_N = sorted_M.take(at_N, mode="clip") == key_N
    return np.where(found_N, at_N, -1)


def are_among(ids_N32: Ids, others_M32: Ids) -> npt.NDArray[np.bool_]:
    """Return which of the ids `(N, 32)` are among others `(M, 32)`: `(N,)` bool."""
    return find(keys(ids_N32), np.sort(keys(others_M32))) >= 0
