"""Splits of labelled images into train, valid and test: stratified by class, with groups kept together.

N: images. G: groups. C: classes. S: splits. M: images of one class. P: pairs of a group and a class.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(len(SPLITS))

Codes: TypeAlias = npt.NDArray[np.integer]
Indices: TypeAlias = npt.NDArray[np.int64]
SplitCodes: TypeAlias = npt.NDArray[np.uint8]

# Few groups have few arrangements, and hundreds of random ones hold the best of them or nearly so; of many
# groups every random arrangement is close to the shares, and each costs a pass over all images.
CANDIDATES, MOST_PAIRS_COUNTED = 500, 5_000_000
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
        return _draw_images(labels_N, shares, [[seed, _hash(name)] for name in classes], copies_N)
    arrangements = _Arrangements(labels_N, groups_N, shares, np.random.default_rng(seed), copies_N)
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
        return [SplitIndices.from_codes(_draw_images(labels_N, shares, own, copies_N)) for own in seeds]
    arrangements = _Arrangements(labels_N, groups_N, shares, np.random.default_rng(seed), copies_N)
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
    predict them correctly; `count_untrained` counts them.

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


def count_untrained(labels_N: Codes, split: SplitIndices) -> int:
    """Count the test images with a class that has no training image in the split.

    Parameters
    ----------
    labels_N : ndarray of shape (N,)
        Class of each image, an index from 0.
    split : SplitIndices

    Returns
    -------
    int
    """
    return int((~np.isin(labels_N[split.test], labels_N[split.train])).sum())


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


def _by_share(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])


def _draw_images(
    labels_N: Codes,
    shares: Mapping[str, float],
    seeds_C: Sequence[Sequence[int]],
    copies_N: Codes | None = None,
) -> SplitCodes:
    """Draw image by image, each class from its own seed; copies go into the same split as the first of them."""
    if copies_N is not None:
        _, first_M, copy_N = np.unique(copies_N, return_index=True, return_inverse=True)
        order_M = np.argsort(first_M)  # the images in their own order: without copies the draw is the same
        split_M = np.empty(len(first_M), np.uint8)
        split_M[order_M] = _draw_images(labels_N[first_M[order_M]], shares, seeds_C)
        return split_M[copy_N]
    split_N = np.full(len(labels_N), TRAIN, np.uint8)
    order_N = np.argsort(labels_N, kind="stable")
    bounds = np.searchsorted(labels_N[order_N], np.arange(len(seeds_C) + 1))
    for seed, (start, end) in zip(seeds_C, pairwise(bounds), strict=True):
        member_M = order_N[start:end]
        count = len(member_M)
        member_M = member_M[np.random.default_rng(seed).permutation(count)]
        for i, (split, share) in enumerate(_by_share(shares)):
            spare = len(member_M) - (len(shares) - i)  # one image for train and for each split after this one
            taken = min(max(1, round(share * count)), max(1, spare), len(member_M) - 1)
            split_N[member_M[:taken]] = SPLITS.index(split)
            member_M = member_M[taken:]
    return split_N


class _Arrangements:
    """Random arrangements of whole groups in splits, of which the best is chosen."""

    def __init__(
        self,
        labels_N: Codes,
        groups_N: Codes,
        shares: Mapping[str, float],
        rng: np.random.Generator,
        copies_N: Codes | None,
    ) -> None:
        self.copies_N = copies_N
        _, self.groups_N = np.unique(groups_N, return_inverse=True)
        self.labels_N, self.shares, self.rng = labels_N, shares, rng
        self.size_G = np.bincount(self.groups_N)
        # The largest share first, so that it is the one that has a group where there are too few for all.
        self.order = [(SPLITS.index(split), share) for split, share in _by_share(shares)]
        self.whole = self.order[: len(self.size_G) - 1]
        _, labels_N = np.unique(labels_N, return_inverse=True)
        self.n_classes = int(labels_N.max()) + 1
        pair_P, self.count_P = np.unique(self.groups_N * self.n_classes + labels_N, return_counts=True)
        self.group_P, self.label_P = np.divmod(pair_P, self.n_classes)
        self.affordable = int(np.clip(MOST_PAIRS_COUNTED // len(pair_P), 1, CANDIDATES))

    def draw(self, candidates: int, taken: Iterable[bytes] = ()) -> SplitCodes:
        """Return the best of random arrangements (G,), if possible one that is not in `taken`."""
        drawn = [self._random() for _ in range(candidates)]
        fresh = [split_G for split_G in drawn if split_G.tobytes() not in taken]
        return min(fresh or drawn[:1], key=self._badness)

    def to_images(self, split_G: SplitCodes, seed: Sequence[int]) -> SplitCodes:
        """Return each image's split (N,); a split without a group takes images from train, stratified."""
        split_N = split_G[self.groups_N]
        without_group = self.order[len(self.whole) :]
        if without_group:
            trained_M = np.flatnonzero(split_N == TRAIN)
            scale = len(split_N) / len(trained_M)
            # Train may be the smaller group by far, and is to keep half of it at least.
            shares = {SPLITS[code]: min(share * scale, 0.5) for code, share in without_group}
            seeds = [[*seed, label] for label in range(int(self.labels_N.max()) + 1)]
            copies_M = None if self.copies_N is None else self.copies_N[trained_M]
            split_N[trained_M] = _draw_images(self.labels_N[trained_M], shares, seeds, copies_M)
        return split_N

    def _random(self) -> SplitCodes:
        """Cut a random order of the groups where each split is closest to its share and has at least one group."""
        order_G = self.rng.permutation(len(self.size_G))
        filled_G = np.cumsum(self.size_G[order_G])
        split_G = np.full(len(order_G), TRAIN, np.uint8)
        start = 0
        for i, (code, share) in enumerate(self.whole):
            wanted = share * filled_G[-1] + (filled_G[start - 1] if start else 0)
            last = len(order_G) - (len(self.whole) - i)
            end = start + 1 + int(np.argmin(np.abs(filled_G[start:last] - wanted)))
            split_G[order_G[start:end]] = code
            start = end
        return split_G

    def _badness(self, split_G: SplitCodes) -> tuple[int, float]:
        """Return the number of classes that train lacks, and the mean distance of a class from the shares."""
        cell_P = split_G[self.group_P] * np.int64(self.n_classes) + self.label_P
        count_SC = np.bincount(cell_P, self.count_P, len(SPLITS) * self.n_classes).reshape(len(SPLITS), -1)
        wanted_S = np.zeros(len(SPLITS))
        for code, share in self.whole:
            wanted_S[code] = share
        wanted_S[TRAIN] = 1 - wanted_S.sum()
        distance_C = np.abs(count_SC / count_SC.sum(axis=0) - wanted_S[:, None]).sum(axis=0)
        lacking_SC = (count_SC == 0) & (wanted_S[:, None] > 0)
        return int(lacking_SC[TRAIN].sum()), float((distance_C + lacking_SC.sum(axis=0)).mean())
