from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from transfer.system import files
from transfer.system.errors import UserError


def unreadable(tmp_path: Path, kind: str) -> Path:
    """Something that a name may lead to and that is no file."""
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    return Path("/dev/zero") if kind == "device" else path


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device", "gone"])
def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    path = unreadable(tmp_path, kind)
    for call in (files.open_file, files.file_sha256, lambda path: files.read(path, 10)):
        with pytest.raises(OSError, match=".") as error:
            call(path)  # a pipe without a writer would be waited for, a device read without end
        assert error.value.strerror


def test_a_file_longer_than_it_may_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        files.read(path, 4)
    with path.open("wb") as file:
        file.truncate(10**12)  # nothing of it is on disk
    with pytest.raises(OSError, match="larger than 1,000 bytes"):
        files.read(path, 1000)


@pytest.mark.parametrize("size", [0, 1, 1000])
@pytest.mark.parametrize("reported", [None, 0], ids=["size known", "size not reported"])
def test_a_read_asks_for_no_more_than_the_file_holds(
    tmp_path: Path, size: int, reported: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    asked: list[int] = []
    real = files.open_file

    def opened(path: Path) -> Any:
        file = real(path)

        class Counted:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def fileno(self) -> int:
                return file.fileno()

            def read(self, count: int) -> bytes:
                asked.append(count)
                return file.read(count)

        return Counted()

    monkeypatch.setattr(files, "open_file", opened)
    if reported is not None:
        monkeypatch.setattr(
            files.os, "fstat", lambda _: SimpleNamespace(st_size=reported, st_mode=stat.S_IFREG)
        )
    assert files.read(path, 100_000) == b"x" * size
    assert asked[0] == (size if reported is None else reported) + 1
    assert len(asked) == 1 or reported is not None


@pytest.mark.parametrize("where", ["no/such/folder", "file/below"])
def test_what_can_not_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write .*; what was done before is kept"):
        files.write(tmp_path / where / "name", b"data")


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, b"a longer text")
    files.write(path, b"text")
    assert path.read_bytes() == b"text"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("record", [{}, {"a": 1.5, "b": ["x", None]}, {"name": "caf\u00e9 \udcff\n"}])
def test_what_was_sealed_comes_back(record: dict[str, object]) -> None:
    assert files.unseal(files.seal(record)) == record


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"7", b"\xff", b"[" * 100_000, b'{"checksum": 1}', b'{"checksum": "", "a": 1e999}'],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_seal_is_reported(data: bytes) -> None:
    with pytest.raises(ValueError, match="not readable|not what was written"):
        files.unseal(data)


def test_a_want_of_memory_breaks_no_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise MemoryError

    data = files.seal({"a": 1})
    monkeypatch.setattr(files.json, "loads", fails)
    with pytest.raises(MemoryError):
        files.unseal(data)


def test_every_other_byte_breaks_the_seal() -> None:
    data = files.seal({"ids": ["0a"], "seconds": 1.5, "made_on": "here"})
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(ValueError, match="not readable|not what was written"):
            files.unseal(bytes(changed))


def test_a_folder_that_is_deleted_while_it_is_listed_has_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert [path.name for path in files.list_matching(tmp_path)] == ["a", "b"]
    real = os.scandir

    def after_a_deletion(path: Path) -> object:
        for name in "ab":
            (tmp_path / name).unlink()
        tmp_path.rmdir()
        return real(path)

    monkeypatch.setattr(os, "scandir", after_a_deletion)
    assert files.list_matching(tmp_path) == []


def test_unfinished_files_of_a_day_ago_are_abandoned(tmp_path: Path) -> None:
    new, old = (tmp_path / f".{name}.npy.{'0' * 32}.tmp" for name in "ab")
    others = tmp_path / "c.npy", tmp_path / ".mine.tmp"
    for path in (new, old, *others):
        path.touch()
    yesterday = new.stat().st_mtime - files.ABANDONED_S - 1
    for path in (old, *others):
        os.utime(path, (yesterday, yesterday))
    assert files.list_abandoned(tmp_path) == [old]
    assert not files.is_abandoned(tmp_path / "gone")
