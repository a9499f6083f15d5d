from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from transfer.cache import inventory, shards
from transfer.cache.store import Store
from transfer.system import files
from transfer.system.errors import UserError

DECLARED = {
    "backbone": "resnet18",
    "size": [48, 64],
    "engine": "eager",
    "precision": "fp32",
    "weights_sha256": "abcdef0123456789",
    "decoder": "pillow 13",
    "torch": "2.15",
}
IDS = np.eye(3, 32, dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one entry of each kind."""
    store = Store(tmp_path / "store")
    store.table(DECLARED).append(IDS, np.ones((3, 5), np.float32), 1, "here")
    store.keep("weights", {"backbone": "resnet18", "seed": 3}, b"weights", 2.5, "here")
    store.keep("calibrated", {**DECLARED, "images": ["0a"]}, b"calibrated", 2.5, "here")
    store.keep_trials({**DECLARED, "machine": "a processor"}, [{"engine": "eager"}])
    drawn = store.folder("lagoon") / "lagoon-v1-seed0/train/Topa"
    drawn.mkdir(parents=True)
    (drawn / "0000.jpg").write_bytes(b"picture")
    return store.root


def entry(root: Path, kind: str) -> inventory.Entry:
    [found] = [entry for entry in inventory.list_entries(root) if entry.kind == kind]
    return found


def test_each_kind_is_described_with_its_size(root: Path) -> None:
    found = {entry.kind: entry for entry in inventory.list_entries(root)}
    assert found.keys() == {"features", "weights", "calibrated", "trials", "lagoon"}
    assert found["features"].words == "resnet18, 48x64, eager fp32, weights abcdef01, pillow 13, torch 2.15"
    assert found["weights"].words == "resnet18, seed 3"
    assert found["trials"].words.endswith("on a processor")
    assert {kind: found[kind].images for kind in ("features", "weights", "lagoon")} == {
        "features": 3,
        "weights": None,
        "lagoon": 1,
    }
    whole = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert sum(entry.bytes for entry in found.values()) == whole
    assert [fault for entry in found.values() for fault in inventory.find_faults(entry)] == []


def test_features_of_layers_name_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.table({**DECLARED, "layers": ["layer3", "layer4"]}).append(
        IDS, np.ones((3, 5), np.float32), 1, "here"
    )
    assert entry(store.root, "features").words.startswith("resnet18, 48x64, layer3 layer4, eager fp32")


def test_what_was_used_last_comes_first(root: Path) -> None:
    os.utime(entry(root, "features").path, (1, 1))
    os.utime(entry(root, "weights").path, (2, 2))
    assert [entry.kind for entry in inventory.list_entries(root)][-2:] == ["weights", "features"]
    Store(root).table(DECLARED).gather(IDS)
    assert Store(root).find_made("weights", {"backbone": "resnet18", "seed": 3})
    assert all(time.time() - entry.used < 60 for entry in inventory.list_entries(root))


def test_a_folder_that_is_no_store_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no store at"):
        inventory.list_entries(tmp_path / "none")
    assert inventory.list_entries(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "pattern", "message"),
    [
        ("features", "features/*/*.parquet", "not those that were written"),
        ("weights", "weights/*/*.safetensors", "safetensors: not what was written"),
        ("weights", "weights/*/made.json", "json: not what was written"),
        ("calibrated", "calibrated/*/*.safetensors", "safetensors: not what was written"),
        ("trials", "trials/*.json", "json: not what was written"),
    ],
)
def test_damage_is_found_and_only_there(root: Path, kind: str, pattern: str, message: str) -> None:
    [path] = root.glob(pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for each in inventory.list_entries(root):
        found = list(inventory.find_faults(each))
        if each.kind == kind:
            [fault] = found
            assert fault.startswith(str(path.parent))
            assert re.search(message, fault)
        else:
            assert found == []


def test_a_shard_of_a_newer_version_is_no_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [path] = root.glob("features/*/*.parquet")
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(shards, "VERSION", shards.VERSION + 1)
        Store(root).table(DECLARED).append(IDS, np.ones((3, 5), np.float32), 1, "here")
    assert [fault for each in inventory.list_entries(root) for fault in inventory.find_faults(each)] == []


def test_what_says_nothing_sensible_is_no_words(root: Path) -> None:
    for declared in (5, [], {"backbone": None, "size": 3}, {"weights_sha256": [1]}):
        [path] = root.glob("weights/*/made.json")
        path.write_bytes(files.seal({"declared": declared}))
        assert isinstance(entry(root, "weights").words, str)


def test_leftovers_are_found_when_nobody_can_still_need_them(root: Path) -> None:
    table = entry(root, "features").path
    some = "0123456789abcdef" * 2
    made = [
        table / f".a.parquet.{some}.tmp",
        table / f"{some}.npy",  # of version 2
        root / f"trials/.b.{some}.tmp",
        root / f"lagoon/lagoon-v1-seed0/train/Topa/.c.{some}.tmp",
    ]
    for path in made:
        path.write_bytes(b"12345")
    begun = root / "weights" / some
    begun.mkdir()
    (begun / "w.safetensors").write_bytes(b"12345")
    made.append(begun)
    assert inventory.list_leftovers(root) == []
    for path in made:
        os.utime(path, (1, 1))
    aside = table / "d.parquet.corrupt"
    aside.write_bytes(b"12345")
    pruned = root / "features/.pruned-e"
    pruned.mkdir()
    (pruned / "f").write_bytes(b"12345")
    found = inventory.list_leftovers(root)
    assert {leftover.path for leftover in found} == {*made, aside, pruned}
    assert {leftover.bytes for leftover in found} == {5}


def test_links_in_a_store_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (root / "features" / ("0" * 32)).symlink_to(tmp_path / "other")
    (entry(root, "features").path / "loop").symlink_to(root)
    assert len([entry for entry in inventory.list_entries(root) if entry.kind == "features"]) == 1


def test_what_the_program_did_not_make_is_no_entry(root: Path) -> None:
    before = inventory.list_entries(root)
    for name in (
        "features/mine/a.csv",
        "weights/best.safetensors",
        "weights/mine/a",
        "trials/notes.json",
        "a.txt",
    ):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, (1, 1))
    assert inventory.list_entries(root) == before
    assert inventory.list_leftovers(root) == []
    (root / "lagoon/holiday").mkdir()
    assert [entry.kind for entry in inventory.list_entries(root)] == [
        e.kind for e in before if e.kind != "lagoon"
    ]


def test_a_disk_that_fails_is_reported_and_the_rest_is_checked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.file_sha256

    def fails(path: Path) -> str:
        if path.suffix == ".safetensors":
            raise OSError(5, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(files, "file_sha256", fails)
    found = [fault for entry in inventory.list_entries(root) for fault in inventory.find_faults(entry)]
    assert len(found) == 2
    assert all(fault.endswith("Input/output error") for fault in found)
