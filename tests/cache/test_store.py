from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer.cache import shards
from transfer.cache.store import Store, folder_name
from transfer.system import files
from transfer.system.errors import UserError

DECLARED = {"backbone": "resnet18", "size": [48, 64], "mean": (0.485, 0.456, 0.406)}


def test_the_key_hangs_on_every_declared_value_and_not_on_their_order(tmp_path: Path) -> None:
    turned = dict(reversed(DECLARED.items()))
    assert folder_name(turned) == folder_name(DECLARED)
    for name in DECLARED:
        assert folder_name({**DECLARED, name: "other"}) != folder_name(DECLARED)
    ids = np.eye(3, 32, dtype=np.uint8)
    Store(tmp_path).table(DECLARED).append(ids, np.ones((3, 5), np.float32), 1, "here")
    assert not Store(tmp_path).table({**DECLARED, "size": [48, 65]}).holds(ids).any()
    [(shard, _)] = shards.read_headers(next(tmp_path.glob("features/*")))
    assert shard.declared["backbone"] == "resnet18"


def test_a_store_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="in the store .*`store`"):
        Store(tmp_path / "file" / "store").table(DECLARED)


@pytest.mark.parametrize("fault", ["cut", "gone", "unsaid"])
def test_weights_that_were_made_are_known_again_unless_they_are_damaged(tmp_path: Path, fault: str) -> None:
    store = Store(tmp_path)
    assert store.find_made("weights", DECLARED) is None
    made = store.keep("weights", DECLARED, b"weights", 2.5, "here")
    assert store.find_made("weights", DECLARED) == made
    assert store.find_made("weights", {**DECLARED, "seed": 1}) is None
    if fault == "cut":
        made.path.write_bytes(b"weig")
    elif fault == "gone":
        made.path.unlink()
    else:
        (made.path.parent / "made.json").unlink()
    assert store.find_made("weights", DECLARED) is None


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")], ids=repr)
def test_a_want_of_memory_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    store = Store(tmp_path)
    store.keep("weights", DECLARED, b"weights", 2.5, "here")

    def fails(_: Path) -> str:
        raise error

    monkeypatch.setattr(files, "file_sha256", fails)
    with pytest.raises(type(error)):
        store.find_made("weights", DECLARED)
    assert not caplog.records


def test_trials_are_kept_by_what_they_hang_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.trials(DECLARED) == store.all_trials() == []
    store.keep_trials(DECLARED, [{"engine": "eager"}])
    store.keep_trials({**DECLARED, "seed": 1}, [{"engine": "compile"}])
    store.keep_trials(DECLARED, [{"engine": "eager"}, {"engine": "openvino"}])
    assert Store(tmp_path).trials(DECLARED) == [{"engine": "eager"}, {"engine": "openvino"}]
    assert {len(entry["trials"]) for entry in store.all_trials()} == {1, 2}


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"{}", b'{"trials": 3, "declared": {}}', b"\xff"])
def test_broken_trials_are_as_good_as_none(tmp_path: Path, broken: bytes) -> None:
    store = Store(tmp_path)
    store.keep_trials(DECLARED, [{"engine": "eager"}])
    next(tmp_path.glob("trials/*.json")).write_bytes(broken)
    assert store.trials(DECLARED) == store.all_trials() == []
