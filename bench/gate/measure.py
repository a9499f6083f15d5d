"""Benchmarks of two trees timed in turns: blocks of two fresh processes that share a core, in random order."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import psutil

from bench.gate.plugin import CORE, ONCE, PARTS, TURNS
from transfer.system.errors import UserError

SUITE, PLUGIN = Path("bench/gate/suite.py"), "bench.gate.plugin"
CONTROL = "control_"
# Without the plugin of Hypothesis, which imports it when a session ends.
PYTEST = "-m", "pytest", "--noconftest", "-p", "no:hypothesispytest"
# What a process of the suite needs of the tree that the benchmarks come from, `transfer` left out.
CARRIED = ("bench", "pyproject.toml")
PROCESS_LIMIT_S = 300
# A process has one thread, whatever library it is of, and the same hashes as any other. Memory that it has freed it
# keeps: whether glibc returns it to the system depends on what else lies in the heap, and what comes next
# is then a third slower (decoding, 14 or 19 ms by the process).
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "OMP_WAIT_POLICY": "passive",  # as the command line sets it
    "PYTHONHASHSEED": "0",
    "MALLOC_MMAP_THRESHOLD_": str(10**9),
    "MALLOC_TRIM_THRESHOLD_": str(10**9),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
IDLE_FOR_S = 0.2
TIMES = "times.json"

Medians = dict[str, float]
Pairs = list[tuple[float, float]]
OnBlock = Callable[[int], None]
_PREFIX = "bench_"


class Failed(Exception):
    """Benchmarks that ran on a tree once and then failed."""

    def __init__(self, tree: Path, names: Collection[str], output: str) -> None:
        super().__init__(f"{', '.join(sorted(names))} ran on {tree.name} and then failed")
        self.tree, self.names, self.output = tree, sorted(names), output


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The newer revision's benchmarks, run on either revision's `transfer`."""

    suite: Path
    """A folder with `bench/` and the settings of pytest, and without `transfer/`."""
    inputs: Path

    @classmethod
    def of(cls, tree: Path, work: Path) -> Bench:
        """Take the benchmarks of a tree, with their inputs made in `work`."""
        suite, inputs = work / "suite", work / "inputs"
        shutil.copytree(tree / CARRIED[0], suite / CARRIED[0])
        shutil.copy(tree / CARRIED[1], suite / CARRIED[1])
        code, output = _ended(_python(["-m", "bench.gate.fixtures", str(inputs)], suite, tree, inputs))
        if code:
            raise UserError(f"what the benchmarks work on can't be made: {_last_line(output)}")
        return cls(suite=suite, inputs=inputs)

    def names(self) -> set[str]:
        """Return the names of all benchmarks, whether or not they run."""
        return names(self.suite, self.inputs)

    def tried(self, tree: Path, names: Collection[str]) -> tuple[set[str], str]:
        """Return those of `names` that run with `transfer` of `tree`, and pytest's output about the others."""
        code = "import transfer; print(transfer.__file__)"
        _, output = _ended(_python(["-c", code], self.suite, tree, self.inputs))
        # Were another one imported, all that is measured would be of the wrong revision.
        if Path(_last_line(output)).resolve() != (tree / "transfer/__init__.py").resolve():
            raise UserError(f"{tree.name}: its own transfer can't be imported: {_last_line(output)}")
        out = self.inputs / "tried"
        _, output = _ended(self._begun(tree, names, out, {ONCE: "1"}))
        return set(_medians(out, parts=1)), output

    def blocks(
        self, base: Path, head: Path, names: Collection[str], *, n: int, seed: int, progress: OnBlock
    ) -> dict[str, Pairs]:
        """Return the seconds (base, head) of benchmarks, one pair for each of `n` blocks.

        Half of the blocks begin with the base, in random order: the first process is slower after idle time.
        Raises `Failed` for a benchmark that does not run.
        """
        orders = [(base, head), (head, base)] * n
        orders = random.Random(seed).sample(orders[: n + n % 2], n)
        pairs: dict[str, Pairs] = {name: [] for name in names}
        for done, order in enumerate(orders):
            progress(done)
            medians = self._block(order, names)
            for name in names:
                pairs[name].append((medians[base][name], medians[head][name]))
        progress(n)
        return pairs

    def _block(self, order: tuple[Path, Path], names: Collection[str]) -> dict[Path, Medians]:
        """Return medians by tree, of two processes; the first of them begins with every part of every benchmark."""
        ends = [os.pipe() for _ in order]
        core = _idlest_core()
        try:
            processes = []
            for i, tree in enumerate(order):
                turns = ends[i][0], ends[1 - i][1]
                environment = {
                    TURNS: ",".join(map(str, turns)),
                    **({} if core is None else {CORE: str(core)}),
                }
                processes.append(self._begun(tree, names, self.inputs / str(i), environment, turns))
        finally:
            os.write(ends[0][1], b".")
            # Theirs alone from now on: one that ends is no longer waited for.
            for descriptor in chain.from_iterable(ends):
                os.close(descriptor)
        with ThreadPoolExecutor(len(processes)) as pool:  # a process whose output is not read may block
            try:
                outputs = [output for _, output in pool.map(_ended, processes)]
            except BaseException:  # an interrupt
                for process in processes:
                    process.kill()
                raise
        medians = {}
        for i, tree in enumerate(order):
            medians[tree] = _medians(self.inputs / str(i))
            if lost := set(names) - medians[tree].keys():
                raise Failed(tree, lost, outputs[i])
        return medians

    def _begun(
        self,
        tree: Path,
        names: Collection[str],
        out: Path,
        environment: Mapping[str, str] = MappingProxyType({}),
        descriptors: Collection[int] = (),
    ) -> subprocess.Popen[str]:
        """Start a process with the suite on a tree; `_medians(out)` are its results when it has ended."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        chosen = [f"{SUITE}::{_PREFIX}{name}" for name in spread(names)]
        words = [
            *PYTEST, "-p", PLUGIN, "--quiet", "--tb=short", "--benchmark-quiet",
            "--benchmark-disable-gc", f"--benchmark-json={out / TIMES}", f"--basetemp={out / 'tmp'}", *chosen,
        ]  # fmt: skip
        return _python(words, self.suite, tree, self.inputs, environment, descriptors)


def _medians(out: Path, *, parts: int = PARTS) -> Medians:
    """Return the medians of the rounds of a process, in seconds, of the benchmarks that ran in all parts."""
    try:
        found = json.loads((out / TIMES).read_text())["benchmarks"]
    except (OSError, ValueError):  # nothing ran
        return {}
    rounds: dict[str, list[list[float]]] = defaultdict(list)
    for part in found:
        rounds[_name(part["name"])].append(part["stats"]["data"])
    return {
        name: statistics.median(chain.from_iterable(own)) for name, own in rounds.items() if len(own) == parts
    }


def names(root: Path, inputs: Path) -> set[str]:
    """Return the benchmarks in the suite of a tree; empty if it has no suite."""
    if not (root / SUITE).exists():
        return set()
    words = [*PYTEST, "--collect-only", "--quiet", str(SUITE)]
    code, output = _ended(_python(words, root, root, inputs))
    if code:
        raise UserError(f"the suite can't be collected: {_last_line(output)}")
    return {_name(line.rsplit("::", 1)[1]) for line in output.splitlines() if "::" in line}


def spread(names: Collection[str]) -> list[str]:
    """Order the benchmarks with the controls at even distances, so that any disturbance affects them too."""
    timed = sorted(name for name in names if not name.startswith(CONTROL))
    controls = sorted(set(names) - set(timed))
    places = {name: float(i) for i, name in enumerate(timed)}
    places |= {name: i * len(timed) / max(1, len(controls) - 1) - 0.5 for i, name in enumerate(controls)}
    return sorted(names, key=lambda name: (places[name], name))


def logs(pairs: Pairs) -> list[float]:
    """Return d of each block: the logarithm of head's time over base's."""
    return [math.log(head / base) for base, head in pairs]


def _python(
    words: Sequence[str],
    suite: Path,
    tree: Path,
    inputs: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
    descriptors: Collection[int] = (),
) -> subprocess.Popen[str]:
    """Start Python with `transfer` of a tree and the suite of a folder."""
    paths = os.pathsep.join((str(suite), str(tree)))
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=suite,
        env={**os.environ, **ENVIRONMENT, **environment, "PYTHONPATH": paths, "GATE_INPUTS": str(inputs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=descriptors,
    )


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its exit status and output."""
    with process:
        try:
            output, _ = process.communicate(timeout=PROCESS_LIMIT_S)
        except BaseException as error:
            process.kill()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return 1, f"not done after {PROCESS_LIMIT_S} s"
    return process.returncode, output


def _idlest_core() -> int | None:
    """Return the least busy core; None if that can't be found out. Other processes use the others."""
    own = psutil.Process()
    if not hasattr(own, "cpu_affinity"):  # macOS
        return None
    allowed = own.cpu_affinity()
    load = psutil.cpu_percent(IDLE_FOR_S, percpu=True)
    # Where some cores are offline or hidden, loads are not in the order of the cores' numbers.
    return min(allowed, key=load.__getitem__) if max(allowed) < len(load) == psutil.cpu_count() else None


def _name(function: str) -> str:
    return function.removeprefix(_PREFIX)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word of why"])[-1]
