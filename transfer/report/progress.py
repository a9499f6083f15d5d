"""Progress of a command: a line that a terminal redraws, or plain lines now and then for a file or a pipe.

A line names one phase. The time left is that of this phase alone, from its mean rate so far: what comes after it (fits,
the page) isn't in it, since nobody knows before how long it takes. Phases whose parts are unlike each other, such as
first fits of different methods, have no time left; repeats have one, from what each method took on the first split.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from transfer.system.text import printable

# Plain lines within a phase are at least so far apart; a terminal is written to at most so often.
LINE_EVERY_S, DRAW_EVERY_S = 10.0, 0.1
# A rate of less time than this is not shown.
LEAST_S = 1.0
BAR_WIDTH = 10
# Drawing takes turns with the fits: the interpreter runs one of both.
REFRESH_PER_S = 4

Clock = Callable[[], float]


class State:
    """The current phase, how far it is, and since when.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.phase, self.done, self.total, self.detail, self.unit = "", 0, 0, "", ""
        self.share: float | None = None
        self._began_s = self._done_s = clock()

    def update(
        self, phase: str, done: int, total: int, detail: str = "", unit: str = "", share: float | None = None
    ) -> bool:
        """Take what is reported; return whether another phase has begun."""
        is_other = phase != self.phase
        if is_other or done < self.done:
            self._began_s = self.clock()
        if done != self.done:
            self._done_s = self.clock()
        self.phase, self.done, self.total, self.detail, self.unit = phase, done, total, detail, unit
        self.share = share
        return is_other

    @property
    def text(self) -> str:
        """What is being done: `extract: 300 of 900 images`, or `fit: logreg (3 of 7)`."""
        if self.unit:
            counted = f"{self.done:,} of {self.total:,} {self.unit}"
            where = f"{self.detail}, {counted}" if self.detail else counted
        elif self.total > 1:
            where = f"{self.detail} ({min(self.done + 1, self.total)} of {self.total})".lstrip()
        else:
            where = self.detail
        return f"{self.phase}: {where}" if where else self.phase

    @property
    def passed_s(self) -> float:
        """Seconds since the phase began."""
        return self.clock() - self._began_s

    @property
    def pace(self) -> str:
        """How fast it goes and how long the phase will still take; empty where that is not known.

        The rate is that until a part was last done: a part that takes long does not lower it, and time left runs out.
        """
        share = self.done / self.total if self.unit and self.total else self.share
        worked_s = self._done_s - self._began_s
        if not share or worked_s < LEAST_S:
            return ""
        left = format_duration(max(0.0, worked_s / share - self.passed_s))
        return f"{self.done / worked_s:,.1f}/s, {left} left" if self.unit else f"about {left} left"


def format_duration(seconds: float) -> str:
    """Format a duration in one unit, without decimals: `19 s`, `4 min`, `3 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


class Lines:
    """Prints a line when another phase begins, and while it lasts now and then.

    Parameters
    ----------
    write : callable
        Takes a line.
    clock : callable
        Returns seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._state, self._write = State(clock), write
        self._written_s = clock()

    def __call__(self, phase: str, done: int, total: int, *more: Any) -> None:
        """Take what is reported, as `Progress` says."""
        is_other, now_s = self._state.update(phase, done, total, *more), self._state.clock()
        # That a phase is over is seen from the line of the next one.
        if done == total or not (is_other or now_s - self._written_s >= LINE_EVERY_S):
            return
        self._written_s = now_s
        self._write(", ".join(filter(None, (self._state.text, self._state.pace))))


class Bar:
    """Draws the current phase alone in a terminal: a bar, and beside it what and how fast."""

    def __init__(self, terminal: Console) -> None:
        self._state, self._drawn_s, self._task = State(), 0.0, TaskID(-1)
        self.bars = Bars(
            BarColumn(bar_width=BAR_WIDTH),
            _Words(self._state),
            console=terminal,
            transient=True,
            redirect_stdout=False,
            refresh_per_second=REFRESH_PER_S,
        )

    def __call__(self, phase: str, done: int, total: int, *more: Any) -> None:
        """Take what is reported, as `Progress` says."""
        self._state.update(phase, done, total, *more)
        now_s = self._state.clock()
        if done in (0, total) or now_s - self._drawn_s >= DRAW_EVERY_S:
            self._drawn_s = now_s
            if not self.bars.tasks:
                self._task = self.bars.add_task("")
            self.bars.update(self._task, total=total, completed=done)


class _Words(ProgressColumn):
    def __init__(self, state: State) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._state = state

    def render(self, task: Task) -> Text:
        pace = self._state.pace or format_duration(self._state.passed_s)
        return Text(printable(f"{self._state.text}, {pace}"))
