"""How commands end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from bench.reporting.status import exit_status
from transfer.system.errors import UserError


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_what_a_command_returns() -> None:
    assert exit_status(lambda: 4) == 4


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def mistaken() -> int:
        raise UserError("no such\nfile")

    assert exit_status(mistaken) == 2
    assert capsys.readouterr().err == "bench: no such\N{REPLACEMENT CHARACTER}file\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_was_begun_be_cleared_away(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    cleared = []

    def interrupted() -> int:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            cleared.append(number)
        return 0

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert exit_status(interrupted) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert cleared == [number]
    assert capsys.readouterr().err == "bench: interrupted\n"
