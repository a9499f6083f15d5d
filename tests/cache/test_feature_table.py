from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
from pathlib import Path
from random import Random

import numpy as np
import pytest

from transfer.cache import feature_table, shards
from transfer.cache.feature_table import FeatureTable
from transfer.cache.store import Store
from transfer.system import files as files_module
from transfer.system.content_ids import Ids, from_hex, to_hex
from transfer.system.errors import UserError

DECLARED = {"backbone": "resnet18", "size": [48, 64], "mean": (0.485, 0.456, 0.406)}


UNKNOWN = np.full((1, 32), 7, np.uint8)


def rows(count: int, width: int = 5, seed: int = 0) -> tuple[Ids, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return from_hex([hashlib.sha256(f"{seed}-{i}".encode()).hexdigest() for i in range(count)]), x


def files(table: FeatureTable) -> int:
    """How many shards lie in the folder, and nothing else."""
    found = list(table.folder.iterdir())
    assert {path.suffix for path in found} == {".parquet"}
    return len(found)


def table(root: Path) -> FeatureTable:
    return Store(root).table(DECLARED)


def test_rows_come_back_in_any_order_from_another_process_view(tmp_path: Path) -> None:
    ids, x = rows(10)
    first = table(tmp_path)
    first.append(ids[:4], x[:4], 2.0, "here")
    first.append(ids[4:], x[4:], 3.0, "here")
    for seen in (first, table(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids[::-1]), x[::-1])
        assert seen.holds(np.concatenate([ids[3:5], UNKNOWN, ids[:1]])).tolist() == [True, True, False, True]
        assert seen.seconds(ids, "here") == pytest.approx(5)
        assert seen.seconds(ids[:2], "here") == pytest.approx(1)
    with pytest.raises(KeyError, match="07" * 32):
        first.gather(np.concatenate([ids, UNKNOWN]))


def test_few_rows_of_a_small_shard_are_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, x = rows(40)
    own = table(tmp_path)
    own.append(ids, x, 1.0, "here")
    np.testing.assert_array_equal(own.gather(ids[[9, 1, 9, 33]]), x[[9, 1, 9, 33]])
    np.testing.assert_array_equal(own.gather(ids[::-1]), x[::-1])
    monkeypatch.delattr(shards.Shard, "load")
    np.testing.assert_array_equal(own.gather(ids[[9, 1]]), x[[9, 1]])


def test_merging_keeps_every_row_and_the_time_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 8)
    ids, x = rows(20)
    kept = table(tmp_path)
    for i in range(0, 20, 2):
        kept.append(ids[i : i + 2], x[i : i + 2], 1.0, "here")
    reader = table(tmp_path)
    kept.merge()
    assert files(kept) == 3
    for seen in (kept, table(tmp_path), reader):  # the reader's files were deleted under it
        np.testing.assert_array_equal(seen.gather(ids), x)
        assert seen.seconds(ids, "here") == pytest.approx(10)
    before = sorted(kept.folder.iterdir())
    table(tmp_path).merge()
    assert len(sorted(kept.folder.iterdir())) == len(before)


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("after", range(1, 5))
def test_a_write_that_breaks_off_anywhere_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    ids, x = rows(8)
    kept = table(tmp_path)
    kept.append(ids[:4], x[:4], 1, "here")
    calls = 0
    where = {"open": Path, "fsync": os, "replace": Path}[step]
    real = getattr(where, step)

    def breaks(*args: object, **kwargs: object) -> object:
        nonlocal calls
        if step != "open" or "x" in str(args[1:]):
            calls += 1
            if calls == after:
                raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(where, step, breaks)
        complete = False
        with contextlib.suppress(UserError):  # nothing but our own line may come through
            kept.append(ids[4:], x[4:], 1, "here")
            complete = True
    assert complete == (calls < after)
    seen = table(tmp_path)
    np.testing.assert_array_equal(seen.gather(ids[:4]), x[:4])
    assert seen.damaged == []
    if complete:
        np.testing.assert_array_equal(seen.gather(ids), x)
    assert not list(kept.folder.glob("*.tmp"))


