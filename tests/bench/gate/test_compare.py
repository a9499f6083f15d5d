"""Two trees compared: what is timed again, what is missing, and the exit status."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gate import compare as module
from bench.gate.compare import INCONCLUSIVE, PASSED, RED, Outcome, compare
from bench.gate.measure import Bench, Failed, Pairs
from bench.gate.verdict import SAME, SLOWER, UNCLEAR
from tests.bench.gate import made
from transfer.system.errors import UserError


class Made:
    """A bench with given times at every stage: head's over base's."""

    def __init__(self, *stages: dict[str, float], head: str = "", base: str = "") -> None:
        self.stages = list(stages)
        self.timed: list[set[str]] = []
        self.runs = {"head": {*head.split(), *stages[0]}, "base": {*base.split(), *stages[0]}}
        self.listed_by_base = self.runs["base"]
        self.inputs = Path()

    def names(self) -> set[str]:
        return self.runs["head"]

    def tried(self, tree: Path, names: Collection[str]) -> tuple[set[str], str]:
        broken = {"broken", f"broken_on_{tree.name}"}
        return self.runs[tree.name] & set(names) - broken, f"why it broke on {tree.name}"

    def blocks(
        self, base: Path, head: Path, names: Collection[str], *, n: int, seed: int, progress: Any
    ) -> Any:
        self.timed.append(set(names))
        if "flaky" in names:
            raise Failed(head if "flaky" in self.runs["base"] else base, ["flaky"], "it broke now")
        times, rng = self.stages.pop(0), np.random.default_rng(seed)
        return {name: [(1.0, times[name] * (1 + 0.01 * rng.random())) for _ in range(n)] for name in names}


def outcome(monkeypatch: pytest.MonkeyPatch, bench: Made, *, blocks: int = 12, **options: Any) -> Outcome:
    monkeypatch.setattr(Bench, "of", lambda *_: bench)
    monkeypatch.setattr(module.measure, "names", lambda *_: bench.listed_by_base)
    trees = Path("base"), Path("head"), Path("work")
    return compare(*trees, tolerance=0.1, blocks=blocks, seed=0, **options)


def verdicts(found: Outcome) -> dict[str, str]:
    return {row.name: row.verdict for row in found.rows}


def test_equal_revisions_pass_in_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made({"a": 1.0, "b": 1.02, "control_c": 1.0})
    found = outcome(monkeypatch, bench)
    assert found.status == PASSED
    assert verdicts(found) == {"a": SAME, "b": SAME}
    assert [row.name for row in found.controls] == ["control_c"]
    assert len(bench.timed) == 1


def test_only_what_was_flagged_is_timed_again_with_the_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made({"a": 1.3, "b": 1.0, "control_c": 1.0}, {"a": 1.2, "control_c": 1.0})
    found = outcome(monkeypatch, bench)
    assert found.status == RED
    assert verdicts(found) == {"a": SLOWER, "b": SAME}
    assert bench.timed[1] == {"a", "control_c"}
    row = next(row for row in found.rows if row.name == "a")
    assert row.head_s == pytest.approx(1.2, rel=0.02)
    assert row.ratio.median == pytest.approx(1.2, rel=0.02)


def test_what_is_not_confirmed_is_not_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.3, "control_c": 1.0}, {"a": 1.0, "control_c": 1.0}))
    assert found.status == PASSED
    assert verdicts(found) == {"a": UNCLEAR}


def test_a_control_that_moves_makes_it_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made({"a": 1.3, "control_c": 1.2})
    found = outcome(monkeypatch, bench)
    assert found.status == INCONCLUSIVE
    assert found.moved == ["control_c"]
    assert len(bench.timed) == 1  # timing it again would tell no more


def test_a_control_that_moves_in_the_second_stage_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.3, "control_c": 1.0}, {"a": 1.3, "control_c": 0.9}))
    assert found.status == INCONCLUSIVE


def test_a_missing_benchmark_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.0, "control_c": 1.2}, base="gone"))
    assert found.missing == ["gone"]
    assert found.status == RED  # though a control moved: no clock was needed to see it


def test_a_benchmark_that_fails_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.0}, head="broken", base="broken"))
    assert found.failed == ["broken"]
    assert found.pytest_output == "why it broke on head"
    assert found.status == RED


def test_a_new_benchmark_that_runs_on_both_is_reported_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made({"a": 1.0, "b": 1.0, "control_c": 1.0})
    bench.listed_by_base = {"a", "control_c"}
    found = outcome(monkeypatch, bench)
    assert (found.new, found.status) == (["b"], PASSED)
    assert verdicts(found) == {"a": SAME, "b": SAME}


def test_a_new_benchmark_is_reported_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.0}, head="more"))
    assert found.new == ["more"]
    assert found.status == PASSED
    assert verdicts(found) == {"a": SAME}


def test_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made({"control_c": 1.0}, head="more")
    found = outcome(monkeypatch, bench)
    assert (found.new, found.rows, found.status) == (["more"], [], INCONCLUSIVE)
    assert bench.timed == []


def test_what_the_base_has_and_cannot_run_is_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "broken_on_base"
    found = outcome(monkeypatch, Made({"a": 1.0}, head=name, base=name))
    assert (found.uncompared, found.new, found.failed) == ([name], [], [])
    assert found.status == PASSED
    assert found.pytest_output == "why it broke on base"


def test_a_benchmark_that_fails_once_in_a_while_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.0, "flaky": 1.0}, base="flaky"))
    assert (found.failed, found.status) == (["flaky"], RED)
    assert found.pytest_output == "it broke now"


def test_a_renamed_benchmark_is_missing_and_new(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, Made({"a": 1.0}, head="after", base="before"))
    assert (found.missing, found.new, found.status) == (["before"], ["after"], RED)


def test_only_some(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made({"a": 1.0, "b": 1.0, "control_c": 1.0}, base="gone")
    found = outcome(monkeypatch, bench, only=["a"])
    assert bench.timed == [{"a", "control_c"}]
    assert found.missing == []


@pytest.mark.parametrize("only", [["z"], ["a", "z"]])
def test_only_what_there_is(monkeypatch: pytest.MonkeyPatch, only: list[str]) -> None:
    with pytest.raises(UserError, match="no benchmark is called z; there are a, control_c"):
        outcome(monkeypatch, Made({"a": 1.0, "control_c": 1.0}), only=only)


def test_too_few_blocks_to_show_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--blocks is 6; nothing can be shown with fewer than 7"):
        outcome(monkeypatch, Made({"a": 1.0}), blocks=6)
    with pytest.raises(
        UserError, match="--blocks is 7; of 2 benchmarks nothing can be shown with fewer than 8"
    ):
        outcome(monkeypatch, Made({"a": 1.0, "b": 1.0}), blocks=7)


@pytest.mark.trial
def test_real_processes(tmp_path: Path) -> None:
    """Equal revisions; nothing but the clock's noise is between them, so that no verdict but SLOWER would be wrong."""
    base, head = made.tree(tmp_path / "base"), made.tree(tmp_path / "head")
    found = compare(base, head, tmp_path, tolerance=0.9, blocks=7, seed=0)
    pairs: Pairs = found.stages[0]["work"]
    assert len(pairs) == 7
    assert [row.name for row in found.rows] == ["work"]
    assert found.status in (PASSED, INCONCLUSIVE)
