"""Stores of version 2: everything in them is used as it is, and kept as Parquet from then on."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cache.old import write_old
from transfer.cache import inventory, shards
from transfer.cache.feature_table import FeatureTable
from transfer.cache.shards import Damaged
from transfer.cache.store import Store, folder_name
from transfer.system import files
from transfer.system.content_ids import from_hex
from transfer.system.errors import UserError

DECLARED = {"backbone": "resnet18", "size": [48, 64]}
IDS = from_hex([hashlib.sha256(bytes([i])).hexdigest() for i in range(6)])
X = np.arange(30, dtype=np.float32).reshape(6, 5)
X[0, 0], X[1, 1] = np.nan, -0.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of two shards, of which one is another machine's."""
    folder = tmp_path / "features" / folder_name(DECLARED)
    write_old(folder, DECLARED, IDS[:4], X[:4], 2.0)
    write_old(folder, DECLARED, IDS[4:], X[4:], 3.0, "there", name="0b" * 16)
    return folder


def table(folder: Path) -> FeatureTable:
    return Store(folder.parents[1]).table(DECLARED)


def check(seen: FeatureTable) -> None:
    assert seen.gather(IDS[::-1]).tobytes() == X[::-1].tobytes()
    assert (seen.seconds(IDS[:4], "here"), seen.seconds(IDS[4:], "there")) == (2.0, 3.0)
    assert seen.damaged == []


def test_what_there_is_becomes_parquet_and_nothing_is_computed(folder: Path) -> None:
    root = folder.parents[1]
    [before] = inventory.list_entries(root)
    assert (before.images, before.words) == (6, "resnet18, 48x64")
    assert list(inventory.find_faults(before)) == []
    assert len(Store(root).list_ids(DECLARED)) == 6
    for _ in range(2):
        check(table(folder))
        assert len(shards.list_shards(folder)) == 2
        assert {path.suffix for path in folder.iterdir()} == {".parquet"}
    [after] = inventory.list_entries(root)
    assert (after.images, after.words) == (6, before.words)


def test_two_that_convert_a_shard_at_once_write_it_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shards, "delete", lambda _: None)
        check(table(folder))
    check(table(folder))
    assert len(shards.list_shards(folder)) == 2


@pytest.mark.parametrize("fault", ["may not delete", "disk full"])
def test_who_can_not_write_reads_what_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def fails(*_: object) -> None:
        raise UserError("No space left on device")

    before = sorted(folder.iterdir())
    if fault == "may not delete":
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        monkeypatch.setattr(files, "write", fails)
    check(table(folder))
    assert sorted(folder.iterdir()) == before


def test_small_ones_are_merged_with_what_is_added(folder: Path) -> None:
    kept = table(folder)
    more = from_hex(["ab" * 32])
    kept.append(more, X[:1] + 1, 1.0, "here")
    kept.merge()
    assert table(folder).gather(IDS).tobytes() == X.tobytes()
    assert table(folder).seconds(np.concatenate([IDS[:4], more]), "here") == pytest.approx(3)
    assert len(shards.list_shards(folder)) == 2


@pytest.mark.parametrize("kind", ["npy", "json"])
@pytest.mark.parametrize("fault", ["cut", "flipped", "emptied"])
def test_a_damaged_one_is_set_aside_and_the_rest_stays(folder: Path, kind: str, fault: str) -> None:
    path = folder / f"{'0b' * 16}.{kind}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "emptied": b""}[fault])
    [entry] = inventory.list_entries(folder.parents[1])
    [line] = inventory.find_faults(entry)
    assert line.startswith(str(folder / ("0b" * 16)))
    seen = table(folder)
    assert seen.damaged == ["0b" * 16]
    assert seen.holds(IDS).tolist() == [True] * 4 + [False] * 2
    assert len(list(folder.glob("*.corrupt"))) == 2
    seen.append(IDS[4:], X[4:], 3.0, "there")
    check(table(folder))


def test_rows_without_a_manifest_do_not_count_and_go_after_a_day(folder: Path) -> None:
    (folder / f"{'0b' * 16}.json").unlink()
    assert table(folder).holds(IDS).sum() == 4
    rows = folder / f"{'0b' * 16}.npy"
    assert inventory.list_leftovers(folder.parents[1]) == []
    os.utime(rows, (1, 1))
    assert [one.path for one in inventory.list_leftovers(folder.parents[1])] == [rows]
    table(folder)
    assert not rows.exists()


