"""One binary SVM (machine) for every pair of classes, as in libsvm.

N: training rows, class after class. M: rows to predict. C: classes. K: other classes, all (C - 1) or those after one.
P: pairs of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.heads.threads import one_thread_each, pool_of_cores

Array = npt.NDArray[Any]

# Values of one class's pairs held at a time: 0.5 MB; values of so many classes are computed together.
BLOCK_VALUES, FIRST_CLASSES = 2**16, 16
# Coefficients are packed where they take so much memory, and at most this part of them is inside the bounds.
LEAST_PACKED_BYTES, MOST_INSIDE = 1 << 24, 0.75


@dataclass(frozen=True)
class PairMachines:
    """One machine for every pair of classes: a row has a coefficient for each class except its own."""

    dual_KN: Array
    intercept_P: Array
    counts_C: Array
    """Rows of each class."""

    def decide(self, kernel_MN: Array) -> Iterator[Array]:
        """Yield the values of the pairs of each class but the last with the classes after it (K, M).

        A value above zero prefers the class that comes first.

        Parameters
        ----------
        kernel_MN : (M, N)
            Kernel values of the rows to predict with the training rows.
        """
        kernel_NM = np.ascontiguousarray(kernel_MN.T)
        n_classes, ends = len(self.counts_C), np.cumsum(self.counts_C)
        rows = [slice(end - count, end) for end, count in zip(ends, self.counts_C, strict=True)]
        pairs = dict(pairs_by_first_class(n_classes))
        changes = np.flatnonzero(np.diff(self.counts_C, append=-1)) + 1
        for start in range(0, n_classes - 1, FIRST_CLASSES):
            stop = min(start + FIRST_CLASSES, n_classes - 1)
            # A pair's value takes the rows of its two classes alone. Those of one second class go at once to all pairs
            # that it has with several first classes, and successive classes of equally many rows to one call: products
            # so small are slow one by one.
            values_FKM = np.empty((stop - start, n_classes - 1 - start, len(kernel_MN)))
            for second, end in pairwise([*range(start + 1, stop + 1), *changes[changes > stop]]):
                last, own = min(second, stop), slice(rows[second].start, rows[end - 1].stop)
                shape = end - second, self.counts_C[second]
                np.matmul(
                    self.dual_KN[start:last, own].reshape(last - start, *shape).transpose(1, 0, 2),
                    kernel_NM[own].reshape(*shape, len(kernel_MN)),
                    out=values_FKM[: last - start, second - start - 1 : end - start - 1].transpose(1, 0, 2),
                )
            for first in range(start, stop):
                values_KM = values_FKM[first - start, first - start :]
                values_KM += self.dual_KN[first:, rows[first]] @ kernel_NM[rows[first]]
                values_KM += self.intercept_P[pairs[first], None]
                yield values_KM

    def coefficients(self, x_ND: Array) -> Array:
        """Return weights (P, D) for the features `x_ND` of the training rows, for a linear kernel."""
        # Without intercepts: those of features of scale 1e18 would swallow the weights.
        return np.concatenate(list(replace(self, intercept_P=np.zeros_like(self.intercept_P)).decide(x_ND.T)))

    def supported(self) -> tuple[Array, PairMachines]:
        """Return which rows (N,) have a coefficient, and the machines of these rows alone."""
        support_N: Array = (self.dual_KN != 0).any(axis=0)
        if support_N.all():  # without a copy
            return support_N, self
        ends = np.cumsum(self.counts_C)[:-1]
        counts_C = np.array([part.sum() for part in np.split(support_N, ends)])
        return support_N, PairMachines(self.dual_KN[:, support_N], self.intercept_P, counts_C)

    def equals(self, other: PairMachines) -> bool:
        """Return whether these are the same machines, to the last bit."""
        return np.array_equal(self.intercept_P, other.intercept_P) and np.array_equal(
            self.dual_KN, other.dual_KN
        )

    def packed(self, bounds_C: Array) -> PairMachines | PackedMachines:
        """Return the machines in less memory, if that is worth it: many coefficients are at their bounds (C,)."""
        if self.dual_KN.nbytes < LEAST_PACKED_BYTES:
            return self
        inside = [dual_N != _at_bounds(k, bounds_C, self.counts_C) for k, dual_N in enumerate(self.dual_KN)]
        if sum(map(np.count_nonzero, inside)) > MOST_INSIDE * self.dual_KN.size:
            return self
        rows = [
            (np.packbits(own_N), dual_N[own_N]) for own_N, dual_N in zip(inside, self.dual_KN, strict=True)
        ]
        return PackedMachines(rows, bounds_C, self.intercept_P, self.counts_C)

    def whole(self) -> PairMachines:
        """Return the machines as they are; see `PackedMachines`."""
        return self

    def within(self, bounds_C: Array) -> bool:
        """Return whether every coefficient is under half of its class's bound (C,)."""
        largest_N = np.maximum(self.dual_KN.max(0), -self.dual_KN.min(0))
        return bool((2 * largest_N < np.repeat(bounds_C, self.counts_C)).all())


