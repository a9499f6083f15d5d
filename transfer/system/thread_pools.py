"""Pools of threads that run before memory can become short, and drop their work on an error."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

# Of addresses: 8 MiB of stack by default, and what allocators reserve for a thread.
BYTES_EACH = 10 << 20


class StartedPool(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose threads all run when it is returned.

    `threading.Thread.start` waits forever if the new thread fails for lack of memory while it starts
    (https://github.com/python/cpython/issues/140746), as happens where threads are started one by one while others
    decode large images. Here all are started at once, after a check that there is memory for them. Where an
    error or an interrupt ends a `with` block, work that has not begun is dropped; other work is waited for.

    Parameters
    ----------
    threads : int
        Number of threads, 1 or more.
    initializer : callable, optional
        Called once in each thread.
    initargs : tuple, optional
        Its arguments.

    Raises
    ------
    MemoryError
        If there is too little memory to start them.
    """

    def __init__(
        self,
        threads: int,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(threads, initializer=initializer, initargs=initargs)
        try:
            # A private mapping, like a stack: all limits count it, and no allocator has it left over.
            mmap.mmap(-1, threads * BYTES_EACH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError as error:
            raise MemoryError(f"too little memory to start {threads} threads") from error
        gate = threading.Event()
        try:
            for _ in range(threads):  # one that waits is not idle, so that each of these starts another
                self.submit(gate.wait)
        finally:
            gate.set()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> Literal[False]:
        self.shutdown(cancel_futures=kind is not None)
        return False
