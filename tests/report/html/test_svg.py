from __future__ import annotations

import pytest

from transfer.report.html.svg import WIDTH, place_labels

LETTER, LINE = 9, 17


@pytest.mark.parametrize(
    "points",
    [
        [(100.0, 50.0), (105.0, 48.0)],
        [(100.0, 50.0)] * 5,
        [(100.0, 50.0), (100.0 + 5 * LETTER - 1, 51.0), (100.0, 66.0)],
    ],
)
def test_labels_do_not_lie_on_each_other(points: list[tuple[float, float]]) -> None:
    placed = place_labels(points, ["label"] * len(points), letter=LETTER, line=LINE)
    assert [x for x, _, _ in placed] == [x + 9 for x, _ in points]
    for i, (x, base, _) in enumerate(placed):
        for other_x, other_base, _ in placed[:i]:
            assert abs(x - other_x) >= 5 * LETTER or abs(base - other_base) >= LINE


def test_labels_apart_stay_beside_their_points() -> None:
    points = [(100.0, 50.0), (100.0 + 5 * LETTER, 50.0), (100.0, 50.0 + LINE)]
    placed = place_labels(points, ["label"] * 3, letter=LETTER, line=LINE)
    assert placed == [(x + 9, y + 4, "start") for x, y in points]


def test_long_labels_end_at_the_left_of_their_points() -> None:
    points, labels = [(600.0, 50.0)] * 3, ["label"] * 2 + ["a label too long" * 3]
    placed = place_labels(points, labels, letter=LETTER, line=LINE)
    assert [anchor for _, _, anchor in placed] == ["start", "start", "end"]
    assert placed[2][0] == 591
    assert max(x for x, _, anchor in placed if anchor == "start") < WIDTH
