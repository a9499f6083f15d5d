import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer.data import indexing
from transfer.data.bad_images import BadImages
from transfer.data.dataset import find
from transfer.data.indexing import read
from transfer.data.known_files import KnownFiles
from transfer.data.loader import IndexedImages
from transfer.system.progress import silent

AN_HOUR = 3600


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images each of two classes, one deep, one a copy, none of them written a moment ago as far as is known."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (6 + i, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    Image.fromarray(rng.integers(0, 4096, (7, 9), dtype=np.uint16)).save(tmp_path / "photos" / "a" / "0.png")
    (tmp_path / "photos" / "b" / "4.png").write_bytes((tmp_path / "photos" / "b" / "3.png").read_bytes())
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + AN_HOUR * 10**9)


def read_all(photos: Path, known: KnownFiles | None) -> IndexedImages:
    with ThreadPoolExecutor(2) as pool:
        return read(find(photos, seed=0), pool, BadImages(photos, "skip"), silent, known)


def assert_equal(one: IndexedImages, other: IndexedImages) -> None:
    for name in ("ids_N32", "size_N2", "split_N", "label_N"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert list(one.samples.names) == list(other.samples.names)
    assert (one.shift, one.has_heif) == (other.shift, other.has_heif)


def test_known_files_are_not_read_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, plain = KnownFiles(tmp_path / "known-files.sqlite"), read_all(photos, None)
    assert plain.shift == 4
    assert_equal(read_all(photos, known), plain)
    read_now: list[str] = []
    headers = indexing._headers

    def spied(paths: list[Path]) -> object:
        read_now.extend(path.name for path in paths)
        return headers(paths)

    monkeypatch.setattr(indexing, "_headers", spied)
    assert_equal(read_all(photos, known), plain)
    assert read_now == []
    Image.new("RGB", (9, 9)).save(photos / "b" / "new.png")
    (photos / "a" / "1.png").write_bytes((photos / "a" / "2.png").read_bytes())
    assert_equal(read_all(photos, known), read_all(photos, None))
    assert sorted(read_now[:2]) == ["1.png", "new.png"]


def test_rehash_finds_what_times_do_not_show(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "known-files.sqlite"
    before = read_all(photos, KnownFiles(path))
    changed = photos / "b" / "3.png"
    data = bytearray(changed.read_bytes())
    own = changed.stat()
    data[-1] ^= 1  # of the checksum of its last part, which is empty
    with changed.open("r+b") as file:
        file.write(data)
    os.utime(changed, ns=(own.st_atime_ns, own.st_mtime_ns))
    again = read_all(photos, KnownFiles(path, rehash=True))
    assert (before.ids_N32 != again.ids_N32).any()


def test_a_bad_image_is_read_each_time(photos: Path, tmp_path: Path) -> None:
    (photos / "a" / "2.png").write_bytes(b"no image")
    known = KnownFiles(tmp_path / "known-files.sqlite")
    assert_equal(read_all(photos, known), read_all(photos, known))
    assert len(read_all(photos, known)) == 9


def test_files_that_are_waited_for_are_read_in_more_threads(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read_all(photos, None)
    monkeypatch.setattr(indexing, "FILES_A_TASK", 1)
    monkeypatch.setattr(indexing, "SLOW_S", 0)
    together, begun = threading.Barrier(9), list[Path]()  # as many as there are beside the first
    headers = indexing._headers

    def waits(paths: list[Path]) -> object:
        begun.extend(paths)
        if len(begun) > 1:
            together.wait(10)
        return headers(paths)

    monkeypatch.setattr(indexing, "_headers", waits)
    assert_equal(read_all(photos, None), plain)
    assert len(begun) == 10
