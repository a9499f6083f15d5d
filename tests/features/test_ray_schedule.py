"""Units, failures and lost workers, on real workers that do nothing but fail."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.refusals import refusal
from transfer.features import ray_pool, ray_schedule
from transfer.features.plan import ClusterRequest
from transfer.features.ray_pool import WorkerPool
from transfer.features.ray_schedule import TRIES, Schedule, Work
from transfer.system.errors import UserError

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own, of many kinds


class Fragile:
    """A worker whose units say what it does."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def call(self, name: str, *args: Any) -> tuple[Any, UserError | None]:
        if name == "compute":
            if args[-1] == "die":
                os._exit(1)
            if args[-1] == "wait":
                time.sleep(2)
            if args[-1] == "fail":
                raise RuntimeError("no such mount")
            if args[-1] == "refuse":
                return None, UserError("can't do that")
        return args[-1], None


@pytest.fixture
def pool(cluster: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    monkeypatch.setattr(ray_pool, "Worker", Fragile)
    found = WorkerPool(ClusterRequest(on="ray", workers=2, engine="eager", precision="fp32", device="cpu"))
    yield found
    found.stop()


def run(
    pool: WorkerPool, units: list[str], left: Callable[[int], Any] | None = None, fails: str = ""
) -> list[tuple[int, Any]]:
    """Run units; what was taken is returned, and kept as far as it goes."""
    taken: list[tuple[int, Any]] = []

    def take(number: int, found: Any) -> None:
        if found == fails:
            raise RuntimeError("not in the store here")
        taken.append((number, found))

    work = Work(
        units=len(units),
        prepared=("recipe", "plan", {}),
        images=lambda number: units[number],
        left=left or (lambda number: units[number]),
        take=take,
        describe=lambda number: units[number],
    )
    run.taken = taken  # type: ignore[attr-defined]
    Schedule(pool, work).run()
    return taken


def test_each_unit_is_taken_once(pool: WorkerPool) -> None:
    units = [f"unit {i}" for i in range(20)]
    assert sorted(run(pool, units)) == list(enumerate(units))
    assert sorted(run(pool, units[:1])) == [(0, "unit 0")]  # fewer than there are workers


@pytest.mark.parametrize(("fault", "reason"), [("die", "its worker died"), ("fail", "no such mount")])
def test_a_unit_that_keeps_failing_ends_the_run_after_all_others(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture, fault: str, reason: str
) -> None:
    caplog.set_level(logging.WARNING)
    message = refusal(run, pool, ["a", fault, "b", "c", "d"])
    assert f"unit 2 of 5 ({fault}) failed {TRIES} times ({reason})" in message
    assert sorted(run.taken) == [(0, "a"), (2, "b"), (3, "c"), (4, "d")]  # type: ignore[attr-defined]
    assert [record.getMessage() for record in caplog.records] == [
        f"unit 2 of 5 ({fault}) failed, and is tried again last: {reason}"
    ] * (TRIES - 1)


def test_of_a_unit_that_failed_what_is_in_the_store_is_not_computed_again(pool: WorkerPool) -> None:
    assert sorted(run(pool, ["a", "die", "b"], left=lambda number: None)) == [(0, "a"), (1, None), (2, "b")]
    assert (1, "rest") in run(pool, ["a", "die", "b"], left=lambda number: "rest")


def test_a_mistake_of_the_user_ends_the_run_at_once_and_what_is_under_way_is_taken(pool: WorkerPool) -> None:
    assert refusal(run, pool, ["a", "refuse", *"bcdefghij"]) == "can't do that"
    assert 0 < len(run.taken) < 10  # type: ignore[attr-defined]


def test_a_straggler_is_named_once(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(ray_schedule, "LEAST_STRAGGLE_S", 0.5)
    monkeypatch.setattr(ray_schedule, "LOOK_S", 0.1)
    run(pool, ["wait", *"abcdefgh"])
    named = [one.getMessage() for one in caplog.records if "has taken" in one.getMessage()]
    assert [name.partition(" has")[0] for name in named] == ["unit 1 of 9 (wait)"]


def test_rows_that_are_not_seen_are_a_failure(pool: WorkerPool) -> None:
    assert "not in the store here" in refusal(run, pool, ["a", "b"], fails="b")


def test_workers_that_never_start_end_the_run(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Fragile):
        def __init__(self, threads: int) -> None:
            raise ModuleNotFoundError("No module named 'transfer'")

    monkeypatch.setattr(ray_pool, "Worker", Broken)
    found = WorkerPool(ClusterRequest(on="ray", workers=1, engine="eager", precision="fp32", device="cpu"))
    assert "can't be started on ray: " in (message := refusal(found.ask, "machine"))
    assert "No module named 'transfer'" in message
