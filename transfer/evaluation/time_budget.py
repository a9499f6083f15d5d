"""Which of several candidates are compared within a time: successive halving on a growing part of the images.

After each round on 1/8, 1/4, 1/2 and all training and validation images the worse half is dropped, by the validation
score of a head that is fitted in well under a second; the test split is not touched. Features stay in the store.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.

N: images.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from transfer.data.loader import IndexedImages
from transfer.data.random_splits import SPLITS
from transfer.system.errors import UserError
from transfer.system.text import first_line

# The head that candidates are scored with: its whole search takes a tenth of a second on some hundred images.
HEAD = "ridge"
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
# Halving ends with so many: the last two are compared in full, with an interval of their difference.
FINALISTS = 2

Mask = npt.NDArray[np.bool_]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a candidate did in a round."""

    score: float
    """Of the head's best setting on the validation images of the round."""
    computed: int
    """Images that went through the network in this round."""
    images_per_s: float | None
    """None where the store had all features."""
    seconds: float
    fixed_s: float
    """Those of the seconds that a later round takes as well, however few images it has to compute."""

    def predict(self, images: int) -> float:
        """Return the seconds that a round with so many more images will take."""
        return self.fixed_s + (images / self.images_per_s if self.images_per_s else 0.0)


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round: what was measured, and who was dropped by it."""

    share: float
    images: int
    measured: dict[str, Measured]
    dropped: list[str]


@dataclass(kw_only=True)
class Halving:
    """What the rounds came to."""

    ranked: list[str]
    """The candidates that are left, the best first."""
    rounds: list[Round] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    """By candidate why."""
    failed: dict[str, str] = field(default_factory=dict)
    not_reached: list[str] = field(default_factory=list)
    """Candidates that were never measured, because the time was used up."""
    stopped: str | None = None
    """Why there were no more rounds though more than `FINALISTS` were left."""
    last: dict[str, Measured] = field(default_factory=dict)
    """What each candidate did in the last round that counts."""
    images: int = 0
    """Of the whole image set."""

    def missing(self, name: str) -> int:
        """Return the images that a candidate which was measured has no features of."""
        return self.images - max(one.images for one in self.rounds if name in one.measured)


def halve(
    names: Sequence[str],
    part_sizes: Sequence[int],
    images: int,
    measure: Callable[[str, int], Measured],
    elapsed: Callable[[], float],
    budget_s: float,
) -> Halving:
    """Drop the worse half of the candidates after each round, as long as the time allows another one.

    Parameters
    ----------
    names : sequence of str
        Candidates.
    part_sizes : sequence of int
        Images of each round.
    images : int
        All images, of which a candidate that is compared needs features.
    measure : callable
        Given a candidate and the number of a round, what it does there; may raise `UserError`.
    elapsed : callable
        Returns the seconds that were spent.
    budget_s : float
        Seconds for the rounds and the comparison. A round begins only where its predicted time, and that of the best
        candidate's remaining images, fit; a candidate that was begun is finished.

    Returns
    -------
    Halving
    """
    found = Halving(ranked=list(names), images=images)
    for r, size in enumerate(part_sizes):
        if r and len(found.ranked) <= FINALISTS:
            break
        if r:
            more = size - part_sizes[r - 1]
            needed = sum(found.last[name].predict(more) for name in found.ranked)
            needed += found.last[found.ranked[0]].predict(images - size)
            if elapsed() + needed > budget_s:
                found.stopped = (
                    f"a round on {size:,} images and the best candidate's other images would take {needed:.0f} s more, "
                    f"and {elapsed():.0f} of {budget_s:.0f} s were used"
                )
                break
        measured: dict[str, Measured] = {}
        for name in found.ranked:
            if measured and elapsed() >= budget_s:
                break
            try:
                measured[name] = measure(name, r)
            except UserError as error:
                found.failed[name] = first_line(error)
        left = [name for name in found.ranked if name not in found.failed]
        unmeasured = [name for name in left if name not in measured]
        if unmeasured:
            found.stopped = (
                f"{elapsed():.0f} of {budget_s:.0f} s were used within the round on {size:,} images"
            )
        if unmeasured and r:  # scores of different rounds do not compare: those of the last whole round count
            found.rounds.append(Round(share=SHARES[r], images=size, measured=measured, dropped=[]))
            found.ranked = left
            break
        found.not_reached = unmeasured
        found.last.update(measured)
        _drop(found, r, size, measured)
        if unmeasured:
            break
    return found


def _drop(found: Halving, number: int, size: int, measured: dict[str, Measured]) -> None:
    """Rank the candidates that were measured in a round, and drop the worse half."""
    ranked = sorted(measured, key=lambda name: -measured[name].score)  # of equal ones the first
    found.ranked = ranked[: max(FINALISTS, math.ceil(len(ranked) / 2))]
    dropped = ranked[len(found.ranked) :]
    found.rounds.append(Round(share=SHARES[number], images=size, measured=measured, dropped=dropped))
    for name in dropped:
        found.dropped[name] = (
            f"{measured[name].score:.3f} in round {number + 1}, on {size:,} images; the least that was kept is "
            f"{measured[found.ranked[-1]].score:.3f}"
        )
        log.info("%s is dropped: %s", name, found.dropped[name])


def draw_parts(images: IndexedImages, seed: int) -> list[Mask]:
    """Draw the training and validation images of every round; each round has those of the one before it.

    Parameters
    ----------
    images : IndexedImages
        N images of all splits.
    seed : int

    Returns
    -------
    list of ndarray of shape (N,), bool
        At least the share of the round: of the images of every class, or with groups of all images. Groups stay whole,
        and every class has a group in every round.
    """
    rank_N, rng = np.full(len(images), np.inf), np.random.default_rng(seed)
    for split in ("train", "valid"):
        rows_M = np.flatnonzero(images.split_N == SPLITS.index(split))
        labels_M = images.label_N[rows_M]
        if images.group_N is None:
            rank_N[rows_M] = _rank_images(labels_M, rng)
        else:
            rank_N[rows_M] = _rank_groups(labels_M, images.group_N[rows_M], rng)
    return [rank_N < share for share in SHARES]


def _rank_images(labels_M: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return for each image which share of its class comes before it, in random order."""
    rank_M = np.empty(len(labels_M))
    for label in np.unique(labels_M):
        own = rng.permutation(np.flatnonzero(labels_M == label))
        rank_M[own] = np.arange(len(own)) / len(own)
    return rank_M


def _rank_groups(
    labels_M: npt.NDArray[np.int32], groups_M: npt.NDArray[np.int32], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return for each image which share of all comes before its group, in random order; 0 where it adds a class."""
    rank_M, seen, before = np.empty(len(labels_M)), set[int](), 0
    for group in rng.permutation(np.unique(groups_M)):
        own = groups_M == group
        classes = set(labels_M[own].tolist())
        rank_M[own] = before / len(labels_M) if classes <= seen else 0.0
        seen |= classes
        before += int(own.sum())
    return rank_M
