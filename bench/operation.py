"""The benchmarks of one operation on one device: its ways are timed in turn and stored one by one.

pytest-benchmark times one test after the other, all rounds of a test back to back, and has no option for anything
else (https://github.com/ionelmc/pytest-benchmark, `fixture.py`). So a test here is an operation and not a way: it adds
the ways, `bench.turns` times them in turn, and each is handed to pytest-benchmark with the seconds of its rounds.
Statistics, tables, files and comparisons are pytest-benchmark's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch

from bench.busy import OtherCores
from bench.turns import Way, time_in_turn

each_device = pytest.mark.parametrize("device", ["cpu", "cuda"])
# What is kept beside the times: of every benchmark, and where it applies.
ALWAYS: dict[str, type] = {"way": str, "reference": bool, "device": str, "threads": int}
SOMETIMES: dict[str, type] = {
    "method": str,
    "network": str,
    "precision": str,
    "batch": int,
    "images": int,
    "shape": list,
    "scaled_by": float,
    "other_cores": float,
    "accuracy": float,
    "macro_f1": float,
    "cosine": float,
}
# One of them shows that the answer was right; a part of the work, scaled up, has no answer.
SHOWN_BY = {"accuracy", "cosine", "scaled_by"}


@dataclass(frozen=True, kw_only=True)
class _Added:
    call: Callable[[], Any]
    check: Callable[[Any], Mapping[str, Any]]
    warm_up: Callable[[], Any] | None
    at_most: int | None
    info: dict[str, Any]


class Operation:
    """The ways of one operation on one device.

    Parameters
    ----------
    benchmark
        pytest-benchmark's fixture of the test.
    subtests
        pytest's fixture: a way with a wrong answer fails alone and leaves no time.
    device
        `cpu` or `cuda`.
    rounds
        The number of rounds; before a single one nothing is warmed up.
    more_s
        As in `bench.turns.time_in_turn`.
    clock
        Gives seconds, and waits for the device.
    """

    def __init__(
        self,
        benchmark: Any,
        subtests: pytest.Subtests,
        *,
        device: str,
        rounds: int,
        more_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._benchmark, self._subtests, self._device = benchmark, subtests, device
        self._rounds, self._more_s, self._clock = rounds, more_s, clock
        self._ways: dict[str, _Added] = {}

    def add(
        self,
        way: str,
        call: Callable[[], Any],
        check: Callable[[Any], Mapping[str, Any]],
        *,
        reference: bool = False,
        warm_up: Callable[[], Any] | None = None,
        at_most: int | None = None,
        **info: Any,
    ) -> None:
        """Add a way.

        Parameters
        ----------
        way
            Its name.
        call
            What is timed.
        check
            Given what the last call returned; raises `AssertionError` if that is wrong, and returns what shows that
            it is right, to be kept with the times.
        reference
            Whether it is not ours.
        warm_up, at_most
            As in `bench.turns.Way`.
        **info
            Kept with the times, under keys of `SOMETIMES`.
        """
        parts = [way, info.get("precision", ""), f"batch {info['batch']}" if "batch" in info else ""]
        name = " ".join(part for part in parts if part)
        if name in self._ways:
            raise ValueError(f"two ways are named {name!r}")
        info = {"way": way, "reference": reference, "device": self._device, **info}
        self._ways[name] = _Added(call=call, check=check, warm_up=warm_up, at_most=at_most, info=info)

    def time(self) -> None:
        """Time all ways in turn, check their answers and store their times. Skips the test if there are none.

        A way that raises an error fails alone, as one with a wrong answer does.
        """
        if not self._ways:
            pytest.skip("no way of it can be timed here")
        self._benchmark._mode = "bench.operation"  # else pytest-benchmark warns that it was not used
        answers: dict[str, Any] = {}
        failures: dict[str, Exception] = {}

        def answered(name: str) -> None:
            answers[name] = self._ways[name].call()

        def attempt(name: str, call: Callable[[], Any]) -> None:
            if name not in failures:
                try:
                    call()
                except Exception as error:  # a library's: what it can't do here
                    failures[name] = error

        others = OtherCores()
        seconds = time_in_turn(
            {
                name: Way(
                    call=partial(attempt, name, partial(answered, name)),
                    warm_up=partial(attempt, name, way.warm_up) if way.warm_up else None,
                    at_most=way.at_most,
                )
                for name, way in self._ways.items()
            },
            self._rounds,
            more_s=self._more_s,
            warm_up=self._rounds > 1,
            clock=self._clock,
        )
        other_cores = others.mean()
        for name, way in self._ways.items():
            with self._subtests.test(name):
                if name in failures:
                    raise failures[name]
                info = {**way.info, "threads": torch.get_num_threads(), **way.check(answers[name])}
                if other_cores is not None:
                    info["other_cores"] = other_cores
                check_info(self._benchmark.group, info)
                self._store(name, info, seconds[name])

    def _store(self, name: str, info: dict[str, Any], seconds: list[float]) -> None:
        """Hand a way to pytest-benchmark, which has no public method for times that it did not measure."""
        benchmark, test, path = self._benchmark, self._benchmark.name, self._benchmark.fullname
        if benchmark.disabled:
            return
        benchmark.name, benchmark.fullname, benchmark.extra_info = f"{test}[{name}]", f"{path}[{name}]", info
        stats = benchmark._make_stats(iterations=1)
        for one in seconds:
            stats.update(one)
        benchmark.name, benchmark.fullname = test, path


def check_info(group: str | None, info: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless a benchmark has an operation and only the known extra information."""
    if not group:
        raise ValueError("the benchmark has no group: mark it with its operation")
    missing, unknown = ALWAYS.keys() - info.keys(), info.keys() - ALWAYS.keys() - SOMETIMES.keys()
    if missing or unknown:
        raise ValueError(f"extra_info lacks {sorted(missing)} and has unknown {sorted(unknown)}")
    kinds = ALWAYS | SOMETIMES
    wrong = [word for word, value in info.items() if not isinstance(value, kinds[word])]
    if wrong:
        raise ValueError(f"extra_info has values of a wrong kind for {wrong}")
    if not SHOWN_BY & info.keys():
        raise ValueError(f"nothing shows that the answer was right: store one of {sorted(SHOWN_BY)}")
