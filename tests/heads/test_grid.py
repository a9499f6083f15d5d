from __future__ import annotations

from typing import Any

import pytest

from transfer.heads.grid import Grid, product


def lines(**axes: Any) -> Grid:
    return Grid(product(axes), scales=[axis for axis in axes if axis in ("C", "lr", "weight_decay")])


def test_an_axis_grows_by_a_decade_beyond_the_edge_and_in_the_family_of_the_best_alone() -> None:
    grid = lines(kernel=("linear", "rbf"), C=(1, 10))
    assert grid.extend([{"kernel": "rbf", "C": 10}]) == [{"kernel": "rbf", "C": 100}]
    assert grid.extend([{"kernel": "rbf", "C": 100}]) == [{"kernel": "rbf", "C": 1000}]
    assert list(grid.edges([{"kernel": "linear", "C": 10}])) == [("C", 100)]
    assert grid.added == {"C": [100, 1000]}


def test_at_most_three_decades_are_added_in_each_direction() -> None:
    grid = lines(C=(1e-5, 1, 10))
    for value in (100, 1000, 10_000):
        assert grid.extend([{"C": value / 10}]) == [{"C": value}]
    assert grid.extend([{"C": 10_000}]) == []
    assert list(grid.edges([{"C": 10_000}])) == [("C", 100_000)]
    assert grid.extend([{"C": 1e-5}]) == [{"C": 1e-6}]
    assert grid.added == {"C": [100, 1000, 10_000, 1e-6]}


def test_two_axes_stay_a_grid() -> None:
    grid = lines(lr=(0.1, 1), weight_decay=(0.0, 0.01))
    new = grid.extend([{"lr": 1, "weight_decay": 0.01}])
    assert len(new) == 5
    assert {(own["lr"], own["weight_decay"]) for own in new} == {
        (0.1, 0.1),
        (1, 0.1),
        (10, 0.0),
        (10, 0.01),
        (10, 0.1),
    }


@pytest.mark.parametrize(
    ("axes", "same"),
    [
        ({"C": (1, 10, 100)}, [{"C": 10}]),  # inside
        ({"C": (1,)}, [{"C": 1}]),  # fixed
        ({"lr": (0.1, 1, 10), "weight_decay": (0.0, 1)}, [{"lr": 1, "weight_decay": 0.0}]),  # nothing below
        ({"C": (1, 10, 100)}, [{"C": 10}, {"C": 100}]),  # a solution that no longer changes
    ],
)
def test_nothing_is_added_where_there_is_no_edge(axes: Any, same: Any) -> None:
    grid = lines(**axes)
    assert list(grid.edges(same)) == []
    assert grid.extend(same) == []
    assert grid.added == {}


def test_a_solution_of_all_values_is_sought_below_alone() -> None:
    grid = lines(C=(1, 10, 100))
    assert list(grid.edges([{"C": 1}, {"C": 10}, {"C": 100}])) == [("C", 0.1)]
