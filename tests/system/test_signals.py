from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from transfer.system import signals

# A call that runs for minutes, lets other threads run and does not come back for a signal: what fits and compilers do.
BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
SCRIPT = """
import hashlib, sys, time
from concurrent.futures import ThreadPoolExecutor
from transfer.system import signals as interrupt

with interrupt.at_end(lambda: print("cleared", file=sys.stderr, flush=True)):
    with interrupt.stoppable():
        print(flush=True)
        {work}
"""
WORK = {
    "in a library": BUSY,
    "in a thread that is waited for": f"with ThreadPoolExecutor(1) as pool: pool.submit(lambda: {BUSY}).result()",
}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine so busy that this process gets no processor for a second, it would end."""
    monkeypatch.setattr(signals, "GRACE_S", 60)


@pytest.mark.slow
@pytest.mark.parametrize("number", signals.SIGNALS)
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_work_that_does_not_come_back_is_ended(number: signal.Signals, work: str) -> None:
    code = SCRIPT.format(work=work)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == signals.INTERRUPTED
    assert stderr == f"cleared\ntransfer: {signals.INTERRUPTED_MESSAGE}\n"


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_raises_in_the_block_and_nothing_is_left_of_it(number: signal.Signals) -> None:
    before, threads = [signal.getsignal(each) for each in signals.SIGNALS], threading.active_count()
    with pytest.raises(KeyboardInterrupt), signals.stoppable():
        _signal_and_sleep(number)
    assert [signal.getsignal(each) for each in signals.SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_library_that_makes_an_error_of_its_own_of_it_is_interrupted_all_the_same(
    number: signal.Signals,
) -> None:
    def library() -> None:  # as `torch.asarray` does
        try:
            _signal_and_sleep(number)
        except KeyboardInterrupt:
            raise ValueError("could not determine the shape") from None

    with pytest.raises(KeyboardInterrupt), signals.stoppable():
        library()


def test_an_error_that_no_signal_caused_is_left_as_it_is() -> None:
    with pytest.raises(ValueError, match="shape"), signals.stoppable():
        raise ValueError("shape")


def test_a_second_signal_does_not_break_into_what_the_first_set_off() -> None:
    cleaned = []

    def clean() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), signals.stoppable():
        _signal_and_sleep(signal.SIGTERM, clean)
    assert cleaned


def _signal_and_sleep(number: signal.Signals, finally_: Callable[[], None] = lambda: None) -> None:
    try:
        os.kill(os.getpid(), number)
        time.sleep(10)
    finally:
        finally_()


def test_other_threads_take_no_signals() -> None:
    entered = []

    def enter() -> None:
        with signals.stoppable():
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.slow
@pytest.mark.parametrize("work", ["time.sleep(60)", BUSY], ids=["in order", "at once"])
def test_the_progress_line_is_cleared(work: str) -> None:
    code = f"""
import hashlib, sys, time
from transfer.system import signals as interrupt; from transfer.report import rendering as render

try:
    with interrupt.stoppable(), render.progress(False) as on_progress:
        on_progress("extract", 3, 10)
        print(file=sys.__stdout__, flush=True)
        {work}
except KeyboardInterrupt:
    raise SystemExit(130)
"""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=its, env={**os.environ, "TERM": "xterm"}
    )
    os.close(its)
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    process.stdout.close()
    assert process.wait() == signals.INTERRUPTED
    assert b"extract:" in shown
    after = shown[shown.rindex(b"extract:") :]
    assert b"\x1b[2K" in after  # the line is erased
    assert b"\x1b[?25h" in after  # and the cursor is back


def test_a_signal_that_was_ignored_from_the_start_stays_ignored() -> None:
    """As in `command &` of a script, where the shell starts the command so."""
    code = """
import os, signal
from transfer.system import signals as interrupt

assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
with interrupt.stoppable():
    os.kill(os.getpid(), signal.SIGINT)
    print("went on", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.stdout == "went on\n"
    assert done.stderr.endswith("KeyboardInterrupt\n")