@pytest.mark.parametrize("at", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("fault", ["cut", "flipped", "emptied"])
def test_a_damaged_shard_is_set_aside_and_the_rest_stays(tmp_path: Path, at: float, fault: str) -> None:
    ids, x = rows(8)
    kept = table(tmp_path)
    kept.append(ids[:4], x[:4], 1, "here")
    whole = set(kept.folder.iterdir())
    kept.append(ids[4:], x[4:], 1, "here")
    [path] = set(kept.folder.iterdir()) - whole
    data = bytearray(path.read_bytes())
    place = int(at * len(data))
    data[place] ^= 0x40
    path.write_bytes({"cut": data[:place], "flipped": data, "emptied": b""}[fault])
    seen = table(tmp_path)
    assert len(seen.damaged) == 1
    assert seen.holds(ids).tolist() == [True] * 4 + [False] * 4
    np.testing.assert_array_equal(seen.gather(ids[:4]), x[:4])
    assert len(list(kept.folder.glob("*.corrupt"))) == 1
    seen.append(ids[4:], x[4:], 1, "here")
    healed = table(tmp_path)
    assert healed.damaged == []
    np.testing.assert_array_equal(healed.gather(ids), x)


def test_a_shard_of_a_newer_version_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ids, x = rows(4)
    kept = table(tmp_path)
    kept.append(ids, x, 1, "here")
    [path] = shards.list_shards(kept.folder)
    monkeypatch.setattr(shards, "VERSION", shards.VERSION + 1)
    kept.append(ids, x, 1, "here")
    path.unlink()
    monkeypatch.undo()
    before = {path: path.read_bytes() for path in kept.folder.iterdir()}
    seen = table(tmp_path)
    assert not seen.holds(ids).any()
    assert seen.damaged == []
    assert "newer version" in caplog.text
    assert len(Store(tmp_path).list_ids(DECLARED)) == 0
    assert {path: path.read_bytes() for path in kept.folder.iterdir()} == before


def test_files_of_other_names_do_not_count_and_stay(tmp_path: Path) -> None:
    ids, x = rows(4)
    kept = table(tmp_path)
    kept.append(ids, x, 1, "here")
    [path] = kept.folder.iterdir()
    path.rename(kept.folder / "mine.parquet")
    assert not table(tmp_path).holds(ids).any()
    assert [path.name for path in kept.folder.iterdir()] == ["mine.parquet"]


def test_a_shard_of_another_table_is_damage(tmp_path: Path) -> None:
    ids, x = rows(4)
    other = Store(tmp_path).table({**DECLARED, "size": [48, 65]})
    other.append(ids, x, 1, "here")
    [path] = other.folder.iterdir()
    kept = table(tmp_path)
    kept.append(ids[:1], x[:1] + 1, 1, "here")
    (kept.folder / path.name).write_bytes(path.read_bytes())
    seen = table(tmp_path)
    assert seen.damaged == [path.stem]
    assert seen.holds(ids).tolist() == [True, False, False, False]


def test_small_shards_are_merged_as_soon_as_they_have_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 16)
    ids, x = rows(100)
    kept = table(tmp_path)
    for i in range(0, 100, 3):
        kept.append(ids[i : i + 3], x[i : i + 3], 1.0, "here")
        assert files(kept) <= len(ids[: i + 3]) // 16 + 6
        np.testing.assert_array_equal(table(tmp_path).gather(ids[: i + 3]), x[: i + 3])
    for seen in (kept, table(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids[::-1]), x[::-1])
        assert seen.seconds(ids, "here") == pytest.approx(34)


@pytest.mark.slow
def test_small_shards_of_an_earlier_run_are_merged_when_they_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, x = rows(40)
    kept = table(tmp_path)
    for i in range(0, 40, 2):
        kept.append(ids[i : i + 2], x[i : i + 2], 1.0, "here")
    assert files(kept) == 20
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 16)
    seen = table(tmp_path)
    assert files(seen) == 2 + 4
    np.testing.assert_array_equal(seen.gather(ids), x)
    assert seen.seconds(ids, "here") == pytest.approx(20)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sticky", "unwritable", "refuses"])
def test_shards_that_cant_be_deleted_are_not_merged_over_and_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    ids, x = rows(40)
    kept = table(tmp_path)
    for i in range(0, 40, 2):
        kept.append(ids[i : i + 2], x[i : i + 2], 1.0, "here")
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 16)
    if how == "sticky":
        kept.folder.chmod(0o1777)
        monkeypatch.setattr(os, "geteuid", lambda: kept.folder.stat().st_uid + 1)
    elif how == "unwritable":
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(1, "no")))
    for _ in range(3):
        seen = table(tmp_path)
        np.testing.assert_array_equal(seen.gather(ids), x)
    if how != "refuses":  # where only trying tells, copies may lie beside
        assert files(seen) == 20


