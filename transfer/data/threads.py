"""Work handed to threads some time before its result is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from operator import length_hint
from typing import TypeVar

from transfer.system.hardware import usable_cores
from transfer.system.thread_pools import StartedPool

# Threads that wait for files at once: of a mount or a server each answer takes milliseconds, of a disk next to nothing.
READERS = 16

Item = TypeVar("Item")
Made = TypeVar("Made")


def begin_ahead(
    call: Callable[[Item], Made], items: Iterable[Item], ahead: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[Item, Future[Made]]]:
    """Yield each item and the future of what `call` makes of it, `ahead` of them begun before they are asked for."""
    upcoming = iter(items)
    queue: deque[tuple[Item, Future[Made]]] = deque()
    while True:
        queue.extend((item, pool.submit(call, item)) for item in islice(upcoming, ahead - len(queue)))
        if not queue:
            return
        yield queue.popleft()


def readers(items: Iterable[object]) -> StartedPool:
    """Start threads that wait for files, or for the threads that make something of their bytes: at most one an item."""
    most = READERS + usable_cores()
    return StartedPool(max(1, min(most, length_hint(items, most))))


def in_parts(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    """Yield items in lists of so many."""
    upcoming = iter(items)
    return iter(lambda: list(islice(upcoming, count)), [])
