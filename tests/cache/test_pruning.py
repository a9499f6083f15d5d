from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from transfer.cache import inventory, locks, pruning
from transfer.cache.inventory import Entry, list_entries
from transfer.cache.pruning import Rule, choose_entries, delete
from transfer.cache.store import Store
from transfer.system.errors import UserError

IDS = np.eye(3, 32, dtype=np.uint8)
DAY = 86_400.0


def entry(name: str, *, days: float = 0, size: int = 10) -> Entry:
    path = Path(f"{name}.safetensors")
    return Entry(
        kind="weights",
        path=path,
        record=path,
        words="w",
        images=None,
        bytes=size,
        used=time.time() - days * DAY,
    )


ENTRIES = [entry("ab12", days=0), entry("ab34", days=2, size=30), entry("cd56", days=9, size=20)]


@pytest.mark.parametrize(
    ("rule", "going"),
    [
        (Rule(), []),
        (Rule(older_than_s=3 * DAY), ["cd56"]),
        (Rule(older_than_s=1 * DAY), ["cd56", "ab34"]),
        (Rule(max_bytes=60), []),
        (Rule(max_bytes=59), ["cd56"]),
        (Rule(max_bytes=39), ["cd56", "ab34"]),
        (Rule(max_bytes=0), ["cd56", "ab34", "ab12"]),
        (Rule(keys=("ab12",)), ["ab12"]),
        (Rule(keys=("ab1", "ab12"), older_than_s=3 * DAY), ["cd56", "ab12"]),
        (Rule(keys=("ab34",), max_bytes=30), ["ab34"]),
        (Rule(keys=("ab12",), max_bytes=30), ["cd56", "ab12"]),
    ],
    ids=str,
)
def test_what_is_to_go(rule: Rule, going: list[str]) -> None:
    assert [entry.key for entry in choose_entries(ENTRIES, rule)] == going


@pytest.mark.parametrize(
    ("key", "message"), [("ab", "`keys` is 'ab'; several"), ("x", "no key"), ("", "no key")]
)
def test_a_key_has_to_name_one_entry(key: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_entries(ENTRIES, Rule(keys=(key,)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.table({"backbone": "a"}).append(IDS, np.ones((3, 5), np.float32), 1, "here")
    store.keep("weights", {"backbone": "a"}, b"weights", 1, "here")
    store.keep_trials({"backbone": "a"}, [])
    store.folder("lagoon").joinpath("lagoon-v1-seed0/train").mkdir(parents=True)
    return store


def test_whatever_is_deleted_is_gone_and_made_again(store: Store) -> None:
    assert len(list_entries(store.root)) == 4
    assert all(delete(entry) for entry in list_entries(store.root))
    assert list_entries(store.root) == []
    assert inventory.list_leftovers(store.root) == []
    assert [path for path in store.root.rglob("*") if not path.is_dir()] == []
    assert store.find_made("weights", {"backbone": "a"}) is None
    table = store.table({"backbone": "a"})
    assert not table.holds(IDS).any()
    table.append(IDS, np.ones((3, 5), np.float32), 1, "here")
    assert Store(store.root).table({"backbone": "a"}).holds(IDS).all()


def test_what_is_in_use_stays(store: Store) -> None:
    table, made = store.table({"backbone": "a"}), store.find_made("weights", {"backbone": "a"})
    lagoon = locks.hold(store.root / "lagoon")
    assert lagoon
    assert made
    kept = {entry.kind for entry in list_entries(store.root) if not delete(entry)}
    assert kept == {"features", "weights", "lagoon"}
    assert table.gather(IDS).shape == (3, 5)
    assert made.path.read_bytes() == b"weights"
    del table, made, lagoon
    assert all(delete(entry) for entry in list_entries(store.root))


def test_a_table_whose_folder_was_deleted_all_the_same_goes_on(store: Store) -> None:
    table = store.table({"backbone": "a"})
    [entry] = [entry for entry in list_entries(store.root) if entry.kind == "features"]
    entry.path.rename(store.root / "gone")  # by hand, or where locks do nothing
    more = np.eye(3, 32, 5, dtype=np.uint8)
    table.append(more, np.ones((3, 5), np.float32), 1, "here")
    again = Store(store.root).table({"backbone": "a"})
    assert again.holds(more).all()
    assert not again.holds(IDS).any()
    assert not again.holds(IDS).any()


def test_two_that_made_the_same_file_each_keep_their_own(store: Store) -> None:
    first = store.keep("weights", {"backbone": "b"}, b"weights of one", 1, "here")
    second = store.keep("weights", {"backbone": "b"}, b"weights of another", 1, "here")
    assert store.find_made("weights", {"backbone": "b"}) == second
    del second
    [entry] = [entry for entry in list_entries(store.root) if first.path.parent == entry.path]
    assert not delete(entry)
    assert first.path.read_bytes() == b"weights of one"


def test_a_deletion_that_breaks_off_leaves_no_half_of_an_entry(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    [entry] = [entry for entry in list_entries(store.root) if entry.kind == "features"]
    with monkeypatch.context() as patch:
        patch.setattr(pruning.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            delete(entry)
    assert not store.table({"backbone": "a"}).holds(IDS).any()
    left = inventory.list_leftovers(store.root)
    assert [leftover.reason for leftover in left] == ["not deleted to the end"]
    pruning.delete_leftovers(left)
    assert inventory.list_leftovers(store.root) == []


def test_sweeping_what_another_process_swept_is_no_error(store: Store) -> None:
    path = store.root / f"trials/.a.{'0' * 32}.tmp"
    path.touch()
    os.utime(path, (1, 1))
    left = inventory.list_leftovers(store.root)
    pruning.delete_leftovers(left)
    pruning.delete_leftovers(left)


def test_a_folder_that_a_process_holds_is_not_swept(store: Store) -> None:
    folder = store.folder("finetuned") / ("a" * 32)
    lock = locks.hold_new(folder)
    (folder / "checkpoint").touch()
    os.utime(folder, (1, 1))
    [left] = inventory.list_leftovers(store.root)
    pruning.delete_leftovers([left])
    assert folder.exists()
    del lock
    os.utime(folder, (1, 1))
    pruning.delete_leftovers([left])
    assert not folder.exists()
