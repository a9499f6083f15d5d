from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from transfer.cache import shards
from transfer.cache.shards import Damaged, Shard
from transfer.system import files
from transfer.system.content_ids import from_hex
from transfer.system.errors import UserError

DECLARED = {"backbone": "resnet18", "size": [48, 64]}
IDS = from_hex([hashlib.sha256(bytes([i])).hexdigest() for i in range(3)])
X = np.arange(15, dtype=np.float32).reshape(3, 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / files.record_sha256(DECLARED)[:32]
    folder.mkdir()
    return folder


@pytest.fixture
def shard(folder: Path) -> Shard:
    return shards.write(folder, DECLARED, IDS, X, 1.5, "here")


def named(folder: Path, data: bytes) -> Path:
    """A file whose name fits its bytes: whoever may write to a store can do that."""
    path = folder / f"{files.sha256(data)}.parquet"
    path.write_bytes(data)
    return path


def said(path: Path) -> dict[str, Any]:
    """What a file says of itself."""
    return json.loads(parquet.read_metadata(path).metadata[shards.RECORD])


def rewrite(shard: Shard, **changes: Any) -> Path:
    """The same columns, with a record that says something else."""
    buffer, columns = io.BytesIO(), parquet.read_table(shard.path)
    usual = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with parquet.ParquetWriter(buffer, columns.schema, **usual, write_page_checksum=True) as writer:
        writer.write_table(columns)
        writer.add_key_value_metadata({shards.RECORD: json.dumps({**said(shard.path), **changes})})
    return named(shard.path.parent, buffer.getvalue())


@pytest.mark.parametrize("width", [1, 5, 2048])
@pytest.mark.parametrize("count", [1, 3, 700])
def test_a_shard_comes_back_bit_by_bit(folder: Path, count: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, (count, width), np.uint32).view(np.float32)  # NaNs of all kinds too
    x[0, 0] = -0.0
    ids = rng.integers(0, 256, (count, 32), np.uint8)
    made = shards.write(folder, DECLARED, ids, x, 1.5, "here")
    for check in (True, False):
        found, ids_found = shards.read(made.path, check=check)
        assert found == made
        assert found.declared == DECLARED
        np.testing.assert_array_equal(ids_found, ids)
    for mapped in (True, False):
        assert made.load(mapped=mapped).tobytes() == x.tobytes()


def test_rows_of_any_layout_and_order_are_written(folder: Path) -> None:
    for x in (np.asfortranarray(X), X[::-1], X.astype(">f4"), X.astype(np.float64)):
        made = shards.write(folder, DECLARED, IDS, x, 1.5, "here")
        np.testing.assert_array_equal(made.load(), x.astype(np.float32))


def test_any_reader_of_parquet_finds_the_columns_and_the_record(shard: Shard) -> None:
    found = parquet.read_table(shard.path, page_checksum_verification=True)
    assert found.column_names == ["id", "features"]
    assert found.column("id").to_pylist() == [row.tobytes() for row in IDS]
    assert found.column("features").to_pylist() == X.tolist()
    record = {"version": 3, "declared": DECLARED, "seconds": 1.5, "made_on": "here", "shape": [3, 5]}
    assert record.items() <= said(shard.path).items()


@pytest.mark.parametrize("column", ["id", "features"])
def test_pages_have_checksums(shard: Shard, column: str) -> None:
    data = bytearray(shard.path.read_bytes())
    at = data.index(IDS.tobytes()) if column == "id" else shard.start
    data[at] ^= 1
    path = named(shard.path.parent, bytes(data))
    with pytest.raises(OSError, match="CRC"):
        parquet.read_table(path, page_checksum_verification=True)


def test_no_two_shards_have_one_name(folder: Path) -> None:
    made = {shards.write(folder, DECLARED, IDS, X, 1.5, "here").path for _ in range(3)}
    assert len(made) == 3
    made = {shards.write(folder, DECLARED, IDS, X, 1.5, "here", "of its own").path for _ in range(3)}
    assert len(made) == 1


def test_rows_that_pyarrow_lays_out_as_several_pages_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = parquet.ParquetWriter, 700
    monkeypatch.setattr(
        parquet, "ParquetWriter", lambda *args, **kw: real(*args, **{**kw, "data_page_size": 64})
    )
    with pytest.raises(UserError, match="700 rows of 5 features as one page"):
        shards.write(
            folder, DECLARED, np.zeros((count, 32), np.uint8), np.ones((count, 5), np.float32), 1, ""
        )
    assert list(folder.iterdir()) == []


def test_neither_writing_nor_reading_imports_pandas(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np; from transfer.cache import shards\n"
        "assert 'pyarrow' not in sys.modules\n"
        f"folder = Path({str(folder)!r}); ids, x = np.zeros((3, 32), np.uint8), np.zeros((3, 5), np.float32)\n"
        f"shards.read(shards.write(folder, {DECLARED!r}, ids, x, 1, 'here').path)[0].load()\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def damage(shard: Shard, at: int) -> Path:
    data = bytearray(shard.path.read_bytes())
    data[at] ^= 1
    shard.path.write_bytes(data)
    return shard.path


HOSTILE: dict[str, Callable[[Shard], Path]] = {
    "a bit at the start": lambda s: damage(s, 0),
    "a bit of a row": lambda s: damage(s, s.start),
    "a bit at the end": lambda s: damage(s, -1),
    "another name": lambda s: s.path.rename(s.path.with_name(f"{'0' * 64}.parquet")),
    "no Parquet": lambda s: named(s.path.parent, b"rows"),
    "nothing": lambda s: named(s.path.parent, b""),
    "a folder": lambda s: (s.path.unlink(), s.path.mkdir(), s.path)[-1],
    "a pipe": lambda s: (s.path.unlink(), os.mkfifo(s.path), s.path)[-1],
    "endless": lambda s: (os.truncate(s.path, 10**12), s.path)[-1],
    "another version": lambda s: rewrite(s, version=2),
    "a version that is none": lambda s: rewrite(s, version="new"),
    "another table's": lambda s: rewrite(s, declared={}),
    "declared to depend on a list": lambda s: rewrite(s, declared=[[]]),
    "seconds that are none": lambda s: rewrite(s, seconds="soon"),
    "seconds of a list": lambda s: rewrite(s, seconds=[1]),
    "endless seconds": lambda s: rewrite(s, seconds=10**400),
    "infinite seconds": lambda s: rewrite(s, seconds=float("inf")),
    "negative seconds": lambda s: rewrite(s, seconds=-1),
    "no record": lambda s: named(s.path.parent, s.path.read_bytes().replace(b"transfer", b"another!")),
    "nested": lambda s: rewrite(s, declared=json.loads("[" * 900 + "]" * 900)),
    "no rows": lambda s: rewrite(s, shape=[0, 5]),
    "rows of no length": lambda s: rewrite(s, shape=[3, 0]),
    "a negative number of rows": lambda s: rewrite(s, shape=[-3, 5]),
    "more rows": lambda s: rewrite(s, shape=[4, 5]),
    "rows without end": lambda s: rewrite(s, shape=[3, 10**400]),
    "half a row": lambda s: rewrite(s, shape=[3, 4.5]),
    "a shape that is none": lambda s: rewrite(s, shape=5),
    "rows behind the end": lambda s: rewrite(s, rows_start=s.path.stat().st_size - 4),
    "rows before the start": lambda s: rewrite(s, rows_start=-1),
    "images elsewhere": lambda s: rewrite(s, ids_start=5),
    "images behind the end": lambda s: rewrite(s, ids_start=10**15),
    "other images": lambda s: rewrite(s, ids_sha256="0" * 64),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_was_not_written_so_is_damaged(shard: Shard, change: Callable[[Shard], Path]) -> None:
    path = change(shard)
    with pytest.raises(Damaged) as error:
        shards.read(path)
    assert len(str(error.value).splitlines()) == 1


def test_every_bit_counts(shard: Shard) -> None:
    data = shard.path.read_bytes()
    for at in range(len(data)):
        shard.path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        with pytest.raises(Damaged):
            shards.read(shard.path)


def test_a_shard_of_a_newer_version_is_not_damaged(shard: Shard) -> None:
    path = rewrite(shard, version=shards.VERSION + 1, shape="another", seconds="another")
    for check in (True, False):
        with pytest.raises(shards.NewerVersion, match="version 4, where this program writes 3"):
            shards.read(path, check=check)


def test_a_shard_that_was_merged_is_gone_and_not_damaged(shard: Shard) -> None:
    shards.delete(shard.path)
    for mapped in (True, False):
        with pytest.raises(FileNotFoundError):
            shard.load(mapped=mapped)
    with pytest.raises(FileNotFoundError):
        shards.read(shard.path)
    shards.delete(shard.path)


def test_a_shard_set_aside_counts_no_more_and_can_be_looked_at(shard: Shard) -> None:
    shards.set_aside(shard.path)
    assert shards.list_shards(shard.path.parent) == set()
    assert len(list(shard.path.parent.glob(f"*{shards.SET_ASIDE}"))) == 1
    shards.set_aside(shard.path)


FAULTS = [
    MemoryError(),
    RuntimeError("can't start new thread"),
    OSError(24, "Too many open files"),
    OSError(5, "Input/output error"),
]


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_of_the_moment_is_no_damage(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(path: Path) -> str:
        raise error

    monkeypatch.setattr(files, "file_sha256", fails)
    with pytest.raises(type(error)):
        shards.read(shard.path)


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_of_the_moment_below_pyarrow_is_no_damage(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Faulty(io.FileIO):
        def read(self, *_: object) -> bytes:
            raise error

        readall = readinto = read

    monkeypatch.setattr(files, "open_file", Faulty)
    with pytest.raises(type(error)):
        shards.read(shard.path, check=False)


def test_a_shard_that_another_machine_deleted_is_gone(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object, **__: object) -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(files, "file_sha256", stale)
    monkeypatch.setattr(np, "fromfile", stale)
    with pytest.raises(FileNotFoundError):
        shards.read(shard.path)
    with pytest.raises(FileNotFoundError):
        shard.load(mapped=False)