@pytest.mark.parametrize("seed", range(6))
def test_what_was_merged_and_refuses_to_be_deleted_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    names = Random(seed)  # shards are opened in the order of their names
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=names.getrandbits(128)))
    ids, x = rows(20)
    kept = table(tmp_path)
    for i in range(20):
        kept.append(ids[i : i + 1], x[i : i + 1], 1.0, "here")
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 8)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(1, "no")))
    real, lists = shards.list_shards, []

    def paths(folder: Path) -> set[Path]:
        lists.append(folder)
        assert len(lists) <= 3 * 4, "listed over and over"
        return real(folder)

    monkeypatch.setattr(shards, "list_shards", paths)
    for _ in range(3):
        np.testing.assert_array_equal(table(tmp_path).gather(ids), x)


def test_a_shard_that_cant_be_read_counts_as_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ids, x = rows(4)
    kept = table(tmp_path)
    kept.append(ids[:2], x[:2], 1.0, "here")
    kept.append(ids[2:], x[2:], 1.0, "here")
    closed = next(kept.folder.iterdir())
    real = shards.read

    def read(path: Path) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(shards, "read", read)
    assert table(tmp_path).holds(ids).sum() == 2
    assert "can't be read, and its images are computed again" in caplog.text
    assert closed.exists()


@pytest.mark.parametrize("step", ["write", "unlink"])
@pytest.mark.parametrize("after", range(1, 9))
def test_a_merge_that_breaks_off_anywhere_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 4)
    ids, x = rows(12)
    kept = table(tmp_path)
    for i in range(3):
        kept.append(ids[i : i + 1], x[i : i + 1], 1.0, "here")
    calls = 0
    where = {"write": files_module, "unlink": Path}[step]
    real = getattr(where, step)

    def breaks(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(where, step, breaks)
        with contextlib.suppress(KeyboardInterrupt):
            kept.append(ids[3:4], x[3:4], 1.0, "here")
    seen = table(tmp_path)
    np.testing.assert_array_equal(seen.gather(ids[:3]), x[:3])
    if seen.holds(ids[3:4]).all():
        np.testing.assert_array_equal(seen.gather(ids[:4]), x[:4])
        assert seen.seconds(ids[:4], "here") == pytest.approx(4)
    seen.append(ids[3:], x[3:], 9.0, "here")
    np.testing.assert_array_equal(table(tmp_path).gather(ids), x)


def test_of_rows_in_several_shards_one_answers_and_its_time_counts_once(tmp_path: Path) -> None:
    ids, x = rows(6)
    kept = table(tmp_path)
    kept.append(ids[:4], x[:4], 4.0, "here")
    kept.append(ids[2:], x[2:], 4.0, "here")
    for seen in (kept, table(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids), x)
        assert seen.seconds(ids, "here") == pytest.approx(6)
        assert seen.seconds(ids[[1, 1, 5, 1]], "here") == pytest.approx(2)
        np.testing.assert_array_equal(seen.gather(ids[[1, 1, 5, 1]]), x[[1, 1, 5, 1]])
    kept.merge()
    assert files(kept) == 1
    np.testing.assert_array_equal(table(tmp_path).gather(ids), x)


def test_small_shards_whose_rows_are_all_in_others_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 4)
    ids, x = rows(8)
    kept = table(tmp_path)
    kept.append(ids[:2], x[:2], 1.0, "here")
    kept.append(ids[2:3], x[2:3], 1.0, "here")
    kept.append(ids, x, 8.0, "here")
    kept.merge()
    assert files(kept) == 1
    assert table(tmp_path).seconds(ids, "here") == pytest.approx(8)


def test_what_another_process_merges_while_a_table_is_opened_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, x = rows(6)
    other = table(tmp_path)
    for i in range(6):
        other.append(ids[i : i + 1], x[i : i + 1], 1.0, "here")
    real = shards.read

    def after_a_merge(path: Path) -> object:
        monkeypatch.setattr(shards, "read", real)
        other.merge()
        return real(path)

    monkeypatch.setattr(shards, "read", after_a_merge)
    np.testing.assert_array_equal(table(tmp_path).gather(ids), x)


