"""Small pictures: their size, and what becomes of images and encoders that fail."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import JpegImagePlugin

from transfer.data.loader import File
from transfer.data.thumbnails import make_thumbnail


@pytest.fixture
def image(tmp_path: Path) -> File:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 200, 3), np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "one.png")
    return File(tmp_path / "one.png")


@pytest.mark.parametrize(
    ("size", "shown"), [((60, 200), (96, 320)), ((800, 200), (96, 24)), ((60, 2000), (10, 320))]
)
def test_a_thumbnail_keeps_the_ratio(image: File, size: tuple[int, int], shown: tuple[int, int]) -> None:
    jpeg = make_thumbnail(image, size)
    assert jpeg is not None
    assert PillowImage.open(io.BytesIO(jpeg)).size == shown[::-1]


def test_an_image_that_is_gone_has_none(tmp_path: Path) -> None:
    assert make_thumbnail(File(tmp_path / "none.png"), (60, 200)) is None


def test_an_encoder_that_fails_is_out_of_memory(image: File, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("broken data stream when writing image file")

    monkeypatch.setattr(JpegImagePlugin.ImageFile, "_save", fail)
    with pytest.raises(MemoryError):
        make_thumbnail(image, (60, 200))