@dataclass(frozen=True)
class PackedMachines:
    """Machines of which only the coefficients that are not at their bounds (C,) are kept, and a bit for every one."""

    rows: list[tuple[Array, Array]]
    """Of each row (K) of coefficients, the bits, and the values of those that are not at their bounds."""
    bounds_C: Array
    intercept_P: Array
    counts_C: Array

    def whole(self) -> PairMachines:
        """Return the machines."""
        dual_KN = np.empty((len(self.rows), self.counts_C.sum()))
        for k, (bits, values) in enumerate(self.rows):  # without a second array of that size
            dual_KN[k] = _at_bounds(k, self.bounds_C, self.counts_C)
            dual_KN[k, np.unpackbits(bits, count=dual_KN.shape[1]).view(bool)] = values
        return PairMachines(dual_KN, self.intercept_P, self.counts_C)


def _at_bounds(k: int, bounds_C: Array, counts_C: Array) -> Array:
    """Return row `k` (N,) of coefficients at their bounds: above zero with the classes after its own, else below."""
    return np.repeat(np.where(k >= np.arange(len(counts_C)), bounds_C, -bounds_C), counts_C)


def in_blocks(
    decide: Callable[[Array], Iterator[Array]],
    rows_MX: Array,
    n_classes: int,
    reduce: Callable[[Iterator[Array], int, int], Array],
) -> Array:
    """Compute something from the values of the pairs, in blocks of rows that fit into the cache.

    Parameters
    ----------
    decide : callable
        From rows to the values of the pairs, as `PairMachines.decide` yields them.
    rows_MX : (M, X)
        Argument of `decide`.
    n_classes : int
    reduce : callable
        From these values, the number of classes and the number of rows to (rows, C): `vote` or `confidence`.

    Returns
    -------
    (M, C)
    """
    size = max(1, BLOCK_VALUES // n_classes)
    blocks = [rows_MX[start : start + size] for start in range(0, len(rows_MX), size)] or [rows_MX]

    def reduce_block(block_MX: Array) -> Array:
        return reduce(decide(block_MX), n_classes, len(block_MX))

    if len(blocks) == 1:
        return reduce_block(rows_MX)
    with one_thread_each(), pool_of_cores(len(blocks)) as pool:
        return np.concatenate(list(pool.map(reduce_block, blocks)))


def vote(values: Iterable[Array], n_classes: int, n_rows: int) -> Array:
    """Count the votes for each class: every pair votes for the class it prefers, as in libsvm.

    Parameters
    ----------
    values : iterable of (K, M)
        Values of the pairs, as `PairMachines.decide` yields them.
    n_classes, n_rows : int

    Returns
    -------
    (M, C) int32
    """
    # As if all classes before had lost; 32 bits, since memory is what takes the time.
    votes_CM = np.repeat(np.arange(n_classes, dtype=np.int32)[:, None], n_rows, axis=1)
    for c, values_KM in enumerate(values):
        first_KM = (values_KM > 0).view(np.int8)
        votes_CM[c] += first_KM.sum(0, dtype=np.int32)
        votes_CM[c + 1 :] -= first_KM
    return votes_CM.T


def confidence(values: Iterable[Array], n_classes: int, n_rows: int) -> Array:
    """Return votes plus, within equal votes, confidence, as `SVC` with `decision_function_shape="ovr"`.

    Parameters
    ----------
    values, n_classes, n_rows
        As for `vote`.

    Returns
    -------
    (M, C) float64
    """
    sums_CM = np.zeros((n_classes, n_rows))

    def summed() -> Iterator[Array]:
        for c, values_KM in enumerate(values):
            sums_CM[c] += values_KM.sum(0)
            sums_CM[c + 1 :] -= values_KM
            yield values_KM

    votes_MC = vote(summed(), n_classes, n_rows)
    values_MC: Array = votes_MC + (sums_CM / (3 * (np.abs(sums_CM) + 1))).T
    return values_MC


def pairs_by_first_class(n_classes: int) -> Iterator[tuple[int, slice]]:
    """Yield each class but the last, with the slice of its pairs with the classes after it."""
    start = 0
    for c in range(n_classes - 1):
        yield c, slice(start, start := start + n_classes - 1 - c)
