"""Seconds by phase, kept raw, from a clock that waits for the device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def now(device: str = "cpu") -> float:
    """Return seconds on a monotonic clock, read once all work queued on `device` is done.

    CUDA is asynchronous: without waiting, a clock measures the launch alone.

    Parameters
    ----------
    device : {"cpu", "cuda"}

    Returns
    -------
    float
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


class Stopwatch:
    """Seconds of named phases; a phase that is entered again keeps each of its times.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Device that the clock waits for.

    Attributes
    ----------
    seconds : dict of str to list of float
        The times of each phase.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> with watch("fit"):
    ...     pass
    >>> list(watch.seconds)
    ['fit']
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = {}
        self._start = now(device)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time the block, with the device synchronised at both edges; a block that raises is not recorded."""
        start = now(self.device)
        yield
        self.seconds.setdefault(phase, []).append(now(self.device) - start)

    def add(self, phase: str, seconds: float) -> None:
        """Count seconds of a phase that were spent before the stopwatch was created, as if it had timed them."""
        self.seconds.setdefault(phase, []).append(seconds)
        self._start -= seconds

    def last(self, phase: str) -> float:
        """Return the seconds of the latest pass through `phase`."""
        return self.seconds[phase][-1]

    def total(self) -> float:
        """Return the seconds since the stopwatch was created, in and out of phases."""
        return now(self.device) - self._start
