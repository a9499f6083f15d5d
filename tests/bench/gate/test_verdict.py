"""What paired times are said to show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.gate import verdict
from bench.gate.verdict import FASTER, SAME, SLOWER, UNCLEAR, ratio

TOLERANCE = 0.1
BLOCKS = 12


def logs(times: float, spread: float = 0.01, seed: int = 0) -> list[float]:
    """Return d of blocks with the true ratio `times`."""
    return list(math.log(times) + spread * np.random.default_rng(seed).standard_normal(BLOCKS))


def verdicts(first: dict[str, float], again: dict[str, float] | None = None) -> dict[str, str]:
    def ratios(times: dict[str, float]) -> dict[str, verdict.Ratio]:
        return {name: ratio(logs(value), TOLERANCE) for name, value in times.items()}

    judged = verdict.judge(ratios(first), ratios(again or {}), TOLERANCE)
    return {name: verdict for name, (_, verdict) in judged.items()}


def test_the_tests_are_exact() -> None:
    every_block_slower = ratio(logs(1.3), TOLERANCE)
    assert every_block_slower.slower_p == 2**-BLOCKS
    assert every_block_slower.faster_p == 1
    every_block_faster = ratio(logs(0.7), TOLERANCE)
    assert every_block_faster.faster_p == 2**-BLOCKS


def test_the_tolerance_is_the_same_in_both_directions() -> None:
    d = logs(1.13)
    assert ratio(d, TOLERANCE).slower_p == ratio([-value for value in d], TOLERANCE).faster_p


def test_interval_is_that_of_the_third_smallest_and_largest() -> None:
    d = sorted(logs(1.0, spread=0.2))
    found = ratio(d, TOLERANCE)
    assert found.low == pytest.approx(math.exp(d[2]))
    assert found.high == pytest.approx(math.exp(d[-3]))
    assert found.median == pytest.approx(math.exp((d[5] + d[6]) / 2))


def test_one_disturbed_block_flags_nothing() -> None:
    d = logs(1.0)
    d[4] = math.log(9)
    assert not verdict.flag({"a": ratio(d, TOLERANCE)})


def test_one_disturbed_block_hides_nothing() -> None:
    d = logs(1.3)
    d[4] = math.log(0.95)
    others = {f"other {i}": ratio(logs(1.0, seed=i), TOLERANCE) for i in range(12)}
    assert verdict.flag({"a": ratio(d, TOLERANCE), **others}) == {"a": SLOWER}


@pytest.mark.parametrize(
    ("p_values", "names"),
    [
        ({}, ""),
        ({"a": 0.011}, ""),
        ({"a": 0.010}, "a"),
        ({"a": 0.004, "b": 0.009, "c": 0.5}, ""),  # 0.004 > 0.01 / 3: the first stands, and so do all
        ({"a": 0.003, "b": 0.004, "c": 0.5}, "ab"),  # 0.01 / 3, 0.01 / 2
        ({"a": 0.003, "b": 0.006, "c": 0.006}, "a"),  # 0.006 > 0.01 / 2, though it is under 0.01
        ({"c": 0.009, "b": 0.005, "a": 0.001}, "abc"),
    ],
)
def test_holm(p_values: dict[str, float], names: str) -> None:
    assert verdict.reject(p_values, alpha=0.01) == set(names)


@pytest.mark.slow
def test_false_alarms_at_the_edge_of_the_tolerance_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(0)
    edge = math.log1p(TOLERANCE)
    alarms = 0
    for _ in range(250):
        ratios = {str(i): ratio(edge + 0.03 * rng.standard_normal(BLOCKS), TOLERANCE) for i in range(3)}
        alarms += bool(verdict.flag(ratios))
    assert alarms <= 5


@pytest.mark.parametrize(("times", "least", "most"), [(1.2, 0.97, 1), (1.15, 0.5, 0.8), (1.12, 0, 0.1)])
@pytest.mark.slow
def test_how_often_slowness_is_named_is_what_the_documents_say(
    times: float, least: float, most: float
) -> None:
    """With thirteen benchmarks, in both stages, and d with a standard deviation of 3 %."""
    others = {str(i): ratio(logs(1.0, seed=i), TOLERANCE) for i in range(12)}
    named = 0
    for seed in range(50):
        first, again = (ratio(logs(times, spread=0.03, seed=2 * seed + i), TOLERANCE) for i in (0, 1))
        judged = verdict.judge({"a": first, **others}, {"a": again}, TOLERANCE)
        named += judged["a"][1] == SLOWER
    assert least <= named / 50 <= most


def test_within_the_tolerance_is_the_same() -> None:
    assert verdicts({"a": 1.0, "b": 1.05, "c": 0.95}) == {"a": SAME, "b": SAME, "c": SAME}


def test_an_interval_that_reaches_beyond_the_tolerance_is_unclear() -> None:
    judged = verdict.judge({"a": ratio(logs(1.0, spread=0.5), TOLERANCE)}, {}, TOLERANCE)
    assert judged["a"][1] == UNCLEAR


def test_what_both_stages_flag_is_reported() -> None:
    found = verdicts({"a": 1.2, "b": 0.8, "c": 1.0}, {"a": 1.2, "b": 0.8})
    assert found == {"a": SLOWER, "b": FASTER, "c": SAME}


def test_what_the_second_stage_does_not_confirm_is_unclear() -> None:
    assert verdicts({"a": 1.3, "b": 1.0}, {"a": 1.0}) == {"a": UNCLEAR, "b": SAME}
    assert verdicts({"a": 1.3}, {"a": 0.7}) == {"a": UNCLEAR}


def test_the_ratio_reported_is_that_of_the_second_stage() -> None:
    again = ratio(logs(1.2, seed=1), TOLERANCE)
    judged = verdict.judge({"a": ratio(logs(1.3), TOLERANCE)}, {"a": again}, TOLERANCE)
    assert judged["a"] == (again, SLOWER)


@pytest.mark.parametrize(("times", "is_moved"), [(1.0, False), (1.02, False), (1.05, True), (0.95, True)])
def test_controls_that_move(times: float, is_moved: bool) -> None:
    assert verdict.has_moved(ratio(logs(times, spread=0.001), TOLERANCE)) is is_moved


@pytest.mark.parametrize("benchmarks", [1, 2, 13, 40])
def test_fewest_blocks(benchmarks: int) -> None:
    fewest = verdict.fewest_blocks(benchmarks)
    assert 2**-fewest <= verdict.ALPHA / benchmarks < 2 ** -(fewest - 1)
