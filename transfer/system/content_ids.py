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
    """Ids (N, 32) of their hexadecimal digits; `ValueError` where these are none."""
    return np.frombuffer(bytes.fromhex("".join(ids)), np.uint8).reshape(len(ids), 32)


def to_hex(ids_N32: Ids) -> list[str]:
    """The hexadecimal digits of each id."""
    return [row_32.tobytes().hex() for row_32 in ids_N32]


def keys(ids_N32: Ids) -> Keys:
    """Each id as one value that NumPy sorts and compares, in the order of the hexadecimal digits.

    Within arrays all 32 bytes count; a single value taken out of one would lose zeros at its end.
    """
    key_N: Keys = np.ascontiguousarray(ids_N32).view("S32")[:, 0]
    return key_N


def firsts(ids_N32: Ids) -> npt.NDArray[np.int64]:
    """Where each distinct id occurs first, the ids in their order."""
    key_N = keys(ids_N32)
    order_N = np.argsort(key_N, kind="stable")
    key_N = key_N[order_N]
    first_M: npt.NDArray[np.int64] = order_N[np.append(True, key_N[1:] != key_N[:-1])[: len(key_N)]]
    return first_M


def find(key_N: Keys, sorted_M: Keys) -> npt.NDArray[np.int64]:
    """Where each key lies among sorted ones; -1 where it does not."""
    if not len(sorted_M):
        return np.full(len(key_N), -1)
    at_N = np.searchsorted(sorted_M, key_N)
    found_N = sorted_M.take(at_N, mode="clip") == key_N
    return np.where(found_N, at_N, -1)


def contradictions(ids_N32: Ids, label_N: npt.NDArray[np.integer]) -> int:
    """How many ids are also those of another label."""
    _, group_N = np.unique(keys(ids_N32), return_inverse=True)
    labelled_2M = np.unique(np.stack([group_N, label_N]), axis=1)
    mixed = np.bincount(labelled_2M[0]) > 1
    return int(mixed[group_N].sum())


def are_among(ids_N32: Ids, others_M32: Ids) -> npt.NDArray[np.bool_]:
    """Which of the ids are among the others."""
    return find(keys(ids_N32), np.sort(keys(others_M32))) >= 0
