from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cache.test_feature_table import DECLARED, rows
from tests.object_store import Bucket, failing_server
from tests.refusals import refusal
from transfer.cache import feature_table, inventory
from transfer.cache.feature_table import FeatureTable
from transfer.cache.mirror import Mirror
from transfer.cache.store import Store
from transfer.system.remote import path_of

pytestmark = pytest.mark.slow


@pytest.fixture
def on_machine(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """A function that opens the store in the bucket as on a machine of that name."""

    def open_on(name: str, prefix: str = "team a#%20") -> Store:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return Store(path_of(f"{bucket.url}/{prefix}"))

    return open_on


def shards_of(bucket: Bucket) -> list[str]:
    return [key for key in bucket.list_keys() if key.endswith(".parquet")]


def test_rows_of_one_machine_are_those_of_another(bucket: Bucket, on_machine: Callable[..., Store]) -> None:
    ids, x = rows(10)
    table = on_machine("one").table(DECLARED)
    table.append(ids[:4], x[:4], 2.0, "here")
    [key] = shards_of(bucket)
    assert key.startswith("team a#%20/features/")
    path = next(table.folder.glob("*.parquet"))
    assert bucket.get(key) == path.read_bytes()
    other = on_machine("two")
    assert len(other.list_ids(DECLARED)) == 4
    np.testing.assert_array_equal(other.table(DECLARED).gather(ids[3::-1]), x[3::-1])
    sent = pickle.dumps(on_machine("one"))
    assert on_machine("two").root == pickle.loads(sent).root == other.root != on_machine("one").root
    assert not Store(path_of(f"{bucket.url}/other")).list_ids(DECLARED).any()


def test_merged_rows_are_put_before_what_was_merged_is_deleted(
    bucket: Bucket, on_machine: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_table, "SHARD_ROWS", 8)
    ids, x = rows(20)
    reader = on_machine("two").table(DECLARED)
    table = on_machine("one").table(DECLARED)
    for start in range(0, 20, 2):
        table.append(ids[start : start + 2], x[start : start + 2], 1.0, "here")
        if start == 4:
            reader = on_machine("two").table(DECLARED)
            assert reader.holds(ids).sum() == 6
            on_machine("one")
    table.merge()
    assert len(shards_of(bucket)) == 3
    np.testing.assert_array_equal(on_machine("three").table(DECLARED).gather(ids), x)
    # Of another machine's copy nothing is gone while it is used; opened again, it is that of the store.
    np.testing.assert_array_equal(reader.gather(ids[:6]), x[:6])
    again = on_machine("two").table(DECLARED)
    np.testing.assert_array_equal(again.gather(ids), x)
    assert len(list(again.folder.glob("*.parquet"))) == 3


def test_a_process_merges_what_it_wrote_alone(bucket: Bucket, on_machine: Callable[..., Store]) -> None:
    ids, x = rows(9)
    for i, name in enumerate(["one", "two"]):
        table = on_machine(name).table(DECLARED)
        for start in range(4 * i, 4 * i + 4, 2):
            table.append(ids[start : start + 2], x[start : start + 2], 1.0, "here")
        table.merge()
    assert len(shards_of(bucket)) == 2
    np.testing.assert_array_equal(on_machine("three").table(DECLARED).gather(ids[:8]), x[:8])


def test_a_deleted_object_is_computed_again(bucket: Bucket, on_machine: Callable[..., Store]) -> None:
    ids, x = rows(4)
    table = on_machine("one").table(DECLARED)
    table.append(ids[:2], x[:2], 1.0, "here")
    table.append(ids[2:], x[2:], 1.0, "here")
    bucket.delete(shards_of(bucket)[0])
    for name in ("one", "two"):
        assert on_machine(name).table(DECLARED).holds(ids).sum() == 2


def test_a_damaged_object_is_set_aside_and_its_rows_are_computed_again(
    bucket: Bucket, on_machine: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    ids, x = rows(4)
    on_machine("one").table(DECLARED).append(ids, x, 1.0, "here")
    [key] = shards_of(bucket)
    bucket.put({key: bucket.get(key)[:-1] + b"x"})
    table = on_machine("two").table(DECLARED)
    assert not table.holds(ids).any()
    assert table.damaged == [Path(key).stem]
    assert "a damaged shard is set aside" in caplog.text
    assert bucket.list_keys() == [f"{key}.corrupt"]
    table.append(ids, x, 1.0, "here")
    np.testing.assert_array_equal(on_machine("three").table(DECLARED).gather(ids), x)


def test_a_damaged_copy_is_copied_again(bucket: Bucket, on_machine: Callable[..., Store]) -> None:
    ids, x = rows(4)
    table = on_machine("one").table(DECLARED)
    table.append(ids, x, 1.0, "here")
    path = next(table.folder.glob("*.parquet"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    path.chmod(0o444)
    again = on_machine("one").table(DECLARED)
    np.testing.assert_array_equal(again.gather(ids), x)
    assert again.damaged == [path.stem]
    assert len(shards_of(bucket)) == 1


def test_a_shard_of_another_table_is_set_aside(bucket: Bucket, on_machine: Callable[..., Store]) -> None:
    ids, x = rows(4)
    for declared in (DECLARED, {**DECLARED, "size": [9, 9]}):
        on_machine("one").table(declared).append(ids, x, 1.0, "here")
    first, second = shards_of(bucket)
    stray = f"{Path(first).parent}/{Path(second).name}"
    bucket.put({stray: bucket.get(second)})
    damaged = [on_machine(name).table({**DECLARED}).damaged for name in ("two", "three")]
    damaged += [on_machine(name).table({**DECLARED, "size": [9, 9]}).damaged for name in ("two", "three")]
    assert sorted(damaged) == [[], [], [], [Path(second).stem]]
    assert len(shards_of(bucket)) == 2
    assert f"{stray}.corrupt" in bucket.list_keys()


def test_a_store_that_lists_what_it_has_not_is_refused(
    on_machine: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ids = on_machine("one"), rows(4)
    store.table(DECLARED).append(*ids, 1.0, "here")
    monkeypatch.setattr(Mirror, "_fetch_shard", lambda *_: None)
    assert "lists files that are not there" in refusal(on_machine("two").table, DECLARED)


def test_other_objects_are_left_alone(bucket: Bucket, on_machine: Callable[..., Store]) -> None:
    ids, x = rows(4)
    table = on_machine("one").table(DECLARED)
    table.append(ids, x, 1.0, "here")
    folder = f"team a#%20/features/{table.folder.name}"
    mine = {f"{folder}/notes.txt": b"mine", f"{folder}/{'0' * 63}.parquet": b"mine", f"{folder}/a/b": b""}
    bucket.put(mine)
    on_machine("two").table(DECLARED).append(*rows(3, seed=1), 1.0, "here")
    assert {*mine} <= {*bucket.list_keys()}
    assert not list(on_machine("two").root.rglob("notes.txt"))


def test_made_files_and_trials_are_those_of_another_machine(on_machine: Callable[..., Store]) -> None:
    kept = on_machine("one").keep("weights", DECLARED, b"weights", 3.0, "here")
    found = on_machine("two").find_made("weights", DECLARED)
    assert found == kept.__class__(found.path, kept.sha256, 3.0, "here")
    assert found.path.read_bytes() == b"weights"
    on_machine("one").keep_trials(DECLARED, [{"engine": "eager"}])
    on_machine("two").keep_trials(DECLARED, [{"engine": "eager"}, {"engine": "openvino"}])
    assert len(on_machine("one").trials(DECLARED)) == len(on_machine("three").trials(DECLARED)) == 2
    assert on_machine("three").find_made("calibrated", DECLARED) is None


def test_a_copy_of_a_made_file_that_was_cut_is_made_again(
    on_machine: Callable[..., Store], bucket: Bucket
) -> None:
    on_machine("one").keep("weights", DECLARED, b"weights", 3.0, "here")
    [key] = [key for key in bucket.list_keys() if key.endswith(".safetensors")]
    bucket.put({key: b"weigh"})
    store = on_machine("two")
    assert store.find_made("weights", DECLARED) is None
    store.keep("weights", DECLARED, b"weights", 3.0, "here")
    assert on_machine("three").find_made("weights", DECLARED) is not None


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_fails_loses_nothing(
    on_machine: Callable[..., Store],
    bucket: Bucket,
    s3_endpoint: str,
    at_endpoint: Callable[[str], None],
    status: int,
) -> None:
    ids, x = rows(6)
    table = on_machine("one").table(DECLARED)
    table.append(ids[:2], x[:2], 1.0, "here")
    with failing_server(status) as url:
        at_endpoint(url)
        message = refusal(table.append, ids[2:4], x[2:4], 1.0, "here")
        assert bucket.url in message
        assert bucket.url in refusal(on_machine("one").table, DECLARED)
    at_endpoint(s3_endpoint)
    assert len(shards_of(bucket)) == 1
    again = on_machine("one").table(DECLARED)
    again.append(ids[4:], x[4:], 1.0, "here")
    np.testing.assert_array_equal(again.gather(ids), x)
    np.testing.assert_array_equal(on_machine("two").table(DECLARED).gather(ids), x)


def test_a_store_needs_a_bucket_that_is_there(on_machine: Callable[..., Store]) -> None:
    on_machine("one")
    store = Store(path_of("s3://no-such-bucket-here/x"))
    message = refusal(store.table, DECLARED)
    assert message == (
        "s3://no-such-bucket-here/x is not there; make its bucket, or name another `store`; what was computed is kept"
    )


def test_a_store_is_not_kept_by_http_and_has_no_inventory(on_machine: Callable[..., Store]) -> None:
    assert "nothing can be kept in http://host/x" in refusal(Store, path_of("http://host/x"))
    store = on_machine("one")
    assert isinstance(store.mirror, Mirror)
    message = refusal(inventory.list_entries, store.mirror.url)
    assert "has no inventory" in message
    assert str(store.root) in message
    store.table(DECLARED).append(*rows(3), 1.0, "here")
    [entry] = inventory.list_entries(store.root)
    assert list(inventory.find_faults(entry)) == []


CHILD = """
import json, sys
import numpy as np
from tests.cache.test_feature_table import DECLARED, rows
from transfer.cache.store import Store
from transfer.system.remote import path_of

ids, x = rows(400)
order = np.random.default_rng(int(sys.argv[2])).permutation(400)
table = Store(path_of(sys.argv[1])).table(DECLARED)
print("[]", flush=True)
sys.stdin.readline()
for start in range(0, 400, 10):
    part = order[start : start + 10]
    part = part[~table.holds(ids[part])]
    if len(part):
        table.append(ids[part], x[part], 1.0, "here")
    print(json.dumps(part.tolist()), flush=True)
table.merge()
"""


def child(bucket: Bucket, name: str, seed: int, tmp_path: Path) -> subprocess.Popen[str]:
    """Start a process that keeps 400 rows, ten at a time, once it may, and prints which when they are kept."""
    words = [sys.executable, "-c", textwrap.dedent(CHILD), f"{bucket.url}/store", str(seed)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / name)}
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def begin(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Let processes begin once all have opened the table."""
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "[]\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()


def kept(process: subprocess.Popen[str]) -> list[int]:
    with process:
        assert process.stdout
        return [row for line in process.stdout.read().splitlines() for row in json.loads(line)]


def opened(on_machine: Callable[..., Store]) -> FeatureTable:
    return on_machine("reader", "store").table(DECLARED)


def test_two_machines_at_once_keep_all_rows(
    bucket: Bucket, on_machine: Callable[..., Store], tmp_path: Path
) -> None:
    processes = [child(bucket, name, seed, tmp_path) for seed, name in enumerate(["one", "two"])]
    begin(processes)
    for process in processes:
        kept(process)
        assert process.returncode == 0
    ids, x = rows(400)
    np.testing.assert_array_equal(opened(on_machine).gather(ids), x)
    assert len(shards_of(bucket)) == 2


def test_what_a_killed_process_kept_is_there(
    bucket: Bucket, on_machine: Callable[..., Store], tmp_path: Path
) -> None:
    ids, x = rows(400)
    done: list[int] = []
    for seed in range(2):
        process = child(bucket, f"killed {seed}", seed, tmp_path)
        begin([process])
        while len(shards_of(bucket)) < 3 * (seed + 1) and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        done += kept(process)
        held = opened(on_machine).holds(ids)
        assert held[done].all()
        assert held.sum() >= 30
    process = child(bucket, "last", 9, tmp_path)
    begin([process])
    new: Any = kept(process)
    assert process.returncode == 0
    assert not held[new].any()
    np.testing.assert_array_equal(opened(on_machine).gather(ids), x)
