"""How far a command is: the phases that it reports while it works."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from transfer.system.text import printable


class Progress(Protocol):
    """A function that is called when a phase begins, when parts of it are done, and when all of them are.

    Parameters
    ----------
    phase : str
        Named as in `seconds` of a result, where it is there.
    done, total : int
        Parts of the phase. `done` is 0 when it begins and `total` when it ends; a phase may be entered again.
    detail : str
        What is being worked on.
    unit : str
        What the parts are, in the plural, if all of them take about as long as each other: a rate then says when the
        phase will end.
    share : float, optional
        The share of the phase's work that is done, if parts differ in what they cost, but by how much is known.
    """

    def __call__(
        self,
        phase: str,
        done: int,
        total: int,
        detail: str = "",
        unit: str = "",
        share: float | None = None,
        /,
    ) -> None:
        """Take what is reported."""


def silent(*_: object) -> None:
    """Report nothing."""


@contextmanager
def reported(on_progress: Progress, phase: str, detail: str = "") -> Iterator[None]:
    """Report a phase of one part, done in the block."""
    on_progress(phase, 0, 1, detail)
    yield
    on_progress(phase, 1, 1)


def print_line(line: str) -> None:
    """Print a line on standard error; if that fails, the line is lost and the work goes on."""
    try:
        print(f"transfer: {printable(line)}", file=sys.stderr, flush=True)
    except BrokenPipeError:  # its reader is gone: what is left in the buffer would fail at exit again
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except OSError:  # such as a full disk
        pass
