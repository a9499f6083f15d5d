"""Ctrl-C, SIGTERM and a closed terminal: a command ends in order, or at once if that takes too long."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130  # the exit status
INTERRUPTED_MESSAGE = "interrupted; a run or an extraction resumes when started again"
# Libraries come back from a fit or a compilation when they are done, and threads are waited for. What is kept is
# kept whole at any moment, so nothing is lost by not waiting longer.
GRACE_S = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_at_end: list[Callable[[], None]] = []


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn a signal during the block, which runs in the main thread, into `KeyboardInterrupt`.

    If the block has not ended `GRACE_S` later, the process ends with one line and status 130. An error that a library
    made of the `KeyboardInterrupt` is turned back into one when it leaves the block. A signal that the process was
    started to ignore stays ignored: a shell starts background jobs of a script so, and Ctrl-C is not meant for them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watched, woken = socket.socketpair()
    woken.setblocking(False)
    ended, stopped = threading.Event(), threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # a second one would break into what the first set off
        stopped.set()
        raise KeyboardInterrupt

    watcher = threading.Thread(target=_watch, args=(watched, ended), daemon=True)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
    # Python calls handlers when the main thread comes back to it. This one is written to at once.
    descriptor = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, stop)
    watcher.start()
    try:
        yield
    except Exception as error:
        if stopped.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
        woken.close()  # ends the watcher
        watcher.join()
        watched.close()


@contextmanager
def at_end(call: Callable[[], None]) -> Iterator[None]:
    """Call a function before a process ends because it took too long to stop in the block.

    Parameters
    ----------
    call : callable
        Called without arguments, from another thread.
    """
    _at_end.append(call)
    try:
        yield
    finally:
        _at_end.remove(call)


def _watch(watched: socket.socket, ended: threading.Event) -> None:
    while received := watched.recv(1):
        if received[0] in SIGNALS:
            break
    else:
        return
    if ended.wait(GRACE_S):
        return
    for call in reversed(_at_end):
        with suppress(Exception):
            call()
    with suppress(OSError):
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2, f"transfer: {INTERRUPTED_MESSAGE}\n".encode()
        )
    os._exit(INTERRUPTED)
