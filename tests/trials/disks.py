"""Disks that are full, become read-only, or are somebody else's."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trials import children
from transfer.cache import shards

EACH = 8
NOBODY = 65534


def can_mount() -> bool:
    """Whether a small disk of our own can be had here."""
    return os.name == "posix" and os.geteuid() == 0 and Path("/proc/mounts").exists()


def full(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` disks, of no room for the weights to room for some rows: exit 2, one line; with more room it goes on."""
    images, calm = _calm(folder)
    met: Counter[str] = Counter()
    weights, rows = (_kilobytes(folder / "calm" / part) for part in ("weights", "features"))
    for case in range(count):
        kilobytes = weights // 2 if not case else weights + 32 + rows * case // count + seed % 7
        with small_disk(folder / "disk", kilobytes) as disk:
            outcome = _command(folder, disk)
            met["cases"] += 1
            met["full"] += outcome["status"] == 2
            if outcome["status"] == 2:
                assert len(outcome["stderr"].splitlines()) == 1, outcome
                assert "No space left on device" in outcome["stderr"], outcome
            held = children.committed(disk)
            met["rows kept"] += len(held)
            subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
            _goes_on(folder, disk, images, held, calm)
    return met


def read_only(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` disks that become read-only while a run writes to them."""
    images, calm = _calm(folder)
    met: Counter[str] = Counter()
    for case in range(count):
        met["cases"] += 1
        with small_disk(folder / "disk", 1 << 20) as disk:
            process = children.start(
                children.command, ["extract", *children.words(folder, disk)], folder / "outcome"
            )
            wanted = (case + seed) % count * images // count
            while process.is_alive() and len(list(disk.glob("features/*/*.parquet"))) * 8 < wanted:
                time.sleep(0.001)
            _become_read_only(disk, process)
            status = children.ended(process)
            outcome = json.loads((folder / "outcome").read_text())
            if status:
                assert status == 2, outcome
                assert len(outcome["stderr"].splitlines()) == 1, outcome
                assert "Read-only file system" in outcome["stderr"], outcome
                met["became read-only"] += 1
            held = children.committed(disk)
            if len(held) == images:  # a store that can only be read serves a run that finds everything in it
                assert _command(folder, disk)["status"] == 0
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            met["rows kept"] += len(held)
            _goes_on(folder, disk, images, held, calm)
    return met


def _become_read_only(disk: Path, process: BaseProcess) -> None:
    """Between two steps of a process that writes to the disk: it is held meanwhile, or it would be done before."""
    while True:
        _signal(process, signal.SIGSTOP)
        busy = subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode
        _signal(process, signal.SIGCONT)
        if not busy:
            return
        time.sleep(0.001)  # a file is being written


def _signal(process: BaseProcess, number: signal.Signals) -> None:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, number)


def forbidden(folder: Path) -> Counter[str]:
    """A store that another user may only read, empty and full."""
    images, calm = _calm(folder)
    for path in (folder, folder / "images", folder / "calm"):
        path.chmod(0o755)
    empty = folder / "empty"
    empty.mkdir(mode=0o555)
    outcome = _command(folder, empty, user=NOBODY)
    assert outcome["status"] == 2
    assert len(outcome["stderr"].splitlines()) == 1
    assert "Permission denied" in outcome["stderr"]
    assert _command(folder, folder / "calm", user=NOBODY)["status"] == 0
    _goes_on(folder, folder / "calm", images, children.committed(folder / "calm"), calm)
    return Counter(refused=1, served=1)


def sticky(count: int, seed: int, folder: Path) -> Counter[str]:
    """A store in folders with the sticky bit, where another user's small shards can't be deleted: it does not grow."""
    images, _ = _calm(folder)
    for path in (folder, folder / "images", *folder.parents[:3]):
        if path != Path("/tmp"):
            path.chmod(0o755)
    store, met = folder / "calm", Counter[str]()
    features = next((store / "features").iterdir())
    for path in shards.list_shards(features):  # as several runs on few images leave them
        shard, ids_N32 = shards.read(path)
        for i, row_1D in enumerate(np.split(shard.load(), len(ids_N32))):
            shards.write(features, shard.declared, ids_N32[i : i + 1], row_1D, shard.seconds, shard.made_on)
        shards.delete(path)
    for path in (store, *store.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o1777 if path.is_dir() else 0o644)
    for case in range(count):
        (folder / f"images/test/class0/new{case}.png").write_bytes(_new_image(case))
        outcome = _command(folder, store, user=NOBODY + 1)
        assert outcome["status"] == 0, outcome
        met["cases"] += 1
        rows = sum(shard.shape[0] for shard, _ in shards.read_headers(features))
        assert rows == len(children.committed(store)) == images + case + 1, "rows lie there twice"
    return met


def _new_image(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (children.SIZE, children.SIZE), (200, 10, number)).save(buffer, "PNG")
    return buffer.getvalue()


def _calm(folder: Path) -> tuple[int, bytes]:
    images = children.make_images(folder / "images", each=EACH)
    children.complete(children.features, folder, folder / "calm", folder / "calm")
    return images, (folder / "calm.npy").read_bytes()


def _command(folder: Path, store: Path, *, user: int | None = None) -> dict[str, object]:
    out = folder / "outcome"
    argv = ["extract", *children.words(folder, store)]
    children.ended(children.start(children.command, argv, out, user))
    return json.loads(out.read_text())


def _goes_on(folder: Path, store: Path, images: int, held: set[str], calm: bytes) -> None:
    out = folder / "after"
    children.complete(children.features, folder, store, out)
    counts = json.loads(out.with_suffix(".json").read_text())
    assert counts == {"computed": images - len(held), "reused": len(held), "damaged": 0}, counts
    assert out.with_suffix(".npy").read_bytes() == calm


def _kilobytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024


@contextmanager
def small_disk(where: Path, kilobytes: int) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)
