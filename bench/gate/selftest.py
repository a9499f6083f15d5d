"""Test of the gate itself, with equal revisions, and revisions with work added or removed.

`python -m bench.gate.selftest` is quick; `--trials 10` is what the documents report. Exit status: 0 the gate was
right; 1 it was wrong; 4 it was inconclusive in every attempt.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.gate import measure, worktrees
from bench.gate.compare import INCONCLUSIVE, PASSED, RED, Outcome, compare
from bench.gate.verdict import FASTER, SAME, SLOWER, fewest_blocks
from bench.reporting.status import exit_status
from transfer.report.rendering import Table, draw
from transfer.system import hardware, schemas
from transfer.system.errors import UserError

# Appended to a module of one revision: a function, or a method, that goes through its work once more in every so many
# calls. A batch that an engine has started is waited for.
PLANTED = """

from itertools import count as _count


def _planted(work, calls):
    def call(*args, **kwargs):
        if {condition} and next(calls) % {every} == 0:
            found = work(*args, **kwargs)
            if callable(found):
                found()
        return work(*args, **kwargs)

    return call


{function} = _planted({function}, _count(1))
"""


@dataclass(frozen=True)
class Plant:
    """A function that many calls of make one benchmark."""

    module: str
    function: str
    benchmark: str
    condition: str = "True"
    """When it does its work again, an expression in the module."""


PLANTS = [
    Plant("transfer/data/decode.py", "pixels", "decode"),
    Plant("transfer/evaluation/statistics.py", "score", "score"),
]
OPENVINO = Plant("transfer/engines/openvino.py", "OpenVINO.submit", "forward_openvino")
TWO_THREADS = Plant(
    "transfer/engines/eager.py", "Eager.submit", "forward_two_threads", "torch.get_num_threads() > 1"
)
# How often an inconclusive gate is asked again.
ASKED = 3
BUSY = "while True: sum(range(1000))"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A gate run with a known right answer."""

    kind: str
    outcome: Outcome
    seconds: float
    right: bool
    """Whether its answer is true."""

    @property
    def wrong(self) -> bool:
        """Whether its answer is wrong; an inconclusive one is not."""
        return not self.right and self.outcome.status != INCONCLUSIVE

    def described(self) -> str:
        """Describe the exit status, and every verdict but SAME."""
        others = [f"{row.name} {row.verdict}" for row in self.outcome.rows if row.verdict != SAME]
        return ", ".join([f"exit {self.outcome.status}", *others])


def equal(seed: int, **options: Any) -> Trial:
    """Compare a revision with itself: nothing must be flagged."""
    return _trial("equal revisions", lambda o: o.status == PASSED, seed, **options)


def busy(seed: int, **options: Any) -> Trial:
    """Compare a revision with itself while another process keeps a core busy: nothing must be flagged either."""
    with _busy_core():
        return _trial("equal, a core busy", lambda o: o.status == PASSED, seed, **options)


def slower(plants: Sequence[Plant], every: int, seed: int, **options: Any) -> Trial:
    """Add work to the newer revision, one in `every` times as much again: these benchmarks alone must be SLOWER."""
    names = sorted(plant.benchmark for plant in plants)
    return _trial(
        f"{', '.join(names)}: {100 // every} % added",
        lambda o: o.status == RED and sorted(_named(o, SLOWER)) == names,
        seed,
        in_head=plants,
        every=every,
        **options,
    )


def faster(plant: Plant, every: int, seed: int, **options: Any) -> Trial:
    """Remove work, one of `every` + 1 parts: the benchmark must be FASTER."""
    return _trial(
        f"{plant.benchmark}: {100 // (every + 1)} % taken away",
        lambda o: o.status == PASSED and _named(o, FASTER) == [plant.benchmark],
        seed,
        in_base=[plant],
        every=every,
        **options,
    )


def _trial(
    kind: str,
    is_right: Any,
    seed: int,
    *,
    in_base: Sequence[Plant] = (),
    in_head: Sequence[Plant] = (),
    every: int = 1,
    blocks: int = 12,
    only: Sequence[str] = (),
) -> Trial:
    start, revision = time.perf_counter(), worktrees.as_it_is()
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        work = Path(folder)
        with worktrees.tree(revision, work / "base") as base, worktrees.tree(revision, work / "head") as head:
            for tree, plants in ((base, in_base), (head, in_head)):
                for plant in plants:
                    _plant(tree, plant, every)
            outcome = compare(base, head, work, tolerance=0.1, blocks=blocks, seed=seed, only=only)
    seconds = time.perf_counter() - start
    return Trial(kind=kind, outcome=outcome, seconds=seconds, right=is_right(outcome))


