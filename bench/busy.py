"""The load by other processes while something is timed."""

from __future__ import annotations

from transfer.system.hardware import BUSY, usable_cores
from transfer.system.timer import now


class OtherCores:
    """The mean number of cores that other processes use, from the creation of this object on.

    Unlike `transfer.system.hardware.CpuContention` it counts processes that this one starts as its own: `GridSearchCV`
    starts some.
    """

    def __init__(self) -> None:
        self._start_s, self._used_s = now(), _used_by_others_s()

    def mean(self) -> float | None:
        """Return the mean number of cores; None if unknown: without psutil, or if others share the host's cores."""
        used_s = _used_by_others_s()
        if used_s is None or self._used_s is None:
            return None
        # The kernel counts in hundredths of a second, so the difference of two counts may fall below zero.
        return max(0.0, (used_s - self._used_s) / (now() - self._start_s))


def is_busy(other_cores: float | None, cores: int) -> bool:
    """Return whether other processes took so much of `cores` that times are unreliable."""
    return other_cores is not None and other_cores > BUSY * cores


def report_busy(other_cores: float | None, cores: int) -> None:
    """Print that other processes took so much of `cores` that times are unreliable, where they did."""
    if is_busy(other_cores, cores):
        print(f"busy: other processes used {other_cores:.1f} cores")


def _used_by_others_s() -> float | None:
    """Return the seconds of processor time of all other processes since the machine was started."""
    try:
        import psutil
    except ImportError:
        return None
    own = psutil.Process()
    cores = psutil.cpu_times(percpu=True)
    if len(cores) != usable_cores():  # a container that sees its host's cores, or a part of the machine
        return None
    busy_s = sum(
        sum(core) - core.idle - getattr(core, "iowait", 0) - getattr(core, "guest", 0) for core in cores
    )
    times = own.cpu_times()
    own_s = times.user + times.system + times.children_user + times.children_system
    for child in own.children(recursive=True):
        try:
            own_s += child.cpu_times().user + child.cpu_times().system
        except psutil.NoSuchProcess:
            continue
    return float(busy_s - own_s)
