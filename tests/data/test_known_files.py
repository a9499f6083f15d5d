import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transfer.data import known_files
from transfer.data.known_files import RESOLUTION_NS, Header, KnownFiles, stamp

HEADER = Header(bytes(range(32)), 240, 800, 0, is_heif=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ünï.png"
    path.write_bytes(b"some pixels")
    return path


@pytest.fixture
def known(tmp_path: Path) -> KnownFiles:
    return KnownFiles(tmp_path / "store" / "known-files.sqlite")


def later() -> int:
    """Return a time at which files made now have settled."""
    return time.time_ns() + 2 * RESOLUTION_NS


def keep(known: KnownFiles, path: Path, header: Header = HEADER, began_ns: int | None = None) -> None:
    known.keep(path.parent, [(path.name, stamp(path), header)], later() if began_ns is None else began_ns)


def find(known: KnownFiles, *paths: Path) -> list[Header | None]:
    return known.find(paths[0].parent, [path.name for path in paths])


def test_a_file_is_known_after_it_was_kept(known: KnownFiles, file: Path) -> None:
    assert find(known, file) == [None]
    keep(known, file)
    assert find(known, file.with_name("other"), file) == [None, HEADER]
    assert find(KnownFiles(known.path), file) == [HEADER]


def test_a_relative_path_is_known_as_the_absolute_one(
    known: KnownFiles, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(known, file)
    monkeypatch.chdir(file.parent)
    assert known.find(Path(), [file.name]) == [HEADER]


@pytest.mark.parametrize("change", ["contents", "times", "inode", "gone"])
def test_a_file_that_changed_is_not_known(known: KnownFiles, file: Path, change: str) -> None:
    keep(known, file)
    before = file.stat()
    if change == "contents":
        file.write_bytes(b"other pixels")
    elif change == "times":  # as `touch -d` does
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns - 1))
    elif change == "inode":  # a file of the same size and time in its place
        other = file.with_name("other")
        other.write_bytes(b"same length")
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(file)
    else:
        file.unlink()
    assert find(known, file) == [None]


def test_a_file_that_was_just_written_is_not_kept(known: KnownFiles, file: Path) -> None:
    keep(known, file, began_ns=time.time_ns())
    assert find(known, file) == [None]


def test_a_file_in_a_container_is_not_kept(known: KnownFiles, file: Path) -> None:
    keep(known, file / "1.png")
    assert known.find(file.parent, [f"{file.name}/1.png"]) == [None]


def test_with_rehash_nothing_is_known_and_all_is_kept(known: KnownFiles, file: Path) -> None:
    again = KnownFiles(known.path, rehash=True)
    keep(again, file)
    assert find(again, file) == [None]
    assert find(known, file) == [HEADER]


def test_more_files_than_a_query_takes(known: KnownFiles, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(known_files.PATHS_A_QUERY + 5)]
    for path in paths:
        path.touch()
    known.keep(
        tmp_path,
        [(path.name, stamp(path), HEADER._replace(width=i)) for i, path in enumerate(paths)],
        later(),
    )
    assert [header.width for header in find(known, *paths) if header] == list(range(len(paths)))


@pytest.mark.parametrize("damage", [b"no database", b"", "truncated"])
def test_a_damaged_database_knows_nothing_and_is_made_again(
    known: KnownFiles, file: Path, damage: bytes | str
) -> None:
    keep(known, file)
    assert known.path is not None
    whole = known.path.read_bytes()
    known.path.write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    assert find(known, file) == [None]
    keep(known, file)
    keep(known, file)
    assert find(known, file) == [HEADER]


def test_a_row_that_is_not_what_was_written_is_not_known(known: KnownFiles, file: Path) -> None:
    keep(known, file)
    assert known.path is not None
    with sqlite3.connect(known.path) as database:
        row = database.execute("select row from files").fetchone()[0]
        for i in (0, 40, len(row) - 1):
            damaged = row[:i] + bytes([row[i] ^ 1]) + row[i + 1 :]
            database.execute("update files set row = ?", (damaged,))
            database.commit()
            assert find(known, file) == [None]
        database.execute("update files set row = 'text'")
    assert find(known, file) == [None]
    database.close()


def test_another_version_is_made_again(
    known: KnownFiles, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(known, file)
    monkeypatch.setattr(known_files, "VERSION", known_files.VERSION + 1)
    assert find(known, file) == [None]
    keep(known, file)
    assert find(known, file) == [HEADER]


def test_while_another_process_writes_files_are_read(
    known: KnownFiles, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "TIMEOUT_S", 0.01)
    keep(known, file)
    assert known.path is not None
    other = sqlite3.connect(known.path, isolation_level=None)
    other.execute("begin exclusive")
    assert find(known, file) == [None]
    keep(known, file)
    other.execute("rollback")
    other.close()
    assert find(known, file) == [HEADER]


def test_of_processes_that_begin_at_once_each_keeps_its_files(known: KnownFiles, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(16)]
    for path in paths:
        path.touch()
    with ThreadPoolExecutor(len(paths)) as pool:  # connections of their own, as processes have
        list(pool.map(lambda path: keep(known, path), paths))
    assert find(known, *paths) == [HEADER] * len(paths)


def test_without_a_place_nothing_is_kept(file: Path) -> None:
    nowhere = KnownFiles()
    keep(nowhere, file)
    assert find(nowhere, file) == [None]
    blocked = KnownFiles(file / "known-files.sqlite")
    keep(blocked, file)
    assert find(blocked, file) == [None]
