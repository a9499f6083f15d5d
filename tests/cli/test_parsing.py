from __future__ import annotations

import pytest

from tests.refusals import refusal
from transfer.cli.parsing import parse_duration, parse_repeats
from transfer.config import RunConfig


@pytest.mark.parametrize(("text", "repeats"), [("0", 0), ("10", 10), ("groups", "groups")])
def test_repeats_are_a_number_or_groups(text: str, repeats: int | str) -> None:
    assert parse_repeats(text) == repeats
    assert RunConfig(repeats=repeats, groups="x").repeats == repeats


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "Groups", "1\n", "1" * 10])
def test_other_repeats_are_refused_with_what_is_allowed(text: str) -> None:
    message = refusal(parse_repeats, text)
    for part in ("--repeats", repr(text), "from 0 up", "or groups"):
        assert part in message


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["10", "m", "-1m", "0s", "0.0h", "1d", "1 m", ""])
def test_a_time_that_is_none_is_refused_with_examples(text: str) -> None:
    assert "90s, 10m or 1h" in refusal(parse_duration, text)