@pytest.mark.parametrize("fault", ["gone", "cut"])
def test_damage_of_what_features_depend_on_costs_no_rows(folder: Path, fault: str) -> None:
    key = folder / "key.json"
    key.unlink() if fault == "gone" else key.write_bytes(key.read_bytes()[:9])
    [entry] = inventory.list_entries(folder.parents[1])
    assert entry.words == ""
    check(table(folder))
    [entry] = inventory.list_entries(folder.parents[1])
    assert entry.words == "resnet18, 48x64"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_old(tmp_path, DECLARED, IDS[:3], X[:3], 1.5)


def rewrite(manifest: Path, **changes: Any) -> None:
    """A manifest that says something else, and is sealed all the same."""
    before = files.unseal(manifest.read_bytes())
    manifest.write_bytes(files.seal({**before, **changes}))


def rows(manifest: Path, x: Any, **options: Any) -> None:
    """Other rows, with their checksum in the manifest."""
    buffer = io.BytesIO()
    np.save(buffer, x, **options)
    manifest.with_suffix(".npy").write_bytes(buffer.getvalue())
    rewrite(manifest, sha256=files.sha256(buffer.getvalue()))


def replace(manifest: Path, make: Callable[[Path], object]) -> None:
    path = manifest.with_suffix(".npy")
    path.unlink()
    make(path)


class Code:
    def __reduce__(self) -> Any:
        return os.mkdir, ("code-ran",)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "another version": lambda m: rewrite(m, schema_version=1),
    "ids of another length": lambda m: rewrite(m, ids=["ab"] * 3),
    "ids that are none": lambda m: rewrite(m, ids=["x" * 64] * 3),
    "ids that are a number": lambda m: rewrite(m, ids=3),
    "fewer ids": lambda m: rewrite(m, ids=[]),
    "a shape that is none": lambda m: rewrite(m, shape=5),
    "another shape": lambda m: rewrite(m, shape=[5, 3]),
    "seconds that are none": lambda m: rewrite(m, seconds="soon"),
    "endless seconds": lambda m: rewrite(m, seconds=10**400),
    "negative seconds": lambda m: rewrite(m, seconds=-1),
    "something missing": lambda m: m.write_bytes(files.seal({"schema_version": 2})),
    "not sealed": lambda m: m.write_text(json.dumps({"schema_version": 2})),
    "a list": lambda m: m.write_text("[]"),
    "nested": lambda m: m.write_text("[" * 1_000_000),
    "endless": lambda m: os.truncate(m, 10**12),
    "objects": lambda m: rows(m, np.array([Code()] * 3, object), allow_pickle=True),
    "doubles": lambda m: rows(m, X[:3].astype(np.float64)),
    "columns": lambda m: rows(m, np.asfortranarray(X[:3])),
    "one dimension": lambda m: (rows(m, X[:3, 0]), rewrite(m, shape=[3])),
    "rows gone": lambda m: m.with_suffix(".npy").unlink(),
    "rows a folder": lambda m: replace(m, Path.mkdir),
    "rows a pipe": lambda m: replace(m, os.mkfifo),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_was_not_written_so_is_damaged_and_nothing_in_it_is_run(
    manifest: Path, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(manifest.parent)
    change(manifest)
    with pytest.raises(Damaged) as error:
        shards.read(manifest)
    assert len(str(error.value).splitlines()) == 1
    assert not Path("code-ran").exists()


def test_an_absurd_shape_in_the_rows_takes_no_memory(manifest: Path) -> None:
    path = manifest.with_suffix(".npy")
    data = path.read_bytes().replace(b"(3, 5)", b"(3,5" + b"0" * 10 + b")")
    header = int.from_bytes(data[8:10], "little")
    data = data[:10] + data[10 : 10 + header].replace(b"    ", b"", 3).ljust(header) + data[10 + header :]
    path.write_bytes(data)
    rewrite(manifest, sha256=files.sha256(data))
    with pytest.raises(Damaged):
        shards.read(manifest)


def test_one_that_was_converted_is_gone_and_not_damaged(manifest: Path) -> None:
    shards.delete(manifest)
    assert [path.name for path in manifest.parent.iterdir()] == ["key.json"]
    with pytest.raises(FileNotFoundError):
        shards.read(manifest)
    shards.delete(manifest)


@pytest.mark.parametrize("text", ["{", '{"backbone": "resnet50"}', "[]"])
def test_a_damaged_key_is_found_and_a_missing_one_is_no_damage(folder: Path, text: str) -> None:
    (folder / "key.json").write_text(text)
    [entry] = inventory.list_entries(folder.parents[1])
    assert list(inventory.find_faults(entry)) == [f"{folder / 'key.json'}: not what was written"]
    (folder / "key.json").unlink()
    assert list(inventory.find_faults(entry)) == []
