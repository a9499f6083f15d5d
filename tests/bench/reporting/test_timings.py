from __future__ import annotations

from typing import Any

import pytest

from bench.reporting import timings
from tests.bench.samples import benchmark


@pytest.mark.parametrize(
    ("seconds", "scaled_by", "shown"),
    [
        ((0.2, 0.1, 0.4), 1, "200 ms (100-400)"),
        ((0.00041,), 1, "0.41 ms"),
        ((0.0000004, 0.0000003, 0.0000005), 1, "0.0004 ms (0.0003-0.0005)"),
        ((1.114, 1.09, 1.34), 1, "1.11 s (1.09-1.34)"),
        ((59.96, 12.5, 119.0), 1, "60.0 s (12.5-119.0)"),
        ((0.9996,), 1, "1,000 ms"),
        ((3.5, 3.0, 4.0), 3600, "210 min (180-240)"),
        ((1e6,), 1, "16,667 min"),
    ],
)
def test_times_are_reported_in_one_unit_with_their_spread(
    seconds: tuple[float, ...], scaled_by: float, shown: str
) -> None:
    assert timings.time_and_rate(benchmark(seconds=seconds, scaled_by=scaled_by))[0] == shown


def test_the_median_is_of_the_whole_work() -> None:
    assert timings.median_s(benchmark(seconds=(1.0, 2.0, 9.0), scaled_by=10)) == 20


@pytest.mark.parametrize(
    ("images", "rate"), [(1, "5.00"), (10, "50.0"), (100, "500"), (1_000_000, "5,000,000")]
)
def test_a_rate_goes_with_the_median(images: int, rate: str) -> None:
    assert timings.time_and_rate(benchmark(seconds=(0.1, 0.2, 0.9), images=images))[1] == rate


def test_what_was_not_timed_has_no_figure() -> None:
    assert timings.time_and_rate(None) == ["-", ""]
    assert timings.time_and_rate(benchmark())[1] == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (177540.6, "177,541x"),
        (27.23, "27.2x"),
        (1, "1.0x"),
        (0.996, "1.00x"),
        (0.85, "0.85x"),
        (0.00123, "0.0012x"),
    ],
)
def test_a_ratio_never_reads_as_nothing(value: float, shown: str) -> None:
    assert timings.ratio(value) == shown


def test_labels_tell_precision_reference_and_scaling_and_the_batch_where_it_tells_ways_apart() -> None:
    ways = [
        benchmark(way="eager", precision="fp32", batch=8),
        benchmark(way="eager", precision="fp32", batch=1),
        benchmark(way="eager", precision="bf16", batch=8),
        benchmark(way="loop", reference=True, scaled_by=3),
    ]
    found = timings.labelled(ways)
    assert list(found) == [
        "eager fp32, batch 8",
        "eager fp32, batch 1",
        "eager bf16",
        "reference: loop, scaled",
    ]
    assert list(found.values()) == ways


def test_labels_tell_the_amount_where_an_operation_has_several() -> None:
    ways: list[dict[str, Any]] = [
        benchmark(images=1),
        benchmark(images=64),
        benchmark(way="fc", shape=[10, 4]),
    ]
    assert list(timings.labelled(ways)) == ["svm, 1 image", "svm, 64 images", "fc, 10x4"]
    assert timings.amount(ways) == ""


def test_the_amount_is_what_all_that_tell_one_agree_in() -> None:
    assert timings.amount([benchmark(images=1200), benchmark()]) == "1,200 images"
    assert timings.amount([benchmark(shape=[3, 4], images=5)]) == "3x4, 5 images"


def test_the_fastest_comes_first_and_what_a_later_column_alone_has_last() -> None:
    here = {"slow": benchmark(seconds=(3.0,)), "fast": benchmark(seconds=(1.0, 9.0, 1.0))}
    there = {
        "slow": benchmark(seconds=(0.1,)),
        "else": benchmark(seconds=(0.2,)),
        "quick": benchmark(seconds=(0.1,)),
    }
    assert timings.by_time(here, there) == ["fast", "slow", "quick", "else"]


def test_ratio_is_the_median_of_the_rounds_that_both_took_part_in() -> None:
    ours = {"seconds": [2.0, 4.0, 1.0, 9.0]}  # the fourth round is of ours alone
    reference = {"seconds": [8.0, 4.0, 3.0], "scaled_by": 10}
    assert timings.times_as_fast(ours, reference) == 30
    assert timings.times_as_fast(reference, ours) == pytest.approx(1 / 30)
    assert timings.times_as_fast(ours, reference, in_turn=False) == 40 / 3
