from __future__ import annotations

import pytest

from bench.reporting import tables
from tests.bench.samples import benchmark, made_up
from transfer.report.rendering import Table


def row(table: Table, name: str) -> list[str]:
    """The cells of the row that begins so."""
    return next(list(cells[1:]) for cells in table.rows if cells[0].strip() == name)


def test_accuracies_are_those_of_the_run_with_their_intervals() -> None:
    made = made_up()
    table = tables.accuracies(made)
    for method in made.run["methods"]:
        low, high = method["accuracy_ci95"]
        assert row(table, method["name"])[1] == f"{method['accuracy']:.3f} ({low:.2f}-{high:.2f})"
    assert "24 test images" in table.title


def test_every_way_of_ours_is_set_against_every_reference_on_its_device() -> None:
    made = made_up(
        benchmark(way="slow", seconds=(4.0,)),
        benchmark(way="best", seconds=(1.0,)),
        benchmark(way="loop", seconds=(2.0,), reference=True),
        benchmark(way="part", seconds=(8.0,), reference=True, scaled_by=100),
        benchmark(way="best", seconds=(0.1,), device="cuda"),
        benchmark("no reference", way="best"),
        benchmark("no way of ours", way="loop", reference=True),
    )
    assert tables.ratios(made).rows == [
        ["fit, SVM, CPU", "loop", "part, scaled"],
        ["  best", "2.0x", "800x"],
        ["  slow", "0.50x", "200x"],
    ]


def test_of_two_short_times_no_ratio_is_given() -> None:
    short = made_up(
        benchmark(way="ours", seconds=(0.002,)),
        benchmark(way="short", seconds=(0.004,), reference=True),
        benchmark(way="long", seconds=(0.02,), reference=True),
    )
    assert tables.ratios(short).rows[1] == ["  ours", "both short", "10.0x"]


@pytest.mark.parametrize(
    ("dirty", "text"), [(True, "64e681a with changes"), (False, "64e681a"), (None, "64e681a")]
)
def test_a_tree_that_differed_is_reported(dirty: bool | None, text: str) -> None:
    assert tables.commit({"commit": "64e681a31b4029ad5967a9b3b155b622f824ffb0", "dirty": dirty}) == text


def test_every_way_has_its_median_spread_rate_and_cosine() -> None:
    made = made_up(
        benchmark(way="slow", seconds=(1.0,)),
        benchmark(way="fast", images=8, cosine=0.99951),
        benchmark(device="cuda", seconds=(0.02,), images=80),
    )
    assert tables.ways(made).rows == [
        ["fit, SVM, CPU", "8 images", "", "", ""],
        ["  fast", "200 ms (100-400)", "150 %", "40.0", "0.9995"],
        ["  slow", "1.00 s", "", "", ""],
        ["fit, SVM, GPU", "80 images", "", "", ""],
        ["  svm", "20.0 ms", "", "4,000", ""],
    ]


def test_a_record_without_references_has_no_ratios() -> None:
    assert tables.ratios(made_up()).rows == []
