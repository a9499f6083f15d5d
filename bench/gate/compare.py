"""Comparison of two trees in two stages: the second times again what the first flagged."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from bench.gate import measure, verdict
from bench.gate.measure import CONTROL, Bench, Failed, Pairs
from bench.gate.verdict import SLOWER, Ratio
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent

PASSED, RED, INCONCLUSIVE = 0, 1, 4
Stage = Callable[[str, Collection[str], int], dict[str, Pairs]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A benchmark that runs on both revisions."""

    name: str
    base_s: float
    head_s: float
    """Medians over the blocks of the stage that decided."""
    ratio: Ratio
    verdict: str
    """Empty for a control."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a gate run."""

    rows: list[Row]
    controls: list[Row]
    moved: list[str]
    """Controls that moved: something else than the revisions changed while they were timed."""
    missing: list[str]
    """Benchmarks that only the older revision has."""
    failed: list[str]
    """Those that do not run on the newer revision."""
    new: list[str]
    """Those that the older revision's suite lacks; compared if they run on it."""
    uncompared: list[str]
    """Those that its suite has, but that do not run on it in the newer revision's form."""
    pytest_output: str
    """What pytest said of those that do not run."""
    stages: list[dict[str, Pairs]] = field(repr=False)
    """Seconds (base, head) of every block by benchmark, stage by stage."""

    @property
    def status(self) -> int:
        """Exit status."""
        if self.missing or self.failed:  # counted, not timed: no noise can be the reason
            return RED
        if self.moved or not self.rows:
            return INCONCLUSIVE
        return RED if any(row.verdict == SLOWER for row in self.rows) else PASSED


def compare(
    base: Path,
    head: Path,
    work: Path,
    *,
    tolerance: float,
    blocks: int,
    seed: int,
    only: Collection[str] = (),
    progress: Progress = silent,
) -> Outcome:
    """Test whether `head` is slower than `base`, folders with a revision each.

    Parameters
    ----------
    base, head : Path
    work : Path
        Folder for temporary files.
    tolerance : float
        Relative difference that is accepted.
    blocks : int
    seed : int
    only : collection of str
        Benchmarks to run; all if empty.
    progress : Progress

    Returns
    -------
    Outcome

    Raises
    ------
    UserError
        If there are too few blocks to show anything.
    """
    if blocks < verdict.fewest_blocks(1):
        raise UserError(
            f"--blocks is {blocks}; nothing can be shown with fewer than {verdict.fewest_blocks(1)}"
        )
    bench = Bench.of(head, work)
    had, has = measure.names(base, bench.inputs), bench.names()
    if set(only) - had - has:
        unknown, known = sorted(set(only) - had - has), sorted(has)
        raise UserError(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    had, has = _chosen(had, only), _chosen(has, only)
    on_head, head_output = bench.tried(head, has)
    on_base, base_output = bench.tried(base, on_head)
    timed = _timed(on_base)
    if timed and blocks < verdict.fewest_blocks(len(timed)):
        raise UserError(
            f"--blocks is {blocks}; of {len(timed)} benchmarks nothing can be shown "
            f"with fewer than {verdict.fewest_blocks(len(timed))}"
        )

    def stage(phase: str, names: Collection[str], seed: int) -> dict[str, Pairs]:
        return bench.blocks(
            base,
            head,
            names,
            n=blocks,
            seed=seed,
            progress=lambda done: progress(phase, done, blocks, "", "blocks"),
        )

    failed, uncompared, said = has - on_head, (on_head - on_base) & had, [head_output] * (has != on_head)
    try:
        stages = _stages(stage, on_base, seed, tolerance) if timed else []
    except Failed as error:
        stages = []
        (failed if error.tree == head else uncompared).update(error.names)
        said.append(error.output)
    rows = _rows(stages, tolerance) if stages else []
    return Outcome(
        rows=[row for row in rows if row.verdict],
        controls=[row for row in rows if not row.verdict],
        moved=sorted({name for pairs in stages for name in _moved(_ratios(pairs, tolerance))}),
        missing=sorted(had - has),
        failed=sorted(failed),
        new=sorted(_timed(has - had)),
        uncompared=sorted(uncompared),
        pytest_output="\n".join([*said, *([base_output] if on_head != on_base else [])]),
        stages=stages,
    )


def _stages(stage: Stage, names: Collection[str], seed: int, tolerance: float) -> list[dict[str, Pairs]]:
    """Return the times of all, then new ones of what they flag, unless a control moved and made more times useless."""
    pairs = stage("timing", names, seed)
    ratios, timed = _ratios(pairs, tolerance), _timed(names)
    flags = verdict.flag({name: ratios[name] for name in timed})
    if not flags or _moved(ratios):
        return [pairs]
    return [pairs, stage("timing again", flags.keys() | (set(names) - timed), seed + 1)]


def _rows(stages: list[dict[str, Pairs]], tolerance: float) -> list[Row]:
    """Return every benchmark with its verdict, and the controls of the last stage."""
    first, again = _ratios(stages[0], tolerance), _ratios(stages[-1] if stages[1:] else {}, tolerance)
    judged = verdict.judge(
        {name: ratio for name, ratio in first.items() if name in _timed(first)},
        {name: ratio for name, ratio in again.items() if name in _timed(again)},
        tolerance,
    )
    rows = []
    for name in sorted(first):
        base_s, head_s = zip(*(stages[-1] if name in again else stages[0])[name], strict=True)
        ratio, judgement = judged.get(name, (again.get(name, first[name]), ""))
        rows.append(
            Row(
                name=name,
                base_s=statistics.median(base_s),
                head_s=statistics.median(head_s),
                ratio=ratio,
                verdict=judgement,
            )
        )
    return rows


def _chosen(names: set[str], only: Collection[str]) -> set[str]:
    return {name for name in names if not only or name in only or name.startswith(CONTROL)}


def _timed(names: Collection[str]) -> set[str]:
    """Return those of `names` that are not controls."""
    return {name for name in names if not name.startswith(CONTROL)}


def _ratios(pairs: dict[str, Pairs], tolerance: float) -> dict[str, Ratio]:
    return {name: verdict.ratio(measure.logs(own), tolerance) for name, own in pairs.items()}


def _moved(ratios: dict[str, Ratio]) -> list[str]:
    return [name for name, ratio in ratios.items() if name.startswith(CONTROL) and verdict.has_moved(ratio)]
