"""Seconds by phase, kept raw, from a clock that waits for the device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def now(device: str = "cpu") -> float:
    """Seconds on a monotonic clock, read once everything queued on `device` is done.

    Work on CUDA is asynchronous: without waiting, a clock read measures the launch alone.
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


class Stopwatch:
    """Seconds of named phases; a phase that is entered again keeps each of its times.

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
        """Time the block, the device synchronised at both edges; a block that raises is not recorded."""
        start = now(self.device)
        yield
        self.seconds.setdefault(phase, []).append(now(self.device) - start)

    def last(self, phase: str) -> float:
        """Seconds of the latest pass through `phase`."""
        return self.seconds[phase][-1]

    def total(self) -> float:
        """Seconds since the stopwatch was made, phases or not."""
        return now(self.device) - self._start
