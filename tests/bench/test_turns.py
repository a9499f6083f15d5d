from __future__ import annotations

import itertools

import pytest

from bench import turns
from bench.turns import Way, time_in_turn


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was called, rests among it."""
    found: list[str] = []
    monkeypatch.setattr(turns, "rest", lambda: found.append("rest"))
    return found


def test_every_round_calls_each_way_after_a_rest_and_every_other_round_goes_backwards(
    calls: list[str],
) -> None:
    ways = {name: Way(call=lambda name=name: calls.append(name)) for name in "ABC"}
    time_in_turn(ways, 3, warm_up=False)
    assert calls == [word for name in "ABCCBAABC" for word in ("rest", name)]


def test_warm_ups_come_first_and_are_not_timed(calls: list[str]) -> None:
    ways = {
        "A": Way(call=lambda: calls.append("A")),
        "B": Way(call=lambda: calls.append("B"), warm_up=lambda: calls.append("some of B")),
    }
    seconds = time_in_turn(ways, 1)
    assert calls == ["A", "some of B", "rest", "A", "rest", "B"]
    assert {name: len(raw) for name, raw in seconds.items()} == {"A": 1, "B": 1}


def test_a_long_way_takes_part_in_the_first_rounds(calls: list[str]) -> None:
    ways = {
        "A": Way(call=lambda: calls.append("A")),
        "B": Way(call=lambda: calls.append("B"), at_most=1),
    }
    seconds = time_in_turn(ways, 3, warm_up=False)
    assert "".join(name for name in calls if name != "rest") == "ABAA"
    assert {name: len(raw) for name, raw in seconds.items()} == {"A": 3, "B": 1}


def test_short_ways_get_further_rounds(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 0.5)

    def rounds(more_s: float) -> int:
        ways = {"A": Way(call=lambda: calls.append("A"))}
        monkeypatch.setattr(turns, "now", lambda: next(ticks))
        return len(time_in_turn(ways, 2, more_s=more_s, warm_up=False, clock=lambda: 0.0)["A"])

    monkeypatch.setattr(turns, "MOST_ROUNDS", 5)
    assert [rounds(more_s) for more_s in (0, 0.5, 1, 1.5, 100)] == [2, 2, 3, 4, 5]


def test_the_clock_is_read_around_the_call_alone(calls: list[str]) -> None:
    ticks = itertools.count()

    def clock() -> float:
        calls.append("clock")
        return float(next(ticks) ** 2)

    seconds = time_in_turn({"A": Way(call=lambda: calls.append("A"))}, 2, warm_up=False, clock=clock)
    assert calls == ["rest", "clock", "A", "clock"] * 2
    assert seconds == {"A": [1.0, 5.0]}
