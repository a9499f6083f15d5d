from __future__ import annotations

import pytest

from tests.refusals import refusal
from transfer.cli.parsing import parse_duration, parse_repeats, parse_size
from transfer.config import RunConfig


@pytest.mark.parametrize(("text", "repeats"), [("0", 0), ("10", 10), ("groups", "groups")])
def test_repeats_are_a_number_or_groups(text: str, repeats: int | str) -> None:
    assert parse_repeats(text) == repeats
    assert RunConfig(repeats=repeats, groups="x").repeats == repeats


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "Groups", "1\n", "1" * 10])
def test_other_repeats_are_refused_with_what_is_allowed(text: str) -> None:
    message = refusal(parse_repeats, text)
    for part in ("--repeats", repr(text), "from 0 to 999999999", "or groups"):
        assert part in message


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["10", "m", "-1m", "0s", "0.0h", "1d", "1 m", ""])
def test_a_time_that_is_none_is_refused_with_examples(text: str) -> None:
    assert "90s, 10m or 1h" in refusal(parse_duration, text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("240x800", (240, 800)),
        ("32x32", (32, 32)),
        ("8192x8192", (8192, 8192)),
        ("0240x0800", (240, 800)),
        ("32X64", (32, 64)),
    ],
)
def test_a_size_is_height_by_width(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "224",
        "224x",
        "x224",
        "224 x 224",
        "224x224x3",
        "-224x224",
        "224.0x224",
        "31x224",
        "224x31",
        "8193x224",
        "224x8193",
        "0x0",
        "224x224\n",
        "999999x224",
    ],
)
def test_a_size_that_is_none_is_reported_with_an_example(text: str) -> None:
    message = refusal(parse_size, text)
    assert "--size" in message
    assert repr(text) in message
    assert "32 to 8192" in message
    assert "240x800" in message
