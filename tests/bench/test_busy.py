from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field

import psutil
import pytest

from bench import busy
from bench.busy import OtherCores, is_busy
from transfer.system.hardware import BUSY

Core = namedtuple("Core", "user system idle iowait steal")
Own = namedtuple("Own", "user system children_user children_system")


@dataclass
class Machine:
    """A made-up machine of two cores."""

    clock_s: float = 0.0
    cores: list[Core] = field(default_factory=lambda: [Core(5, 5, 50, 2, 0)] * 2)
    own: Own = field(default_factory=lambda: Own(1, 1, 0, 0))
    child: Own | None = None


class Process:
    """A made-up process."""

    def __init__(self, times: Own, children: list[Process]) -> None:
        self._times, self._children = times, children

    def cpu_times(self) -> Own:
        return self._times

    def children(self, recursive: bool) -> list[Process]:
        return self._children


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(busy, "now", lambda: made.clock_s)
    monkeypatch.setattr(busy, "usable_cores", lambda: 2)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: made.cores)
    monkeypatch.setattr(
        psutil, "Process", lambda: Process(made.own, [Process(made.child, [])] if made.child else [])
    )
    return made


def test_cores_of_others_are_what_is_left_of_all_after_our_own(machine: Machine) -> None:
    others = OtherCores()
    machine.clock_s = 10
    # 12 seconds of both cores; 4 of this process, 3 of children that ended, 2 of one that runs.
    machine.cores = [Core(10, 6, 60, 5, 1), Core(8, 7, 60, 2, 0)]
    machine.own, machine.child = Own(3, 3, 2, 1), Own(1.5, 0.5, 0, 0)
    assert others.mean() == pytest.approx(0.3)


def test_rounding_never_makes_it_negative(machine: Machine) -> None:
    others = OtherCores()
    machine.clock_s, machine.own = 1, Own(1.02, 1, 0, 0)
    assert others.mean() == 0


def test_it_is_unknown_where_the_cores_of_a_host_are_counted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "usable_cores", lambda: 1)
    others = OtherCores()
    machine.clock_s = 1
    assert others.mean() is None
    assert not is_busy(others.mean(), 1)


def test_busy_is_more_than_a_share_of_the_cores() -> None:
    assert [is_busy(cores, 4) for cores in (0.0, 4 * BUSY - 0.01, 4 * BUSY + 0.01)] == [False, False, True]
