"""Processes for trials, forked from one that has imported everything: a cold run takes a fraction of a second."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pyarrow import parquet

from transfer.system.progress import silent

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.trials.imported"])
# Nothing takes a minute, unless other processes use the processor.
LIMIT_S = 300
CLASSES, SIZE = 3, 32
# A status can be read once, and whoever starts a process reads those of all others: threads that did so at the
# same time would get 255 for one that ended well (multiprocessing/popen_forkserver.py, poll).
_TURN = threading.Lock()


def make_images(root: Path, *, each: int, seed: int = 0) -> int:
    """Small PNGs of noise in class folders of train, valid and test; how many there are."""
    rng, made = np.random.default_rng(seed), 0
    for split, count in (("train", 2 * each), ("valid", each), ("test", each)):
        for c in range(CLASSES):
            folder = root / split / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 160, (SIZE, SIZE, 3), np.uint8)
                pixels[..., c] += 60
                Image.fromarray(pixels).save(folder / f"{i}.png")
                made += 1
    return made


def words(folder: Path, store: Path) -> list[str]:
    """The words of a command on the images in a folder."""
    return [
        str(folder / "images"),
        f"--store={store}",
        "--backbone=squeezenet1_1",
        "--weights=random",
        f"--size={SIZE}x{SIZE}",
        "--engine=eager",
        "--precision=fp32",
        "--device=cpu",
        "--quiet",
    ]


def start(call: Callable[..., None], *args: Any) -> BaseProcess:
    """A process that calls `call(*args)` on one core: threads of many at once would wait for each other."""
    process = CONTEXT.Process(target=_on_one_core, args=(call, *args))
    with _TURN:
        process.start()
    return process


def _on_one_core(call: Callable[..., None], *args: Any) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    call(*args)


def status(process: BaseProcess) -> int | None:
    """The exit status of a process, or None while it runs."""
    with _TURN:
        return process.exitcode


def ended(process: BaseProcess, limit_s: float = LIMIT_S) -> int:
    """The exit status of a process, which must come to an end."""
    wait([process.sentinel], limit_s)
    found = status(process)
    if found is None:
        process.kill()
        raise AssertionError(f"a process did not end within {limit_s:.0f} s")
    return found


def complete(call: Callable[..., None], *args: Any) -> None:
    """Run `call(*args)` in a process of its own, which must end well."""
    found = ended(start(call, *args))
    assert found == 0, f"status {found}"


def command(argv: list[str], out: Path, user: int | None = None) -> None:
    """Run a command as a user would; its status, what it said and what it took are in `out`."""
    import resource

    from transfer import cli

    start = time.perf_counter()
    if user is not None:
        os.seteuid(user)
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        status = cli.main(argv)
    if user is not None:
        os.seteuid(0)
    took = {
        "seconds": time.perf_counter() - start,
        "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    out.write_text(json.dumps({"status": status, "stderr": stderr.getvalue(), **took}))
    sys.exit(status)


def stopped(argv: list[str], out: Path, ready: Path) -> None:
    """Run a command that will be stopped: what it says goes to `out` itself, since it may end at any moment."""
    from transfer.cli import commands, entry

    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)  # type: ignore[misc]
    sys.stdout = os.fdopen(1, "w")
    real = commands.run

    def run(args: Any) -> int:
        ready.touch()  # signals are waited for from here on
        return real(args)

    commands.run = run
    entry(argv)


def features(folder: Path, store: Path, out: Path, *, locks: bool = True) -> None:
    """The features of the images in a folder, in `out`.npy, and how they came about, in `out`.json."""
    import fcntl

    from transfer.cli import commands
    from transfer.cli.parser import make_parser
    from transfer.data import dataset
    from transfer.features import extract
    from transfer.features.plan import plan_extraction
    from transfer.system.timer import Stopwatch

    if not locks:
        fcntl.flock = lambda *_: None  # type: ignore[assignment]
    args = make_parser().parse_args(["extract", *words(folder, store)])
    config = commands.read_config(args)
    found = extract.extract(plan_extraction(config), dataset.find(Path(config.data)), Stopwatch(), silent)
    np.save(out.with_suffix(".npy"), np.concatenate([part.x_ND for part in found.splits.values()]))
    counts = {
        "computed": found.extraction.computed,
        "reused": found.extraction.reused,
        "damaged": len(found.extraction.table.damaged),
    }
    out.with_suffix(".json").write_text(json.dumps(counts))


def committed(store: Path) -> set[str]:
    """The ids of all rows that a store has, read without any code of the store."""
    ids: set[str] = set()
    for path in store.glob("features/*/*.parquet"):
        ids |= {one.hex() for one in parquet.read_table(path, columns=["id"])["id"].to_pylist()}
    return ids
