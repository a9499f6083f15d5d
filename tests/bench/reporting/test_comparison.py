from __future__ import annotations

import pytest

from bench.reporting import comparison
from bench.reporting.timings import median_s
from tests.bench.samples import benchmark, made_up

H200 = "NVIDIA H200"


def test_the_best_way_has_features_of_fp32_and_meets_the_fastest_reference() -> None:
    ways = [
        benchmark(way="int8", seconds=(0.1,), cosine=0.996),
        benchmark(way="bf16", seconds=(0.2,), cosine=0.9995),
        benchmark(way="fp32", seconds=(0.4,), cosine=1.0),
        benchmark(way="slow", seconds=(2.0,), reference=True),
        benchmark(way="part", seconds=(0.01,), reference=True, scaled_by=50),
    ]
    found = comparison.compare(ways)
    assert (found.ours, found.reference) == (ways[1], ways[4])
    assert found.ratio == pytest.approx(median_s(ways[4]) / median_s(ways[1])) == pytest.approx(2.5)
    assert comparison.compare(ways[:1]).ours == ways[0]


def test_methods_that_do_work_of_their_own_are_not_compared() -> None:
    ways = [benchmark(way=name, method=name, seconds=(s,)) for name, s in (("svm", 2.0), ("knn", 1.0))]
    reference = benchmark(way="loop", reference=True)
    assert [way["way"] for way in comparison.compare(ways).methods] == ["knn", "svm"]
    assert comparison.compare([*ways, reference]).methods == ()
    assert comparison.compare(ways[:1]).methods == ()


def test_without_both_or_of_two_short_times_there_is_no_ratio() -> None:
    short, long, reference = (
        benchmark(seconds=(0.002,)),
        benchmark(seconds=(0.5,)),
        benchmark(way="loop", seconds=(0.009,), reference=True),
    )
    for ways, words in (([short], "-"), ([reference], "-"), ([short, reference], "short"), ([], "-")):
        assert comparison.compare(ways).ratio is None
        assert comparison.format_ratio(comparison.compare(ways)) == words
    assert comparison.format_ratio(comparison.compare([long, reference])) == "0.018x"


def test_the_newest_recorded_gpu_is_lent() -> None:
    here = made_up(benchmark(), benchmark("predict"))
    old = made_up(benchmark(device="cuda"), gpu=H200, created="2026-11-01T00:00:00+00:00")
    new = made_up(benchmark(device="cuda"), gpu=H200, created="2026-11-02T00:00:00+00:00")
    other = made_up(benchmark("else", device="cuda"), gpu="L4", created="2026-11-03T00:00:00+00:00")
    assert comparison.find_gpu_record(here, [old, new, other, made_up()]) == new
    assert comparison.find_gpu_record(here, [other]) is None


def test_no_gpu_is_lent_to_a_machine_that_has_one() -> None:
    made = made_up(benchmark(), benchmark(device="cuda"))
    assert comparison.find_gpu_record(made, [made_up(benchmark(device="cuda"), gpu=H200)]) is None


def test_what_a_lent_gpu_did_with_other_rows_is_left_out() -> None:
    here = made_up(benchmark(shape=[10, 4]), benchmark("predict", shape=[10, 4], images=2))
    gpu_record = made_up(
        benchmark(device="cuda", shape=[99, 4]),
        benchmark("predict", device="cuda", shape=[10, 4], images=3),
        gpu=H200,
    )
    found = comparison.by_device(here, gpu_record)
    assert found["fit, SVM"][1].ours is None
    assert found["predict"][1].ours == gpu_record.benchmarks[1]


def test_figures_are_times_or_images_a_second() -> None:
    one = benchmark(seconds=(0.5,), images=8)
    assert comparison.figure(one, as_rate=False) == "500 ms"
    assert comparison.figure(one, as_rate=True) == "16.0/s"
    assert comparison.figure(None, as_rate=True) == "-"
