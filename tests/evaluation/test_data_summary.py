from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer.data import dataset
from transfer.data.bad_images import BadImages
from transfer.data.indexing import read
from transfer.data.loader import IndexedImages
from transfer.evaluation.data_summary import fingerprint
from transfer.system.progress import silent
from transfer.system.thread_pools import StartedPool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label in ("boat", "pier"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 255, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / label / f"{i}.png")
    return tmp_path


def load(folder: Path) -> tuple[IndexedImages, tuple[str, ...]]:
    found = dataset.find(folder)
    with StartedPool(1) as pool:
        return read(found, pool, BadImages(folder, "error"), silent), found.classes


def test_the_fingerprint_is_the_same_wherever_the_folder_lies(folder: Path) -> None:
    before = fingerprint(*load(folder))
    moved = folder.rename(folder.with_name("moved"))
    assert fingerprint(*load(moved)) == before
    assert len(before) == 64


@pytest.mark.parametrize("change", ["content", "name", "label", "split"])
def test_the_fingerprint_changes_with_the_images(folder: Path, change: str) -> None:
    before = fingerprint(*load(folder))
    path = folder / "train/boat/0.png"
    if change == "content":
        Image.new("RGB", (40, 40), "red").save(path)
    elif change == "name":
        path.rename(folder / "train/boat/9.png")
    elif change == "label":
        path.rename(folder / "train/pier/9.png")
    else:
        path.rename(folder / "test/boat/9.png")
    assert fingerprint(*load(folder)) != before
