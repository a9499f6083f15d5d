from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from transfer.cli.output import printing
from transfer.system.errors import UserError


@contextmanager
def raising(error: OSError | None) -> Iterator[None]:
    yield
    if error:
        raise error


@pytest.mark.parametrize("error", [None, BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_result_that_could_not_be_written_is_an_error_whoever_reads_it(error: OSError | None) -> None:
    failed = UserError("can't write out/result.json")
    with pytest.raises(UserError) as raised, printing(Path("out"), failed), raising(error):
        pass
    assert raised.value is failed


@pytest.mark.parametrize(
    ("out", "words"),
    [(Path("out"), "the result is in out"), (None, "give --out to keep the result")],
)
def test_what_can_not_be_printed_is_said_to_be_elsewhere(out: Path | None, words: str) -> None:
    with (
        pytest.raises(UserError, match=rf"standard output \(No space left on device\); {words}$"),
        printing(out),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_reader_who_had_enough_is_no_error_of_a_result_that_is_kept() -> None:
    with pytest.raises(BrokenPipeError), printing(Path("out")):
        raise BrokenPipeError
