"""Splits of labelled images into train, valid and test: stratified by class, with groups kept together.

N: images. G: groups. C: classes. S: splits. M: images of one class. P: pairs of a group and a class.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transfer.data.random_splits import (
    SPLITS,
    TEST,
    TRAIN,
    VALID,
    Arrangements,
    Codes,
    Indices,
    SplitCodes,
    draw_images,
)

# For repeated splits the best of few: chosen among hundreds, every repeat would be the same split.
CANDIDATES_PER_REPEAT = 8
# With few groups a new arrangement may not be drawn at once, or there may be none left.
ROUNDS_PER_REPEAT = 25


class SplitIndices(NamedTuple):
    """A split of N images: the indices of train, valid and test, ascending."""

    train: Indices
    valid: Indices
    test: Indices

    @classmethod
    def from_codes(cls, split_N: SplitCodes) -> SplitIndices:
        """Build a split from indices into `SPLITS` (N,)."""
        return cls(*(np.flatnonzero(split_N == code) for code in range(len(SPLITS))))


class GroupOverlap(NamedTuple):
    """The groups that lie in two splits at once."""

    first: str
    second: str
    groups: int
    images: int
    """Images of the second split with a group that is in the first one too."""


def split_shares(split_N: SplitCodes) -> dict[str, float]:
    """Return the shares of all images that are in `valid` and `test`.

    Parameters
    ----------
    split_N : ndarray of shape (N,)
        Indices into `SPLITS`.

    Returns
    -------
    dict of str to float
    """
    return {split: float(np.mean(split_N == SPLITS.index(split))) for split in ("valid", "test")}


def draw_split(
    labels_N: Codes,
    shares: Mapping[str, float],
    *,
    classes: Sequence[str],
    seed: int,
    groups_N: Codes | None = None,
    copies_N: Codes | None = None,
) -> SplitCodes:
    """Draw a stratified split, the same for the same seed.

    Without groups every class is drawn separately, from the seed and the class's name alone: adding a class leaves
    the others where they were. Of each class train gets at least one image, then the split with the largest share,
    so that a class of three is in all splits; scikit-learn's stratified split refuses classes of one image.

    With groups each group is in one split. Among many random arrangements the one is taken that leaves the fewest
    classes without training images and, of these, is closest to the shares: as the mean over classes of the sum
    over splits of |share - wanted share|, and 1 more for each split that lacks the class. With fewer groups than
    splits, `test` is a group and `valid` is drawn by image from the others.
    `sklearn.model_selection.StratifiedGroupKFold` can't be used: its folds are of one size, and as its shuffling
    orders only groups with equal class counts, another seed gives the same folds.

    Parameters
    ----------
    labels_N : ndarray of shape (N,)
        Class of each image, an index into `classes`.
    shares : mapping of str to float
        The share of all images for `valid`, `test` or both; the rest is `train`.
    classes : sequence of str
        Names of the classes.
    seed : int
        Seed of the draw, from 0 up.
    groups_N : ndarray of shape (N,), optional
        Group of each image, an index from 0.
    copies_N : ndarray of shape (N,), optional
        Codes that are equal for copies of one image, which are kept in one split; groups must have been joined by
        `join_groups`.

    Returns
    -------
    ndarray of shape (N,), uint8
        Indices into `SPLITS`.
    """
    if groups_N is None:
        return draw_images(labels_N, shares, [[seed, _hash(name)] for name in classes], copies_N)
    arrangements = Arrangements(labels_N, groups_N, shares, np.random.default_rng(seed), copies_N)
    return arrangements.to_images(arrangements.draw(arrangements.affordable), [seed])


def draw_repeats(
    labels_N: Codes,
    n: int,
    shares: Mapping[str, float],
    *,
    seed: int,
    groups_N: Codes | None = None,
    copies_N: Codes | None = None,
) -> list[SplitIndices]:
    """Draw `n` stratified splits of the same images, independent of each other.

    Every class of three images or more is in all three splits, one of two in train and test. With groups, no two
    splits arrange the groups in the same way, and few groups may have fewer arrangements than `n`: of two groups each
    is the test split once, and `valid` is drawn by image from the other; of three, each split has one, in six ways.

    Parameters
    ----------
    labels_N : ndarray of shape (N,)
        Class of each image, an index from 0.
    n : int
        Number of splits.
    shares : mapping of str to float
        The share of all images for `valid` and `test`, as `split_shares` returns them.
    seed : int
        Seed of all draws, from 0 up.
    groups_N : ndarray of shape (N,), optional
        Group of each image, an index from 0.
    copies_N : ndarray of shape (N,), optional
        As for `draw_split`.

    Returns
    -------
    list of SplitIndices
        `n` splits; fewer if the groups have fewer arrangements.
    """
    if groups_N is None:
        n_classes = int(labels_N.max()) + 1
        seeds = ([[seed, repeat, label] for label in range(n_classes)] for repeat in range(n))
        return [SplitIndices.from_codes(draw_images(labels_N, shares, own, copies_N)) for own in seeds]
    arrangements = Arrangements(labels_N, groups_N, shares, np.random.default_rng(seed), copies_N)
    repeats: list[SplitIndices] = []
    taken: set[bytes] = set()
    for _ in range(n * ROUNDS_PER_REPEAT):
        if len(repeats) == n:
            break
        split_G = arrangements.draw(CANDIDATES_PER_REPEAT, taken)
        if split_G.tobytes() not in taken:
            taken.add(split_G.tobytes())
            split_N = arrangements.to_images(split_G, [seed, len(repeats)])
            repeats.append(SplitIndices.from_codes(split_N))
    return repeats


def leave_group_out(
    labels_N: Codes, groups_N: Codes, valid_share: float, *, seed: int, copies_N: Codes | None = None
) -> list[SplitIndices]:
    """Make each group the test split once.

    `valid` is drawn from the other groups: whole groups if there are at least three of them, else by image and
    stratified. Test images of a class without training images stay in the test split, although no method can
    predict them correctly.

    Parameters
    ----------
    labels_N : ndarray of shape (N,)
        Class of each image, an index from 0.
    groups_N : ndarray of shape (N,)
        Group of each image, an index from 0.
    valid_share : float
        The share of the images of the other groups for `valid`.
    seed : int
        Seed of the draws of `valid`, from 0 up.
    copies_N : ndarray of shape (N,), optional
        As for `draw_split`.

    Returns
    -------
    list of SplitIndices
        One for each group, in the order of the groups' indices.
    """
    splits = []
    for group in np.unique(groups_N):
        split_N = np.full(len(labels_N), TEST, np.uint8)
        rest_N = groups_N != group
        others_N = groups_N[rest_N]
        split_N[rest_N] = draw_split(
            labels_N[rest_N],
            {"valid": valid_share},
            classes=[str(label) for label in range(int(labels_N.max()) + 1)],
            seed=seed,
            groups_N=others_N if len(np.unique(others_N)) >= 3 else None,
            copies_N=None if copies_N is None else copies_N[rest_N],
        )
        splits.append(SplitIndices.from_codes(split_N))
    return splits


def shared_groups(groups_N: Codes, first: Indices, second: Indices) -> Codes:
    """Return the groups that have images among both sets of indices.

    Parameters
    ----------
    groups_N : ndarray of shape (N,)
        Group of each image, an index from 0.
    first, second : ndarray of indices

    Returns
    -------
    ndarray
        Ascending.
    """
    return np.intersect1d(groups_N[first], groups_N[second])


def groups_across_splits(groups_N: Codes, split_N: SplitCodes) -> list[GroupOverlap]:
    """Count the groups that lie in two splits.

    Parameters
    ----------
    groups_N : ndarray of shape (N,)
        Group of each image, an index from 0.
    split_N : ndarray of shape (N,)
        Indices into `SPLITS`.

    Returns
    -------
    list of GroupOverlap
        Those of the pairs of splits (train, valid), (train, test), (valid, test) that share groups.
    """
    split = SplitIndices.from_codes(split_N)
    overlaps = []
    for a, b in ((TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)):
        shared = shared_groups(groups_N, split[a], split[b])
        if len(shared):
            images = int(np.isin(groups_N[split[b]], shared).sum())
            overlaps.append(GroupOverlap(SPLITS[a], SPLITS[b], len(shared), images))
    return overlaps


def _hash(name: str) -> int:
    return zlib.crc32(os.fsencode(name))
