from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from transfer import store as store_module
from transfer.config import UserError
from transfer.store import Shelf, Store, key_of

DECLARED = {"backbone": "resnet18", "size": [48, 64], "mean": (0.485, 0.456, 0.406)}


def rows(count: int, width: int = 5, seed: int = 0) -> tuple[list[str], np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return [f"{seed}-{i}" for i in range(count)], x


def shelf(root: Path) -> Shelf:
    return Store(root).shelf(DECLARED)


def test_rows_come_back_in_any_order_from_another_process_view(tmp_path: Path) -> None:
    ids, x = rows(10)
    first = shelf(tmp_path)
    first.append(ids[:4], x[:4], 2.0, "here")
    first.append(ids[4:], x[4:], 3.0, "here")
    for seen in (first, shelf(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids[::-1]), x[::-1])
        assert ids[3] in seen
        assert "unknown" not in seen
        assert seen.seconds(ids, "here") == pytest.approx(5)
        assert seen.seconds(ids[:2], "here") == pytest.approx(1)
    with pytest.raises(KeyError):
        first.gather(["unknown"])


def test_the_key_hangs_on_every_declared_value_and_not_on_their_order(tmp_path: Path) -> None:
    turned = dict(reversed(DECLARED.items()))
    assert key_of(turned) == key_of(DECLARED)
    for name in DECLARED:
        assert key_of({**DECLARED, name: "other"}) != key_of(DECLARED)
    ids, x = rows(3)
    shelf(tmp_path).append(ids, x, 1, "here")
    assert ids[0] not in Store(tmp_path).shelf({**DECLARED, "size": [48, 65]})
    written = next(tmp_path.glob("features/*/key.json"))
    assert json.loads(written.read_text())["backbone"] == "resnet18"


def test_merging_keeps_every_row_and_the_time_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SHARD_ROWS", 8)
    ids, x = rows(20)
    kept = shelf(tmp_path)
    for i in range(0, 20, 2):
        kept.append(ids[i : i + 2], x[i : i + 2], 1.0, "here")
    reader = shelf(tmp_path)
    kept.merge()
    assert len(list(kept.folder.glob("*.npy"))) == 3
    for seen in (kept, shelf(tmp_path), reader):  # the reader's files were deleted under it
        np.testing.assert_array_equal(seen.gather(ids), x)
        assert seen.seconds(ids, "here") == pytest.approx(10)
    before = sorted(kept.folder.iterdir())
    shelf(tmp_path).merge()
    assert len(sorted(kept.folder.iterdir())) == len(before)


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("after", range(1, 5))
def test_a_write_that_breaks_off_anywhere_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    ids, x = rows(8)
    kept = shelf(tmp_path)
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
    seen = shelf(tmp_path)
    np.testing.assert_array_equal(seen.gather(ids[:4]), x[:4])
    assert seen.damaged == []
    if complete:
        np.testing.assert_array_equal(seen.gather(ids), x)
    assert not list(kept.folder.glob("*.tmp"))


@pytest.mark.parametrize("kind", ["npy", "json"])
@pytest.mark.parametrize("fault", ["cut", "flipped", "emptied"])
def test_a_damaged_shard_is_set_aside_and_the_rest_stays(tmp_path: Path, kind: str, fault: str) -> None:
    ids, x = rows(8)
    kept = shelf(tmp_path)
    kept.append(ids[:4], x[:4], 1, "here")
    whole = set(kept.folder.iterdir())
    kept.append(ids[4:], x[4:], 1, "here")
    path = next(p for p in kept.folder.iterdir() if p not in whole and p.suffix == f".{kind}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "emptied": b""}[fault])
    seen = shelf(tmp_path)
    assert len(seen.damaged) == 1
    assert all(i not in seen for i in ids[4:])
    np.testing.assert_array_equal(seen.gather(ids[:4]), x[:4])
    assert len(list(kept.folder.glob("*.corrupt"))) == 2
    seen.append(ids[4:], x[4:], 1, "here")
    healed = shelf(tmp_path)
    assert healed.damaged == []
    np.testing.assert_array_equal(healed.gather(ids), x)


def test_rows_without_a_manifest_do_not_count(tmp_path: Path) -> None:
    ids, x = rows(4)
    kept = shelf(tmp_path)
    kept.append(ids, x, 1, "here")
    next(path for path in kept.folder.glob("*.json") if path.name != "key.json").unlink()
    assert ids[0] not in shelf(tmp_path)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    parts = [rows(30, seed=seed) for seed in range(4)]

    def write(ids: list[str], x: np.ndarray) -> None:
        own = shelf(tmp_path)
        for i in range(30):
            own.append(ids[i : i + 1], x[i : i + 1], 1, "here")
        own.merge()

    threads = [threading.Thread(target=write, args=part) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = shelf(tmp_path)
    assert seen.damaged == []
    for ids, x in parts:
        np.testing.assert_array_equal(seen.gather(ids), x)


def test_a_store_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="as the store .*--store"):
        shelf(tmp_path / "file" / "store")


def test_times_of_different_machines_are_never_added(tmp_path: Path) -> None:
    ids, x = rows(6)
    kept = shelf(tmp_path)
    for i, machine in enumerate(("cpu", "cpu", "gpu", "gpu", "gpu", "cpu")):
        kept.append(ids[i : i + 1], x[i : i + 1], 1.0, machine)
    kept.merge()
    for seen in (kept, shelf(tmp_path)):
        np.testing.assert_array_equal(seen.gather(ids), x)
        assert seen.seconds([ids[0], ids[5]], "cpu") == pytest.approx(2)
        assert seen.seconds(ids[2:5], "gpu") == pytest.approx(3)
        assert seen.seconds(ids, "cpu") is None
    assert len(list(kept.folder.glob("*.npy"))) == 2


@pytest.mark.parametrize("fault", ["cut", "gone", "unsaid"])
def test_weights_that_were_made_are_known_again_unless_they_are_damaged(tmp_path: Path, fault: str) -> None:
    store = Store(tmp_path)
    assert store.weights(DECLARED) is None
    made = store.keep_weights(DECLARED, b"weights", 2.5, "here")
    assert store.weights(DECLARED) == made
    assert store.weights({**DECLARED, "seed": 1}) is None
    if fault == "cut":
        made.path.write_bytes(b"weig")
    elif fault == "gone":
        made.path.unlink()
    else:
        made.path.with_suffix(".json").unlink()
    assert store.weights(DECLARED) is None
