"""The timing suite in what time is left, and the record that `make results` files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import partial

from bench.gpu.part import Part, Row
from bench.gpu.runs import ROOT
from bench.reporting import record
from transfer.system import files
from transfer.system.run_files import RESULT
from transfer.system.timer import now

# No others, whatever is installed there.
PLUGINS = ("-p", "pytest_benchmark.plugin", "-p", "bench.gpu.unchecked")
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
TIMES, RECORD = "benchmarks.json", "record.json"
# Seconds for what comes after the benchmarks; pytest gets half of them to write what it has once it is interrupted.
ENDING_S = 20


def measure(part: Part) -> None:
    """Run the benchmarks on CUDA; a rehearsal runs few of them once."""
    part.run("the timing suite", partial(suite, part))
    part.run("the record of make bench", partial(recorded, part))


def suite(part: Part) -> Iterable[Row]:
    """Run pytest until the time is up: interrupted, it writes what it has."""
    chosen = (
        ["bench/bench_heads.py", "-k", "search and knn", "--profile", "quick"]
        if part.small
        else ["bench", "-k", "cuda", "--profile", "fast"]
    )
    # Written as a whole when pytest ends; in the shared folder until then.
    times = part.work / TIMES
    words = [sys.executable, "-m", "pytest", *PLUGINS, *chosen, "-q"]
    words += ["--benchmark-quiet", f"--benchmark-json={times}"]
    start = now()
    with (part.work / "suite.txt").open("wb") as said:
        process = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, **ALONE}, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            process.wait(max(1.0, part.left_s - ENDING_S))
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_S / 2)
        finally:
            process.kill()
            process.wait()
    if not times.exists():
        lines = (part.work / "suite.txt").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"pytest wrote no times; its last line: {lines[-1] if lines else 'none'}")
    found = json.loads(times.read_bytes())
    files.write(part.out / TIMES, times.read_bytes())
    yield {
        "operation": "suite",
        "way": "pytest bench",
        "seconds": [now() - start],
        "benchmarks": len(found["benchmarks"]),
        "ended": ended,
    }


def recorded(part: Part) -> Iterable[Row]:
    """Make the record of the run and the suite."""
    start = now()
    made = record.make_record(part.out / RESULT, part.out / TIMES)
    files.write(part.out / RECORD, made.to_json().encode())
    yield {
        "operation": "record",
        "way": made.machine,
        "benchmarks": len(made.benchmarks),
        "seconds": [now() - start],
    }
