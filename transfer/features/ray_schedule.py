"""Units given to workers one at a time, tried again where they fail, named where they take long.

Plain actors rather than Ray Data: which unit runs where has to be known to name a straggler or a unit that keeps
failing, and to look into the store before a unit is tried again; Ray Data retries blocks on its own.
"""

from __future__ import annotations

import logging
import statistics
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transfer.features.ray_pool import WorkerPool, reason_of
from transfer.features.ray_worker import Done
from transfer.system.errors import UserError
from transfer.system.timer import now

# A unit is tried so often.
TRIES = 4
# How often stragglers are looked for: units that take so many times as long as others did, and at least so long.
LOOK_S, STRAGGLES, LEAST_STRAGGLE_S = 1.0, 3.0, 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be computed, in units."""

    units: int
    prepared: tuple[Any, ...]
    """What workers prepare from, the recipe and the plan first."""
    images: Callable[[int], Any]
    """Gives the images of a unit."""
    left: Callable[[int], Any]
    """Gives those of a unit that failed that are still to be computed; None if there are none."""
    take: Callable[[int, Done | None], None]
    """Called with a unit and what became of it, None if nothing was left to do. Where it raises a `UserError`, units
    that are under way are waited for, and no more are begun; for another error, the unit is tried again."""
    describe: Callable[[int], str]
    """Says in a few words what a unit is."""


class Schedule:
    """One pass of work over the workers of a pool.

    Parameters
    ----------
    pool : WorkerPool
    work : Work
    """

    def __init__(self, pool: WorkerPool, work: Work) -> None:
        self._pool, self._work, self._ray = pool, work, pool.ray
        self._waiting = deque(range(work.units))
        self._idle: deque[Any] = deque()
        self._starting: dict[Any, Any] = {}
        """Workers by the answers that they are ready."""
        self._busy: dict[Any, tuple[Any, int, float]] = {}
        """A worker, its unit and when that began, by the answer."""
        self._failures: Counter[int] = Counter()
        self._named: set[int] = set()
        self._took_s: list[float] = []
        self._ended: UserError | None = None

    def run(self) -> None:
        """Have all units computed.

        Raises
        ------
        UserError
            Of `take` or of a worker; of a unit that failed several times; where no worker can be started. What was
            under way before is finished.
        """
        for worker in self._pool.workers[: self._work.units]:
            self._start(worker)
        self._send()
        while self._busy or (self._waiting and not self._ended):
            for reference in self._ray.wait([*self._busy, *self._starting], timeout=LOOK_S)[0]:
                self._receive(reference)
            self._name_stragglers()
            self._send()
        if self._ended:
            raise self._ended

    def _start(self, worker: Any) -> None:
        self._starting[worker.call.remote("prepare", *self._work.prepared)] = worker

    def _send(self) -> None:
        """Give waiting units to idle workers."""
        recipe, plan, *_ = self._work.prepared
        while self._idle and self._waiting and not self._ended:
            number = self._waiting.popleft()
            images = self._work.left(number) if self._failures[number] else self._work.images(number)
            if images is None:
                self._take(number, None)
                continue
            worker = self._idle.popleft()
            self._busy[worker.call.remote("compute", recipe, plan, images)] = worker, number, now()

    def _receive(self, reference: Any) -> None:
        worker, number, begun = self._busy.pop(reference, None) or (self._starting.pop(reference), None, 0.0)
        try:
            found, error = self._ray.get(reference)
        except self._ray.exceptions.RayError as lost:
            is_dead = isinstance(lost, self._ray.exceptions.RayActorError)
            if is_dead or number is None:
                self._start(self._pool.replace(worker, lost))
            else:
                self._idle.append(worker)
            if number is not None:
                self._fail(number, "its worker died" if is_dead else reason_of(lost))
            return
        self._pool.unready = 0
        self._idle.append(worker)
        if error:
            self._end(error)
        elif number is not None:
            self._took_s.append(now() - begun)
            self._send()  # the worker has its next unit before this one is looked at
            self._take(number, found)

    def _take(self, number: int, found: Done | None) -> None:
        try:
            self._work.take(number, found)
        except UserError as error:
            self._end(error)
        except RuntimeError as fault:
            self._fail(number, str(fault))

    def _fail(self, number: int, reason: str) -> None:
        self._failures[number] += 1
        if self._failures[number] == TRIES:
            self._end(
                UserError(
                    f"{self._name(number)} failed {TRIES} times ({reason}); what was computed is kept, run again"
                )
            )
            return
        log.warning("%s failed, and is tried again last: %s", self._name(number), reason)
        self._waiting.append(number)

    def _end(self, error: UserError) -> None:
        self._ended = self._ended or error

    def _name_stragglers(self) -> None:
        if len(self._took_s) < self._pool.size:
            return
        usual_s = statistics.median(self._took_s)
        for _, number, begun in self._busy.values():
            taken_s = now() - begun
            if number not in self._named and taken_s > max(STRAGGLES * usual_s, LEAST_STRAGGLE_S):
                self._named.add(number)
                log.warning(
                    "%s has taken %.0f s, where others took %.0f s", self._name(number), taken_s, usual_s
                )

    def _name(self, number: int) -> str:
        return f"unit {number + 1} of {self._work.units} ({self._work.describe(number)})"
