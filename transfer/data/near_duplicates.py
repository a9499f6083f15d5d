"""Near-duplicates across splits, found by the similarity of their features.

N: images. D: features an image. M: images compared. K: nearest images of another split.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from transfer.data.random_splits import SPLITS, TEST, TRAIN, VALID, Codes, Indices, SplitCodes

# How near the nearest image has to be: as a share of the distance to the fifth nearest, and of the median distance of
# two images of a class, since of a class of fewer images the fifth nearest is of another class.
NEIGHBOURS, SHARE_OF_FIFTH, SHARE_OF_MEDIAN = 5, 0.5, 0.5
# Frames of one video may have more near-duplicates than that, and the fifth is as near as the nearest. Of images that
# come from no video, the nearest two were at 0.21 of the median (scikit-learn's digits, boats, drawn images).
SHARE_OF_MEDIAN_ALONE = 0.15
MEDIAN_OF_PAIRS = 20_000
# Where 0.3 % of many images have a near-duplicate, 95 of 100 samples of this size hold one of them.
MOST_COMPARED = 1_000


class DuplicatePair(NamedTuple):
    """Two images of different splits, as indices into all images."""

    first: int
    second: int


class NearDuplicates(NamedTuple):
    """The near-duplicates between two splits."""

    first: str
    second: str
    compared: int
    """Images of the second split that were compared: all, or a random sample of many."""
    found: int
    """Of these the ones with a near-duplicate in the first split."""
    pairs: tuple[DuplicatePair, ...]
    """Some of them, the nearest first."""


def find_near_duplicates(
    x_ND: npt.NDArray[np.float32],
    labels_N: Codes,
    split_N: SplitCodes,
    *,
    most_compared: int = MOST_COMPARED,
    pairs: int = 5,
) -> list[NearDuplicates]:
    """Find images that have a near-duplicate in another split.

    Rows are scaled to length 1. An image has a near-duplicate if its nearest neighbour in the other split is much
    nearer than its fifth nearest (the ratio test of Lowe, "Distinctive image features from scale-invariant
    keypoints", IJCV 2004) and than two images of a class usually are, or so near that the fifth does not matter.
    Exact copies are among them. If a split has fewer than five images, the farthest replaces the fifth.

    Of altered copies of 70 photographs of boats, features of the bundled ResNet50 found 70 that were 5 % brighter, 62
    JPEG files of quality 60 and 6 crops to 90 % of the area: a crop is as far from its photograph as another
    photograph of the same camera. Of 375 photographs of one day none was found among those of other days.

    Parameters
    ----------
    x_ND : ndarray of shape (N, D), float32
        Features.
    labels_N : ndarray of shape (N,)
        Class of each image, an index from 0.
    split_N : ndarray of shape (N,)
        Indices into `SPLITS`.
    most_compared : int
        Largest number of images of a split that are compared with another split; of more, a random sample.
    pairs : int
        Number of pairs to name for each two splits.

    Returns
    -------
    list of NearDuplicates
        For (train, valid), (train, test) and (valid, test), if both have images.
    """
    rng = np.random.default_rng(0)
    median = _median_distance(x_ND, labels_N, rng)
    rows_S = [np.flatnonzero(split_N == code) for code in range(len(SPLITS))]
    found = []
    for a, others in ((TRAIN, (VALID, TEST)), (VALID, (TEST,))):
        if not len(rows_S[a]):
            continue
        neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows_S[a])), algorithm="brute")
        neighbours.fit(_unit_rows(x_ND, rows_S[a]))
        for b in others:
            second_M = rows_S[b]
            if not len(second_M):
                continue
            if len(second_M) > most_compared:
                second_M = np.sort(rng.choice(second_M, most_compared, replace=False))
            distance_MK, at_MK = neighbours.kneighbors(_unit_rows(x_ND, second_M))
            nearest_M, fifth_M = distance_MK[:, 0], distance_MK[:, -1]
            near_M = (nearest_M < SHARE_OF_FIFTH * fifth_M) & (nearest_M < SHARE_OF_MEDIAN * median)
            near_M |= nearest_M < SHARE_OF_MEDIAN_ALONE * median
            named = np.flatnonzero(near_M)
            named = named[np.argsort(nearest_M[named], kind="stable")][:pairs]
            first_M = rows_S[a][at_MK[:, 0]]
            named_pairs = tuple(DuplicatePair(int(first_M[i]), int(second_M[i])) for i in named)
            found.append(NearDuplicates(SPLITS[a], SPLITS[b], len(second_M), int(near_M.sum()), named_pairs))
    return found


def _unit_rows(x_ND: npt.NDArray[np.float32], rows: Indices) -> npt.NDArray[np.float32]:
    """Return some rows scaled to length 1; rows of zeros stay zero."""
    unit_MD = x_ND[rows]
    norm_M = np.sqrt(np.einsum("md,md->m", unit_MD, unit_MD))  # np.linalg.norm would hold all squares at once
    unit_MD /= np.maximum(norm_M, np.finfo(np.float32).tiny)[:, None]
    return unit_MD


def _median_distance(x_ND: npt.NDArray[np.float32], labels_N: Codes, rng: np.random.Generator) -> float:
    """Return the median distance of two images of a class, from random pairs in blocks of limited memory."""
    order_N = np.argsort(labels_N, kind="stable")
    one_P = rng.integers(0, len(labels_N), MEDIAN_OF_PAIRS)
    start_P, end_P = (np.searchsorted(labels_N[order_N], labels_N[one_P], side) for side in ("left", "right"))
    other_P = order_N[rng.integers(start_P, end_P)]
    differ_P = one_P != other_P
    if not differ_P.any():
        return 0.0
    blocks = zip(*(np.array_split(rows_P[differ_P], 20) for rows_P in (one_P, other_P)), strict=True)
    distance_P = [
        np.linalg.norm(_unit_rows(x_ND, one) - _unit_rows(x_ND, other), axis=1) for one, other in blocks
    ]
    return float(np.median(np.concatenate(distance_P)))