def test_two_runs_that_merge_the_same_copies_at_once_keep_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each writes what one of the two shards has, and deletes both: of the same name, it would be deleted with them."""
    ids, x = rows(4)
    both, gone = (table(tmp_path), table(tmp_path)), []
    for one, seconds in zip(both, (1.0, 2.0), strict=True):
        one.append(ids, x, seconds, "here")
    with monkeypatch.context() as patch:
        patch.setattr(shards, "delete", gone.append)
        for one in both:
            one._find_shards()
            one.merge()
    for path in gone:
        shards.delete(path)
    np.testing.assert_array_equal(table(tmp_path).gather(ids), x)


def test_rows_of_what_is_deleted_after_a_merge_that_was_seen_half_done_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, x = rows(4)
    other = table(tmp_path)
    for i in range(4):
        other.append(ids[i : i + 1], x[i : i + 1], 1.0, "here")
    before, gone = shards.list_shards(other.folder), list[Path]()
    with monkeypatch.context() as patch:
        patch.setattr(shards, "delete", gone.append)
        other.merge()
    reader = FeatureTable(other.folder, DECLARED, read=False)
    reader.look_again([path.name for path in shards.list_shards(other.folder) - before])
    reader.look_again()  # those that were merged are found last, and answer
    for path in gone:
        shards.delete(path)
    np.testing.assert_array_equal(reader.gather(ids), x)
    assert reader.seconds(ids, "here") == pytest.approx(4)


def test_damage_since_a_table_was_opened_is_never_merged(tmp_path: Path) -> None:
    """What is merged gets a checksum of its own."""
    ids, x = rows(6)
    kept = table(tmp_path)
    for i in range(0, 6, 2):
        kept.append(ids[i : i + 2], x[i : i + 2], 1.0, "here")
    path = kept._shards[1].path
    data = bytearray(path.read_bytes())
    data[kept._shards[1].start] ^= 1
    path.write_bytes(data)
    kept.merge()
    seen = table(tmp_path)
    assert seen.damaged == [path.stem]
    assert seen.holds(ids).tolist() == [True] * 2 + [False] * 2 + [True] * 2
    np.testing.assert_array_equal(seen.gather(ids[4:]), x[4:])


def test_rows_that_somebody_deleted_are_reported_and_not_waited_for(tmp_path: Path) -> None:
    ids, x = rows(4)
    kept = table(tmp_path)
    kept.append(ids, x, 1.0, "here")
    next(kept.folder.iterdir()).unlink()
    with pytest.raises(FileNotFoundError):
        kept.gather(ids)


def test_nothing_asked_is_nothing_given(tmp_path: Path) -> None:
    ids, x = rows(2)
    kept = table(tmp_path)
    for _ in range(2):  # empty, then not
        assert kept.holds(ids[:0]).shape == (0,)
        assert kept.gather(ids[:0]).shape == (0, 0)
        assert kept.seconds(ids[:0], "here") == 0
        kept.merge()
        kept.append(ids, x, 1.0, "here")


def test_rows_in_memory_are_the_tables_own(tmp_path: Path) -> None:
    ids, x = rows(3)
    kept, given = table(tmp_path), x.copy()
    kept.append(ids, given, 1.0, "here")
    given[:] = 0
    np.testing.assert_array_equal(kept.gather(ids), x)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    parts = [rows(30, seed=seed) for seed in range(4)]

    def write(ids: Ids, x: np.ndarray) -> None:
        own = table(tmp_path)
        for i in range(30):
            own.append(ids[i : i + 1], x[i : i + 1], 1, "here")
        own.merge()

    threads = [threading.Thread(target=write, args=part) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = table(tmp_path)
    assert seen.damaged == []
    for ids, x in parts:
        np.testing.assert_array_equal(seen.gather(ids), x)


def test_times_of_different_machines_are_never_added(tmp_path: Path) -> None:
    ids, x = rows(6)
    kept = table(tmp_path)
    for i, machine in enumerate(("cpu", "cpu", "gpu", "gpu", "gpu", "cpu")):
        kept.append(ids[i : i + 1], x[i : i + 1], 1.0, machine)
    kept.merge()
    for seen in (kept, table(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids), x)
        assert seen.seconds(ids[[0, 5]], "cpu") == pytest.approx(2)
        assert seen.seconds(ids[2:5], "gpu") == pytest.approx(3)
        assert seen.seconds(ids, "cpu") is None
    assert files(kept) == 2


def test_looking_for_rows_makes_no_folder(tmp_path: Path) -> None:
    table = Store(tmp_path).table(DECLARED)
    assert len(table.holds(np.zeros((3, 32), np.uint8))) == 3
    assert not table.folder.exists()


def test_what_killed_runs_left_is_swept_when_a_table_is_opened(tmp_path: Path) -> None:
    ids, x = rows(4)
    kept = table(tmp_path)
    kept.append(ids, x, 1.0, "here")
    old, new = (kept.folder / f".a.parquet.{c * 32}.tmp" for c in "ab")
    orphan, coming = (kept.folder / f"{c * 32}.npy" for c in "ab")  # of version 2
    for path in (old, new, orphan, coming):
        path.write_bytes(b"rows")
    for path in (old, orphan):
        os.utime(path, (1, 1))
    np.testing.assert_array_equal(table(tmp_path).gather(ids), x)
    assert [path.exists() for path in (old, new, orphan, coming)] == [False, True, False, True]


def test_rows_of_another_length_are_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = table(tmp_path)
    kept.append(*rows(3, width=5), 1.0, "here")
    shards.write(kept.folder, DECLARED, *rows(2, width=7, seed=1), 1.0, "here")
    seen = table(tmp_path)
    assert len(seen.damaged) == 1
    assert "a damaged shard is set aside" in caplog.text
    assert len(caplog.messages) == 1


def test_what_is_listed_is_what_a_table_holds_though_no_row_is_read(tmp_path: Path) -> None:
    ids, x = rows(5)
    kept = table(tmp_path)
    assert Store(tmp_path).list_ids(DECLARED).shape == (0, 32)
    kept.append(ids[:3], x[:3], 1.0, "here")
    kept.append(ids[3:], x[3:], 1.0, "here")
    for path in kept.folder.iterdir():
        shard, _ = shards.read(path)
        data = path.read_bytes()
        path.write_bytes(
            data[: shard.start] + bytes(shard.shape[0] * 20) + data[shard.start + shard.shape[0] * 20 :]
        )
    assert sorted(to_hex(Store(tmp_path).list_ids(DECLARED))) == sorted(to_hex(ids))
    assert not table(tmp_path).holds(ids).any()


def test_damaged_ids_are_not_listed_and_the_file_is_left_where_it_is(tmp_path: Path) -> None:
    ids, x = rows(4)
    kept = table(tmp_path)
    kept.append(ids[:2], x[:2], 1.0, "here")
    before = set(kept.folder.iterdir())
    kept.append(ids[2:], x[2:], 1.0, "here")
    [path] = set(kept.folder.iterdir()) - before
    data = path.read_bytes()
    path.write_bytes(data.replace(ids[3].tobytes(), bytes(32)))
    assert sorted(to_hex(Store(tmp_path).list_ids(DECLARED))) == sorted(to_hex(ids[:2]))
    assert path.exists()


def test_two_runs_that_hold_the_same_small_shards_merge_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 8)
    ids, x = rows(12)
    first = table(tmp_path)
    for i in range(0, 6, 2):
        first.append(ids[i : i + 2], x[i : i + 2], 1.0, "here")
    second = table(tmp_path)
    first.append(ids[6:8], x[6:8], 1.0, "here")  # makes one large shard of all that there is
    assert files(first) == 1
    second.append(ids[8:10], x[8:10], 1.0, "here")  # would be the eighth row
    second.append(ids[10:], x[10:], 1.0, "here")
    second.merge()
    for seen in (second, table(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids[:6]), x[:6])
        np.testing.assert_array_equal(seen.gather(ids[8:]), x[8:])
    assert len(Store(tmp_path).list_ids(DECLARED)) == 12
    assert files(first) == 2


def test_long_rows_of_16_bits_are_merged_by_their_bytes_and_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = feature_table.LONG_ROW_BYTES // 2 + 1
    monkeypatch.setattr(feature_table, "SHARD_BYTES", 8 * 2 * width)
    ids, _ = rows(20)
    x = np.random.default_rng(0).integers(0, 2**16, (20, width), np.uint16)
    first = table(tmp_path)
    for start in range(0, 20, 4):
        first.append(ids[start : start + 4], x[start : start + 4], 1.0, "here")
    first.merge()
    assert files(first) == 3  # of 8, 8 and 4 rows
    for seen in (first, table(tmp_path)):
        found = seen.gather(ids[[7, 3, 19]])
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, x[[7, 3, 19]])
    assert shards.read(next(iter(shards.list_shards(first.folder))))[0].dtype == "<u2"


def test_rows_of_two_types_are_never_one_table(tmp_path: Path) -> None:
    ids, x = rows(4)
    table(tmp_path).append(ids[:2], x[:2], 1.0, "here")
    table(tmp_path).append(ids[2:], x[2:].view(np.uint16)[:, :5], 1.0, "here")
    seen = table(tmp_path)
    assert len(seen.damaged) == 1
    assert seen.holds(ids).sum() == 2
