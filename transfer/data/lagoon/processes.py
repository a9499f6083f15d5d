"""Processes that draw files of the built-in image set, one for each core.

Much of a picture is drawn by short calls, between which threads of one process wait for each other. Processes are
started as commands: `multiprocessing` would run a user's script once more in each of them.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.thread_pools import StartedPool

Job = tuple[Path, str, tuple[int, ...]]  # a file, its class, and the seed sequence of its random numbers
Worker = tuple[subprocess.Popen[bytes], Lock]  # the lock of whoever reads from it
Save = Callable[[Path, str, tuple[int, ...]], None]
Encode = Callable[[str, tuple[int, ...]], memoryview]

COMMAND = "from transfer.data.lagoon import encode, processes; processes.work(encode)"
AHEAD = 2  # files that a process has at a time: one that is drawn, and one that waits for the disk
READY = b"ready\n"
# Temporary arrays would go back to the operating system otherwise, and cost page faults again and again; large pages
# have fewer.
MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 28),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def started(n: int, save: Save) -> Iterator[tuple[Save, int]]:
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
        Saves a file. Processes end when the context is left, or when this process ends for whatever reason.
    int
        Number of threads that should call it at a time; 0 if processes can't be started.
    """
    with ExitStack() as stack:
        processes = _start(n, stack) if n > 1 else []
        if not processes:
            yield save, 0
            return
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in [(process, Lock()) for process in processes] * AHEAD:
            free.put(worker)

        def save_elsewhere(path: Path, name: str, key: tuple[int, ...]) -> None:
            worker = free.get()
            try:
                _ask(*worker, (path, name, key))
            finally:
                free.put(worker)

        yield save_elsewhere, n * AHEAD


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


def _ask(process: subprocess.Popen[bytes], reading: Lock, job: Job) -> None:
    """Have a file saved, and raise what went wrong.

    The answer may be that to another thread's file: one file is saved for each either way.
    """
    path, name, key = job
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps([str(path), name, key]).encode() + b"\n")
    with reading:
        answer = _read(process)
    if not answer:
        ended = f"ended early (status {process.wait()}); run again, what was drawn is kept"
        raise UserError(f"a process that draws the built-in images {ended}")
    error = json.loads(answer)
    if error:
        raise UserError(error)


def work(encode: Encode) -> None:
    """Draw and write the files that standard input names, a line of JSON each.

    Each is answered with a line: an error, or null. A file is written while the next one is drawn.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(100_000)  # drawing makes thousands of tuples and few cycles

    def answer(error: str | None) -> None:
        os.write(1, json.dumps(error).encode() + b"\n")  # at once, so that lines of two threads are not mixed

    def write(path: Path, data: memoryview) -> None:
        with answered(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, data)
            answer(None)

    @contextmanager
    def answered(path: Path) -> Iterator[None]:
        try:
            yield
        except UserError as failure:
            answer(str(failure))
        except Exception as failure:
            answer(f"can't draw {path} ({type(failure).__name__}: {failure})")

    with StartedPool(AHEAD - 1) as writers:
        os.write(1, READY)
        for line in sys.stdin:
            path, name, key = json.loads(line)
            with answered(path):
                writers.submit(write, Path(path), encode(name, tuple(key)))
