"""Benchmarks of two trees timed by turns: blocks of two fresh processes in random order, on one core."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from transfer.config import UserError

SUITE = Path("bench/gate/suite.py")
# What a process of the suite needs of the tree that the benchmarks come from, `transfer` left out.
CARRIED = ("bench", "pyproject.toml")
PROCESS_LIMIT_S = 300
IDLE_FOR_S = 0.2

Medians = dict[str, float]
Pairs = list[tuple[float, float]]
Told = Callable[[int], None]
_PREFIX = "bench_"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The newer revision's benchmarks, run on either revision's `transfer`."""

    suite: Path
    """A folder with `bench/` and the settings of pytest, and without `transfer/`."""
    inputs: Path

    @classmethod
    def of(cls, tree: Path, work: Path) -> Bench:
        """Those of a tree, with what they work on made in `work`."""
        suite, inputs = work / "suite", work / "inputs"
        shutil.copytree(tree / CARRIED[0], suite / CARRIED[0])
        shutil.copy(tree / CARRIED[1], suite / CARRIED[1])
        bench = cls(suite=suite, inputs=inputs)
        made = bench._process(tree, "-m", "bench.gate.inputs", str(inputs))
        if made.returncode:
            raise UserError(f"what the benchmarks work on can't be made: {_last_line(made.stdout)}")
        return bench

    def names(self) -> set[str]:
        """All benchmarks, whether or not they run."""
        return names(self.suite, self.inputs)

    def tried(self, tree: Path, names: Collection[str]) -> tuple[set[str], str]:
        """Those of `names` that run with `transfer` of `tree`, and what pytest says of the others."""
        self._check_imported(tree)
        medians, told = self._timed(tree, names, "--tb=short")
        return set(medians), told

    def blocks(
        self, base: Path, head: Path, names: Collection[str], *, n: int, seed: int, told: Told
    ) -> dict[str, Pairs]:
        """Seconds (base, head) of benchmarks, one pair for each of `n` blocks.

        Half of the blocks begin with the base, in random order: whoever goes first pays for what lay idle before.
        """
        orders = [(base, head), (head, base)] * n
        orders = random.Random(seed).sample(orders[: n + n % 2], n)
        pairs: dict[str, Pairs] = {name: [] for name in names}
        for done, order in enumerate(orders):
            told(done)
            with _on_idlest_core():
                medians = {tree: self._medians(tree, names) for tree in order}
            for name in names:
                pairs[name].append((medians[base][name], medians[head][name]))
        told(n)
        return pairs

    def _medians(self, tree: Path, names: Collection[str]) -> Medians:
        medians, told = self._timed(tree, names)
        if medians.keys() != set(names):
            lost = ", ".join(sorted(set(names) - medians.keys()))
            raise UserError(f"{lost}: ran once, and failed then. {_last_line(told)}")
        return medians

    def _timed(self, tree: Path, names: Collection[str], *options: str) -> tuple[Medians, str]:
        """Medians of the rounds of a process, in seconds, and what pytest said."""
        out = self.inputs / "times.json"
        out.unlink(missing_ok=True)
        chosen = [f"{SUITE}::{_PREFIX}{name}" for name in sorted(names)]
        done = self._process(
            tree, "-m", "pytest", "--noconftest", "--quiet", "--benchmark-quiet", "--benchmark-disable-gc",
            f"--benchmark-json={out}", f"--basetemp={self.inputs / 'tmp'}", *options, *chosen,
        )  # fmt: skip
        try:
            found = json.loads(out.read_text())["benchmarks"]
        except (OSError, ValueError):  # a suite that can't be imported, or of which nothing ran
            return {}, done.stdout
        return {_name(b["name"]): statistics.median(b["stats"]["data"]) for b in found}, done.stdout

    def _check_imported(self, tree: Path) -> None:
        """Raise where `transfer` comes from elsewhere: all that is measured would be of the wrong revision."""
        done = self._process(tree, "-c", "import transfer; print(transfer.__file__)")
        if Path(_last_line(done.stdout)).resolve() != (tree / "transfer/__init__.py").resolve():
            raise UserError(f"{tree.name}: its own transfer can't be imported: {_last_line(done.stdout)}")

    def _process(self, tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Python with `transfer` of `tree` and this suite, one thread, on whichever core it was given."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        paths = os.pathsep.join((str(self.suite), str(tree)))
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.suite,
            env={**os.environ, **threads, "PYTHONPATH": paths, "GATE_INPUTS": str(self.inputs)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PROCESS_LIMIT_S,
            check=False,
        )


def names(root: Path, inputs: Path) -> set[str]:
    """The benchmarks that the suite of a tree has; none where it has no suite."""
    if not (root / SUITE).exists():
        return set()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--noconftest", "--collect-only", "--quiet", str(SUITE)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "GATE_INPUTS": str(inputs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise UserError(f"the suite can't be collected: {_last_line(done.stdout)}")
    return {_name(line.rsplit("::", 1)[1]) for line in done.stdout.splitlines() if "::" in line}


def logs(pairs: Pairs) -> list[float]:
    """d of each block: the logarithm of head's time over base's."""
    return [math.log(head / base) for base, head in pairs]


@contextmanager
def _on_idlest_core() -> Iterator[None]:
    """Keep this process, and those it starts, on the core that has least to do.

    Both processes of a block then have the same core, and what else runs has the others.
    """
    own = psutil.Process()
    if not hasattr(own, "cpu_affinity"):  # macOS
        yield
        return
    allowed = own.cpu_affinity()
    load = psutil.cpu_percent(IDLE_FOR_S, percpu=True)
    own.cpu_affinity([min(allowed, key=load.__getitem__)])
    try:
        yield
    finally:
        own.cpu_affinity(allowed)


def _name(function: str) -> str:
    return function.removeprefix(_PREFIX)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word of why"])[-1]
