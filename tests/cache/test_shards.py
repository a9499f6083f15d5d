from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer.cache import shards
from transfer.cache.shards import Damaged, Shard
from transfer.system import files
from transfer.system.content_ids import from_hex

IDS = from_hex([hashlib.sha256(bytes([i])).hexdigest() for i in range(3)])
X = np.arange(15, dtype=np.float32).reshape(3, 5)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return shards.write(tmp_path, IDS, X, 1.5, "here")


def rewrite(shard: Shard, **changes: Any) -> None:
    """A manifest that says something else, and is sealed all the same."""
    before = files.unsealed(shard.manifest.read_bytes())
    shard.manifest.write_bytes(files.sealed({**before, **changes}))


def rows(shard: Shard, x: Any, **options: Any) -> None:
    """Other rows, with their checksum in the manifest."""
    buffer = io.BytesIO()
    np.save(buffer, x, **options)
    shard.rows.write_bytes(buffer.getvalue())
    rewrite(shard, sha256=files.sha256(buffer.getvalue()))


def test_a_shard_comes_back(shard: Shard) -> None:
    found, ids, x = shards.read(shard.manifest)
    assert found == shard
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(found.load(), X)


class Code:
    def __reduce__(self) -> Any:
        return os.mkdir, ("code-ran",)


HOSTILE: dict[str, Callable[[Shard], object]] = {
    "another version": lambda s: rewrite(s, schema_version=1),
    "ids of another length": lambda s: rewrite(s, ids=["ab"] * 3),
    "ids that are none": lambda s: rewrite(s, ids=["x" * 64] * 3),
    "ids that are a number": lambda s: rewrite(s, ids=3),
    "fewer ids": lambda s: rewrite(s, ids=[]),
    "a shape that is none": lambda s: rewrite(s, shape=5),
    "another shape": lambda s: rewrite(s, shape=[5, 3]),
    "seconds that are none": lambda s: rewrite(s, seconds="soon"),
    "endless seconds": lambda s: rewrite(s, seconds=10**400),
    "negative seconds": lambda s: rewrite(s, seconds=-1),
    "something missing": lambda s: s.manifest.write_bytes(files.sealed({"schema_version": 2})),
    "not sealed": lambda s: s.manifest.write_text(json.dumps({"schema_version": 2})),
    "a list": lambda s: s.manifest.write_text("[]"),
    "nested": lambda s: s.manifest.write_text("[" * 1_000_000),
    "endless": lambda s: os.truncate(s.manifest, 10**12),
    "objects": lambda s: rows(s, np.array([Code()] * 3, object), allow_pickle=True),
    "doubles": lambda s: rows(s, X.astype(np.float64)),
    "one dimension": lambda s: (rows(s, X[:, 0]), rewrite(s, shape=[3])),
    "no array": lambda s: (s.rows.write_bytes(b"rows"), rewrite(s, sha256=files.sha256(b"rows"))),
    "rows gone": lambda s: s.rows.unlink(),
    "rows a folder": lambda s: (s.rows.unlink(), s.rows.mkdir()),
    "rows a pipe": lambda s: (s.rows.unlink(), os.mkfifo(s.rows)),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_was_not_written_so_is_damaged_and_nothing_in_it_is_run(
    shard: Shard, change: Callable[[Shard], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shard.manifest.parent)
    change(shard)
    with pytest.raises(Damaged) as error:
        shards.read(shard.manifest)
    assert len(str(error.value).splitlines()) == 1
    assert not Path("code-ran").exists()


def test_a_shard_of_a_newer_version_is_not_damaged(shard: Shard) -> None:
    rewrite(shard, schema_version=files.SCHEMA_VERSION + 1, ids="in another form")
    for read in (shards.read, shards.read_ids):
        with pytest.raises(shards.NewerVersion, match="version 3, where this program writes 2"):
            read(shard.manifest)


def test_an_absurd_shape_in_the_rows_takes_no_memory(shard: Shard) -> None:
    data = shard.rows.read_bytes().replace(b"(3, 5)", b"(3,5" + b"0" * 10 + b")")
    header = int.from_bytes(data[8:10], "little")
    data = data[:10] + data[10 : 10 + header].replace(b"    ", b"", 3).ljust(header) + data[10 + header :]
    shard.rows.write_bytes(data)
    rewrite(shard, sha256=files.sha256(data))
    with pytest.raises(Damaged):
        shards.read(shard.manifest)


def test_a_shard_that_was_merged_is_gone_and_not_damaged(shard: Shard) -> None:
    shards.delete(shard)
    with pytest.raises(FileNotFoundError):
        shards.read(shard.manifest)
    shards.delete(shard)


def test_a_shard_set_aside_counts_no_more_and_can_be_looked_at(shard: Shard) -> None:
    shards.set_aside(shard.manifest)
    assert shards.manifests(shard.manifest.parent) == set()
    assert len(list(shard.manifest.parent.glob(f"*{shards.SET_ASIDE}"))) == 2
    shards.set_aside(shard.manifest)


def test_rows_that_never_got_their_manifest_are_orphans_after_a_day(shard: Shard) -> None:
    folder = shard.manifest.parent
    shard.manifest.unlink()
    assert shards.orphans(folder) == []
    os.utime(shard.rows, (0, 0))
    assert shards.orphans(folder) == [shard.rows]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(24, "Too many open files"),
        OSError(5, "Input/output error"),
    ],
)
def test_a_fault_of_the_moment_is_no_damage(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(path: Path) -> str:
        raise error

    monkeypatch.setattr(files, "file_sha256", fails)
    with pytest.raises(type(error)):
        shards.read(shard.manifest)


def test_a_shard_that_another_machine_deleted_is_gone(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(path: Path) -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(files, "file_sha256", stale)
    with pytest.raises(FileNotFoundError):
        shards.read(shard.manifest)
