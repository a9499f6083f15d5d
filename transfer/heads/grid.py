"""The settings of a search, and those to try next when the best lies at an edge of the grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Setting = dict[str, Any]

MAX_DECADES = 3  # that an axis grows by in one direction


class Grid:
    """Combinations of the values of several axes, with decades added beyond the edges of some.

    Settings that differ only in their scales are a family: the edges of an axis are those within a family.

    Parameters
    ----------
    settings : sequence of dict
        What is tried first, each `{axis: value}`.
    scales : sequence of str
        The axes along which the optimum may lie beyond the values given: positive numbers, searched by decades. An
        axis with a single value is fixed and stays so; zero is not an edge.
    """

    def __init__(self, settings: Sequence[Setting], scales: Sequence[str]) -> None:
        self.settings = list(settings)
        self.scales = tuple(scales)
        self.added: dict[str, list[float]] = {}
        self._n_added: dict[tuple[str, bool], int] = {}

    def edges(self, same: Sequence[Setting]) -> Iterator[tuple[str, float]]:
        """Yield the axes at whose edge a solution lies, each with the value a decade beyond.

        Parameters
        ----------
        same : sequence of dict
            The settings that have this one solution. A solution that several values of an axis share no longer
            changes as the value grows, so that the largest of them is not an edge.

        Yields
        ------
        axis : str
        value : float
        """
        first = same[0]
        for axis in self.scales:
            own = {setting[axis] for setting in same if self._related(setting, first)}
            tried = self._values(first, axis)
            if len(tried) < 2:
                continue
            if tried[0] in own and tried[0] > 0:
                yield axis, _rounded(tried[0] / 10)
            elif tried[-1] in own and len(own) == 1:
                yield axis, _rounded(tried[-1] * 10)

    def extend(self, same: Sequence[Setting]) -> list[Setting]:
        """Add settings a decade beyond the edges where the best solution lies.

        Parameters
        ----------
        same : sequence of dict
            The settings that have the best solution.

        Returns
        -------
        list of dict
            The added settings; empty at the limit of three decades.
        """
        first = same[0]
        values = {axis: self._values(first, axis) for axis in self.scales}
        for axis, value in self.edges(same):
            direction = axis, value > values[axis][-1]
            if self._n_added.get(direction, 0) < MAX_DECADES:
                self._n_added[direction] = self._n_added.get(direction, 0) + 1
                self.added.setdefault(axis, []).append(value)
                values[axis].append(value)
        wanted = [first | dict(zip(values, own, strict=True)) for own in itertools.product(*values.values())]
        new = [setting for setting in wanted if setting not in self.settings]
        self.settings += new
        return new

    def _related(self, one: Setting, other: Setting) -> bool:
        """Return whether two settings differ in scales only."""
        return one.keys() == other.keys() and all(
            one[axis] == other[axis] for axis in one if axis not in self.scales
        )

    def _values(self, setting: Setting, axis: str) -> list[float]:
        """Return the values of an axis tried in a setting's family, in ascending order."""
        return sorted({own[axis] for own in self.settings if self._related(own, setting)})


def product(axes: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Return every combination of the axes' values, the last axis changing fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _rounded(value: float) -> float:
    """Drop the last digits that division by ten leaves: 1e-06, not 1.0000000000000002e-06."""
    return float(f"{value:.12g}")
