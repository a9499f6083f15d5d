"""Processes that draw files of the built-in image set, one for each core.

Much of a picture is drawn by short calls, between which threads of one process wait for each other. Processes are
started as commands: `multiprocessing` would run a user's script once more in each of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from transfer.system.errors import UserError

Job = tuple[Path, str, tuple[int, ...]]  # a file, its class, and the seed sequence of its random numbers
Save = Callable[[Path, str, tuple[int, ...]], None]

COMMAND = "from transfer.data.lagoon import processes, save; processes.work(save)"
READY = b"ready\n"
# Temporary arrays would go back to the operating system otherwise, and cost page faults again and again.
MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 28)}
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def started(n: int, save: Save) -> Iterator[Save]:
    """Start processes that each save a file when called on.

    Parameters
    ----------
    n : int
        Number of processes; fewer than two are not started.
    save : callable
        Saves a file in this process: what is returned where processes can't be started.

    Yields
    ------
    callable
        Saves a file; to be called in at most `n` threads at a time. Processes end when the context is left, or when
        this process ends for whatever reason.
    """
    with ExitStack() as stack:
        processes = _start(n, stack) if n > 1 else []
        if not processes:
            yield save
            return
        free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in processes:
            free.put(process)

        def save_elsewhere(path: Path, name: str, key: tuple[int, ...]) -> None:
            process = free.get()
            try:
                _ask(process, (path, name, key))
            finally:
                free.put(process)

        yield save_elsewhere


def _start(n: int, stack: ExitStack) -> list[subprocess.Popen[bytes]]:
    """Start processes; none if one of them does not start, as where Python is part of another program."""
    if not sys.executable or getattr(sys, "frozen", False):
        return []
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    environment = MEMORY | dict(os.environ) | ONE_THREAD | {"PYTHONPATH": paths}
    processes = []
    try:
        for _ in range(n):
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,  # what could not be written to a process that died is not written again
                env=environment,
                process_group=0,  # Ctrl-C reaches this process alone, which then ends the others
            )
            processes.append(stack.enter_context(process))
    except OSError:
        return []
    return processes if all(_read(process) == READY for process in processes) else []


def _read(process: subprocess.Popen[bytes]) -> bytes:
    """Return the next line that a process writes; empty once it has ended."""
    assert process.stdout
    return process.stdout.readline()


def _ask(process: subprocess.Popen[bytes], job: Job) -> None:
    """Have a file saved, and raise what went wrong."""
    path, name, key = job
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps([str(path), name, key]).encode() + b"\n")
    answer = _read(process)
    if not answer:
        ended = f"ended early (status {process.wait()}); run again, what was drawn is kept"
        raise UserError(f"a process that draws the built-in images {ended}")
    error = json.loads(answer)
    if error:
        raise UserError(error)


def work(save: Save) -> None:
    """Save the files that standard input names, a line of JSON each, and answer each with a line: an error, or null."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(READY.decode(), end="", flush=True)
    for line in sys.stdin:
        path, name, key = json.loads(line)
        error = None
        try:
            save(Path(path), name, tuple(key))
        except UserError as failure:
            error = str(failure)
        except Exception as failure:
            error = f"can't draw {path} ({type(failure).__name__}: {failure})"
        print(json.dumps(error), flush=True)
