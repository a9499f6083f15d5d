"""A process that prepares something once and then works on request."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any

# Calls by name, and facts that are sent back once they are ready.
Prepared = tuple[Mapping[str, Callable[[], Any]], Any]


class Worker:
    """A process that prepares calls, and runs one when `call` names it; leaving its `with` block ends it.

    Parameters
    ----------
    prepare
        A function of a module that returns a context manager of calls by name and of facts about them.
    *arguments
        Arguments of `prepare`; must be picklable.

    Attributes
    ----------
    facts
        What `prepare` reported; its calls are ready by then.
    """

    def __init__(self, prepare: Callable[..., AbstractContextManager[Prepared]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(prepare, arguments, other), daemon=True)
        self._process.start()
        other.close()
        self.facts: Any = self._pipe.recv()

    def call(self, name: str) -> Any:
        """Run a call in the process and return what it returns. Raises `EOFError` if the process ended."""
        self._pipe.send(name)
        return self._pipe.recv()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # the process is gone already
            self._pipe.send(None)
        self._process.join()


def _serve(
    prepare: Callable[..., AbstractContextManager[Prepared]], arguments: tuple[Any, ...], pipe: Connection
) -> None:
    with prepare(*arguments) as (calls, facts):
        pipe.send(facts)
        while name := pipe.recv():
            pipe.send(calls[name]())
            gc.collect()  # before the next call, outside its time


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
