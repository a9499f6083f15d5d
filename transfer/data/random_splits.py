"""Images, or whole groups of them, drawn into splits at random: what `splits` builds on.

N: images. G: groups. C: classes. S: splits. M: images of one class. P: pairs of a group and a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

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


def by_share(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """Sort splits by their shares, the largest first."""
    return sorted(shares.items(), key=lambda item: -item[1])


def draw_images(
    labels_N: Codes,
    shares: Mapping[str, float],
    seeds_C: Sequence[Sequence[int]],
    copies_N: Codes | None = None,
) -> SplitCodes:
    """Draw image by image, each class from its own seed; copies go where the first of them goes."""
    if copies_N is not None:
        _, first_M, copy_N = np.unique(copies_N, return_index=True, return_inverse=True)
        order_M = np.argsort(first_M)  # the images in their own order: without copies the draw is the same
        split_M = np.empty(len(first_M), np.uint8)
        split_M[order_M] = draw_images(labels_N[first_M[order_M]], shares, seeds_C)
        return split_M[copy_N]
    split_N = np.full(len(labels_N), TRAIN, np.uint8)
    order_N = np.argsort(labels_N, kind="stable")
    bounds = np.searchsorted(labels_N[order_N], np.arange(len(seeds_C) + 1))
    for seed, (start, end) in zip(seeds_C, pairwise(bounds), strict=True):
        member_M = order_N[start:end]
        count = len(member_M)
        member_M = member_M[np.random.default_rng(seed).permutation(count)]
        for i, (split, share) in enumerate(by_share(shares)):
            spare = len(member_M) - (len(shares) - i)  # one image for train and for each split after this one
            taken = min(max(1, round(share * count)), max(1, spare), len(member_M) - 1)
            split_N[member_M[:taken]] = SPLITS.index(split)
            member_M = member_M[taken:]
    return split_N


class Arrangements:
    """Random arrangements of whole groups in splits, the best of some at a time."""

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
        self.order = [(SPLITS.index(split), share) for split, share in by_share(shares)]
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
            split_N[trained_M] = draw_images(self.labels_N[trained_M], shares, seeds, copies_M)
        return split_N

    def _random(self) -> SplitCodes:
        """Cut a random order of the groups where each split is closest to its share, with a group at least."""
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
