"""Copies of images: files of the same bytes, within a split and across splits.

N: images. C: distinct contents.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transfer.data.random_splits import SPLITS, Codes, SplitCodes
from transfer.system.content_ids import Ids, keys


class Copies(NamedTuple):
    """Counts of images that are copies of others. Pairs of splits are named as in `train-test`."""

    across: dict[str, int]
    """By pair of splits: images of the second that are images of the first too."""
    of_another_class: dict[str, int]
    """Of these the ones that are in the first split in other classes only."""
    within: dict[str, int]
    """By split: images that are copies of another image of their class in the split, the first of them left out."""
    in_two_classes: int
    """Distinct images that lie in the folders of two or more classes of one split."""
    classes: list[int]
    """The classes, as indices, that such images lie in."""


def copy_codes(ids_N32: Ids) -> Codes:
    """Return a code of each image's contents, from 0; copies of an image have the same code.

    Parameters
    ----------
    ids_N32 : ndarray of shape (N, 32), uint8
        sha256 of each image file.

    Returns
    -------
    ndarray of shape (N,)
    """
    code_N: Codes = np.unique(keys(ids_N32), return_inverse=True)[1]
    return code_N


def join_groups(groups_N: Codes, copies_N: Codes) -> Codes:
    """Join groups that hold copies of the same image.

    Parameters
    ----------
    groups_N : ndarray of shape (N,)
        Group of each image, an index from 0.
    copies_N : ndarray of shape (N,)
        Codes as `copy_codes` returns them.

    Returns
    -------
    ndarray of shape (N,)
        Group of each image; groups joined directly or through others have the index of the first of them.
    """
    from scipy.sparse import coo_matrix  # takes a while to import, and is rarely needed
    from scipy.sparse.csgraph import connected_components

    n_groups, n = int(groups_N.max()) + 1, len(groups_N)
    size = n_groups + int(copies_N.max()) + 1
    edges = coo_matrix((np.ones(n, bool), (groups_N, n_groups + copies_N)), shape=(size, size))
    component_G = connected_components(edges, directed=False)[1][:n_groups]
    first_G = np.unique(component_G, return_index=True)[1]  # components are numbered in the order of groups
    joined_N: Codes = first_G[np.unique(component_G, return_inverse=True)[1]][groups_N]
    return joined_N


def are_torn(copies_N: Codes, split_N: SplitCodes) -> bool:
    """Return whether copies of an image lie in different splits.

    Parameters
    ----------
    copies_N : ndarray of shape (N,)
        Codes as `copy_codes` returns them.
    split_N : ndarray of shape (N,)
        Indices into `SPLITS`.
    """
    return len(_pairs(copies_N, split_N)) > len(np.unique(copies_N))


def count_copies(ids_N32: Ids, labels_N: Codes, split_N: SplitCodes) -> Copies:
    """Count the images that are copies of others.

    Parameters
    ----------
    ids_N32 : ndarray of shape (N, 32), uint8
        sha256 of each image file.
    labels_N : ndarray of shape (N,)
        Class of each image, an index from 0.
    split_N : ndarray of shape (N,)
        Indices into `SPLITS`.

    Returns
    -------
    Copies
    """
    code_N = copy_codes(ids_N32)
    labelled_N = _labelled(code_N, labels_N)
    rows = {split: np.flatnonzero(split_N == code) for code, split in enumerate(SPLITS)}
    across, of_another_class = {}, {}
    for first, second in itertools.combinations(SPLITS, 2):
        is_copy_M = np.isin(code_N[rows[second]], code_N[rows[first]])
        of_class_M = np.isin(labelled_N[rows[second]], labelled_N[rows[first]])
        across[f"{first}-{second}"] = int(is_copy_M.sum())
        of_another_class[f"{first}-{second}"] = int((is_copy_M & ~of_class_M).sum())
    within = {split: len(own) - len(np.unique(labelled_N[own])) for split, own in rows.items()}
    mixed: set[int] = set()
    classes: set[int] = set()
    for own in rows.values():
        pairs_P2 = _pairs(code_N[own], labels_N[own])
        code_C, count_C = np.unique(pairs_P2[:, 0], return_counts=True)
        mixed_P = np.isin(pairs_P2[:, 0], code_C[count_C > 1])
        mixed |= set(pairs_P2[mixed_P, 0].tolist())
        classes |= set(pairs_P2[mixed_P, 1].tolist())
    return Copies(across, of_another_class, within, len(mixed), sorted(classes))


def _pairs(first_N: Codes, second_N: Codes) -> npt.NDArray[np.int64]:
    """Return the distinct pairs (P, 2) of two arrays of codes."""
    width = int(second_N.max(initial=0)) + 1
    pairs_P = np.unique(first_N.astype(np.int64) * width + second_N)
    return np.stack(np.divmod(pairs_P, width), axis=1)


def _labelled(code_N: Codes, labels_N: Codes) -> Codes:
    """Return one code for each combination of contents and class."""
    return code_N.astype(np.int64) * (int(labels_N.max(initial=0)) + 1) + labels_N