def _plant(tree: Path, plant: Plant, every: int) -> None:
    with (tree / plant.module).open("a") as file:
        file.write(PLANTED.format(function=plant.function, condition=plant.condition, every=every))


def _named(outcome: Outcome, verdict: str) -> list[str]:
    return [row.name for row in outcome.rows if row.verdict == verdict]


@contextmanager
def _busy_core() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def quick() -> Iterator[Trial]:
    """Yield the smallest useful test: engines do their work twice, and two of three benchmarks show it."""
    planted = [OPENVINO, TWO_THREADS]
    names = [PLANTS[0].benchmark, *(plant.benchmark for plant in planted)]
    yield from _answered(partial(slower, planted, 1, blocks=fewest_blocks(len(names)), only=names))


def thorough(trials: int) -> Iterator[Trial]:
    """Yield trials with a fifth of work added and removed, `trials` with equal revisions, and one on a busy machine."""
    for plant in (*PLANTS, OPENVINO, TWO_THREADS):
        yield from _answered(partial(slower, [plant], 5))
    yield from _answered(partial(faster, PLANTS[0], 4))
    yield from (equal(seed) for seed in range(trials))
    yield busy(0)


def _answered(trial: Callable[[int], Trial]) -> Iterator[Trial]:
    """Yield a trial, and repeat it at another time as long as it is inconclusive."""
    for seed in range(ASKED):
        done = trial(seed)
        yield done
        if done.outcome.status != INCONCLUSIVE:
            break


def main(argv: Sequence[str] | None = None) -> int:
    """Print every trial and whether its answer was right, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate.selftest", description=__doc__)
    parser.add_argument("--trials", type=int, metavar="N", help="of equal revisions, with all benchmarks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial there")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the trials in a file, and make none")
    args = parser.parse_args(argv)
    if args.show:
        trials = schemas.parse(args.show, "self-test", schemas.MAX_BYTES).get("trials")
        if not trials:
            raise UserError(f"{args.show} holds no trials; give a file that --json wrote")
        draw(table(trials), Console())
        return PASSED
    if args.trials is not None and args.trials < 1:
        raise UserError(f"--trials is {args.trials}; give a whole number from 1 up")
    done: list[Trial] = []
    for trial in thorough(args.trials) if args.trials else quick():
        done.append(trial)
        print(f"{trial.kind}: {trial.described()}, {trial.seconds:.0f} s", file=sys.stderr, flush=True)
        if args.json:
            kept = {"environment": hardware.describe(), "trials": [recorded(trial) for trial in done]}
            args.json.write_text(json.dumps(kept, indent=1) + "\n")
    draw(table([recorded(trial) for trial in done]), Console())
    if any(trial.wrong for trial in done):
        return RED
    unanswered = {trial.kind for trial in done} - {trial.kind for trial in done if trial.right}
    return INCONCLUSIVE if unanswered else PASSED


def recorded(trial: Trial) -> dict[str, Any]:
    """Convert a trial for a file: ratios with their intervals, and the verdicts."""
    outcome = trial.outcome
    return {
        "kind": trial.kind,
        "status": outcome.status,
        "wrong": trial.wrong,
        "seconds": trial.seconds,
        "rows": {
            row.name: {
                "low": row.ratio.low,
                "median": row.ratio.median,
                "high": row.ratio.high,
                "verdict": row.verdict,
                "blocks": [
                    [round(math.exp(d), 4) for d in measure.logs(stage[row.name])]
                    for stage in outcome.stages
                    if row.name in stage
                ],
            }
            for row in outcome.rows + outcome.controls
        },
    }


def table(trials: Sequence[dict[str, Any]]) -> Table:
    """Count how often each kind of trial ended how, and list every verdict but SAME."""
    rows = []
    for kind in dict.fromkeys(trial["kind"] for trial in trials):
        own = [trial for trial in trials if trial["kind"] == kind]
        ends = Counter(trial["status"] for trial in own)
        found = Counter(
            f"{name} {row['verdict']}"
            for trial in own
            for name, row in trial["rows"].items()
            if row["verdict"] not in (SAME, "")
        )
        rows.append(
            [
                kind,
                *(str(ends[status]) for status in (PASSED, RED, INCONCLUSIVE)),
                f"{max(trial['seconds'] for trial in own) / 60:.1f} min",
                ", ".join(
                    f"{name} ({count})" if len(own) > 1 else name for name, count in sorted(found.items())
                ),
                "WRONG" if any(trial["wrong"] for trial in own) else "right",
            ]
        )
    columns = ["revisions", " passed", " red", " inconclusive", " longest", "not SAME (runs)", "answer"]
    return Table("The gate, where the right answer is known", columns, rows)


if __name__ == "__main__":
    sys.exit(exit_status(main))
