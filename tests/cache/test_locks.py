from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.refusals import refusal
from transfer.cache import locks


def is_unused(path: Path) -> bool:
    with locks.unused(path) as free:
        return free


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_held_is_in_use_until_it_is_let_go(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "entry"
    path.mkdir() if kind == "folder" else path.touch()
    assert is_unused(path)
    first, second = locks.hold(path), locks.hold(path)
    assert first
    assert not is_unused(path)
    del first
    gc.collect()
    assert not is_unused(path)
    del second
    gc.collect()
    assert is_unused(path)


def test_a_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from transfer.cache import locks\n"
        "lock = locks.hold(Path(sys.argv[1])); print(flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    assert not is_unused(tmp_path)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert is_unused(tmp_path)


def test_use_is_marked_by_the_time(tmp_path: Path) -> None:
    os.utime(tmp_path, (0, 0))
    locks.mark(tmp_path)
    locks.mark(tmp_path / "gone")
    assert time.time() - tmp_path.stat().st_mtime < 60


def test_what_is_not_there_is_not_held_and_not_free(tmp_path: Path) -> None:
    assert locks.hold(tmp_path / "gone") is None
    assert not is_unused(tmp_path / "gone")


def test_what_is_being_deleted_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    path.mkdir()
    began = threading.Event()

    def delete() -> None:
        with locks.unused(path) as free:
            assert free
            began.set()
            time.sleep(0.1)
            path.rename(tmp_path / "gone")

    thread = threading.Thread(target=delete)
    thread.start()
    began.wait()
    assert locks.hold(path) is None
    thread.join()


def test_whoever_stopped_on_the_way_of_deleting_is_not_waited_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "DELETED_WITHIN_S", 0.05)
    with locks.unused(tmp_path):
        assert locks.hold(tmp_path)


@pytest.mark.parametrize("how", ["nothing", "refused"])
def test_where_locks_mean_nothing_what_was_used_today_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def flock(*_: object) -> None:
        if how == "refused":
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert locks.hold(tmp_path)
    assert not is_unused(tmp_path)
    before = time.time() - locks.RECENT_S - 1
    os.utime(tmp_path, (before, before))
    assert is_unused(tmp_path)


def test_a_folder_that_is_pruned_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mkdir` finds it there, and gone when it looks whether it is a folder (found by `make soak`)."""
    folder, real, met = tmp_path / "entry", Path.is_dir, []
    folder.mkdir()

    def pruned(self: Path) -> bool:
        if self == folder and not met:
            met.append(folder)
            folder.rmdir()
        return real(self)

    monkeypatch.setattr(Path, "is_dir", pruned)
    assert locks.hold_new(folder)
    assert met == [folder]
    assert folder.is_dir()


def test_a_folder_that_cant_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    message = refusal(locks.make, tmp_path / "file")
    assert message == f"can't make {tmp_path}/file in the store (File exists); name another by `store`"

    def refuse(folder: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "(Permission denied); name another by `store`" in refusal(locks.hold_new, tmp_path / "new")
