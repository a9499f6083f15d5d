"""Processes that draw the built-in images: that they end in the same files, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_lagoon import FEW, digest
from transfer.data import lagoon
from transfer.data.lagoon import processes
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Draw few files in two processes; all must have ended, and been waited for, after a test."""
    found: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            found.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Popen)
    monkeypatch.setattr(lagoon, "COUNTS", FEW)
    monkeypatch.setattr(lagoon, "LEAST_EACH", 1)
    monkeypatch.setattr(lagoon, "usable_cores", lambda: 2)
    yield found
    assert all(process.returncode is not None for process in found)


def test_processes_draw_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: list[subprocess.Popen[bytes]]
) -> None:
    calls: list[tuple[int, int]] = []
    one = digest(lagoon.make(tmp_path / "one", on_progress=lambda *now: calls.append(now)))
    assert len(begun) == 2
    assert [process.returncode for process in begun] == [0, 0]
    assert calls == [(i, len(one)) for i in range(len(one) + 1)]
    monkeypatch.setattr(lagoon, "usable_cores", lambda: 1)
    assert digest(lagoon.make(tmp_path / "two")) == one
    assert len(begun) == 2


@pytest.mark.parametrize("executable", ["", "/no/such/python", "/bin/false"])
def test_where_no_process_starts_this_one_draws(
    executable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert len(digest(lagoon.make(tmp_path))) == sum(map(sum, FEW.values()))


def test_an_interrupt_ends_the_processes(tmp_path: Path, begun: list[subprocess.Popen[bytes]]) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        lagoon.make(tmp_path, on_progress=interrupt)
    assert [process.returncode for process in begun] == [0, 0]
    assert threading.active_count() == before


def test_a_process_that_dies_is_one_line(
    tmp_path: Path, begun: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "AHEAD", 1)  # else all files may be drawn when the first is counted

    def kill(done: int, total: int) -> None:
        for process in begun:
            process.kill()

    with pytest.raises(
        UserError, match=r"^a process that draws the built-in images ended early \(status -9\); run again"
    ):
        lagoon.make(tmp_path, on_progress=kill)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / f"lagoon-v{lagoon.VERSION}-seed0"
    root.mkdir()
    (root / "train").write_text("in the way")
    with pytest.raises(UserError, match="train"):
        lagoon.make(tmp_path)


def test_a_file_is_written_while_the_next_is_drawn(tmp_path: Path) -> None:
    code = (
        "import threading\n"
        "from transfer.data.lagoon import processes\n"
        "drawn = threading.Event()\n"
        "def write(path, data):\n"
        "    assert drawn.wait(60)\n"
        "def encode(name, key):\n"
        "    if name == 'next':\n"
        "        drawn.set()\n"
        "    return memoryview(b'')\n"
        "processes.files.write = write\n"
        "processes.work(encode)\n"
    )
    jobs = "".join(json.dumps([str(tmp_path / name), name, [0]]) + "\n" for name in ("first", "next"))
    answers = subprocess.run(
        [sys.executable, "-c", code], input=jobs, capture_output=True, text=True, check=True
    ).stdout
    assert answers == "ready\nnull\nnull\n"


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from transfer.data import lagoon\n"
        "print('run')\n"
        f"lagoon.COUNTS, lagoon.LEAST_EACH = {FEW!r}, 1\n"
        "lagoon.usable_cores = lambda: 2\n"
        f"lagoon.make(Path({str(tmp_path / 'drawn')!r}))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=True
    )
    assert (done.stdout, done.stderr) == ("run\n", "")


def test_processes_import_no_pytorch() -> None:
    code = "import sys; import transfer.data.lagoon; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "sklearn", "scipy", "pandas"} & set(loaded)
