from __future__ import annotations

import builtins
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transfer.data import decode, heif
from transfer.data.limits import BadImage
from transfer.data.loader import File

SIZE = (48, 64)


def corners() -> np.ndarray:
    """A picture of four corners of other colours: every turn of it is another one."""
    x = np.zeros((*SIZE, 3), np.uint8)
    x[:24, :32], x[:24, 32:], x[24:, :32] = (220, 30, 30), (30, 200, 30), (30, 30, 200)
    return x


def encoded(image: Image.Image, **options: Any) -> bytes:
    heif.register()
    buffer = io.BytesIO()
    image.save(buffer, "HEIF", quality=95, **options)
    return buffer.getvalue()


def assert_near(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 6


@pytest.fixture
def heif_package() -> None:
    pytest.importorskip("pillow_heif")


@pytest.fixture
def no_heif_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = builtins.__import__

    def fail(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    heif.register.cache_clear()
    monkeypatch.setattr(builtins, "__import__", fail)
    yield
    heif.register.cache_clear()


@pytest.mark.usefixtures("heif_package")
@pytest.mark.parametrize("suffix", [".heic", ".HEIF", ".jpg", ""])
def test_pixels_of_a_heic_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(encoded(Image.fromarray(corners())))
    assert decode.header_of(path.read_bytes()) == (SIZE, False)
    assert_near(File(path).pixels(SIZE), corners())
    assert File(path).pixels((10, 33)).shape == (10, 33, 3)


@pytest.mark.usefixtures("heif_package")
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, corners()), (2, corners()[:, ::-1]), (3, corners()[::-1, ::-1]), (4, corners()[::-1]),
        (5, corners().transpose(1, 0, 2)), (6, np.rot90(corners(), -1)),
        (7, np.rot90(corners(), 2).transpose(1, 0, 2)), (8, np.rot90(corners())),
    ],
)  # fmt: skip
def test_every_orientation_gives_the_upright_picture(orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(corners()), exif=exif.tobytes())
    assert decode.size_of(data) == upright.shape[:2]
    assert_near(decode.pixels(data, upright.shape[:2]), upright)


@pytest.mark.usefixtures("heif_package")
def test_transparent_parts_are_white_and_grey_has_equal_channels() -> None:
    clear = encoded(Image.new("RGBA", SIZE[::-1], (10, 10, 10, 0)))
    assert decode.pixels(clear, SIZE).min() > 250
    grey = decode.pixels(encoded(Image.new("L", SIZE[::-1], 99)), SIZE)
    assert_near(grey, np.full((*SIZE, 3), 99))
    assert np.ptp(grey, axis=2).max() == 0


@pytest.mark.usefixtures("heif_package")
def test_ten_bits_are_cut_to_eight() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    deep = (corners().astype(np.uint16) << 8).tobytes()
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", SIZE[::-1], deep).save(buffer, quality=95)
    assert decode.header_of(buffer.getvalue()) == (SIZE, False)
    assert_near(decode.pixels(buffer.getvalue(), SIZE), corners())


@pytest.mark.usefixtures("heif_package")
def test_damaged_and_too_large_ones_are_bad_images(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(corners()))
    for damaged in (data[:20], data[:200], data[: len(data) - 40], data[:64] + bytes(len(data) - 64)):
        with pytest.raises(BadImage):
            decode.pixels(damaged, SIZE)
    monkeypatch.setattr(decode.limits, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    with pytest.raises(BadImage, match="more than 3,071 pixels"):
        decode.size_of(data)


@pytest.mark.usefixtures("no_heif_package")
def test_without_the_package_one_line_names_it() -> None:
    data = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(99)
    with pytest.raises(BadImage, match="HEIC needs pillow-heif; install it"):
        decode.size_of(data)
