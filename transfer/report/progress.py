"""Progress of a command: a line that a terminal redraws, or plain lines now and then for a file or a pipe.

A line names one phase. Where an earlier run like this one is known, the time left is that of the whole run, if it
goes as that one did. Otherwise it is that of the phase alone, from its mean rate so far: what comes after it (fits, the
page) isn't in it, since nobody knows before how long it takes. Phases whose parts are unlike each other, such as first
fits of different methods, then have no time left; repeats have one, from what each method took on the first split.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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
    expected : mapping of str to float, optional
        Seconds that the phases of an earlier run took, in its order.
    """

    def __init__(self, clock: Clock = time.monotonic, expected: Mapping[str, float] | None = None) -> None:
        self.clock, self._expected = clock, expected or {}
        self._known, self._known_s = "", 0.0  # the last phase that the earlier run has too, and its beginning
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
        if phase in self._expected and phase != self._known:
            self._known, self._known_s = phase, self.clock()
        if (done, share) != (self.done, self.share):
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
        """How fast it goes and how long the run or the phase will still take; empty where that is not known.

        The rate is that until a part was last done: a part that takes long does not lower it, and time left runs out.
        """
        share = self.done / self.total if self.unit and self.total else self.share
        worked_s = self._done_s - self._began_s
        rate, left_s = "", None
        if share and worked_s >= LEAST_S:
            left_s = max(0.0, worked_s / share - self.passed_s)
            rate = f"{self.done / worked_s:,.1f}/s" if self.unit else ""
        run_s = self._run_left_s(left_s)
        if run_s >= 0.5:  # the last phases take less
            left = f"about {format_duration(run_s)} left, as in the last run"
        elif left_s is not None:
            left = f"{'' if self.unit else 'about '}{format_duration(left_s)} left"
        else:
            left = ""
        return ", ".join(filter(None, (rate, left)))

    def _run_left_s(self, phase_left_s: float | None) -> float:
        """Return the seconds that the earlier run still took from here; 0 where none is known."""
        if not self._known:
            return 0.0
        phases = list(self._expected)
        ahead_s = sum(self._expected[phase] for phase in phases[phases.index(self._known) + 1 :])
        if phase_left_s is None:
            phase_left_s = max(0.0, self._expected[self._known] - (self.clock() - self._known_s))
        return phase_left_s + ahead_s


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
    expected : mapping of str to float, optional
        As `State` takes it.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Clock = time.monotonic,
        expected: Mapping[str, float] | None = None,
    ) -> None:
        self._state, self._write = State(clock, expected), write
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

    def __init__(self, terminal: Console, expected: Mapping[str, float] | None = None) -> None:
        self._state, self._drawn_s, self._task = State(expected=expected), 0.0, TaskID(-1)
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
