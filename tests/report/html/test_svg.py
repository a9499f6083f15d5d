from __future__ import annotations

import pytest

from transfer.report.html.svg import LINE, NAME, set_apart


@pytest.mark.parametrize(
    "places",
    [
        [(100.0, 50.0), (105.0, 48.0)],
        [(100.0, 50.0)] * 5,
        [(100.0, 50.0), (100.0 + NAME - 1, 51.0), (100.0, 66.0)],
    ],
)
def test_names_do_not_lie_on_each_other(places: list[tuple[float, float]]) -> None:
    found = set_apart(places)
    assert [left for left, _ in found] == [left for left, _ in places]
    for i, (left, base) in enumerate(found):
        for other_left, other_base in found[:i]:
            assert abs(left - other_left) >= NAME or abs(base - other_base) >= LINE


def test_names_apart_stay() -> None:
    places = [(100.0, 50.0), (100.0 + NAME, 50.0), (100.0, 50.0 + LINE)]
    assert set_apart(places) == places
