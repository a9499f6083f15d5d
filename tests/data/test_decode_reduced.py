"""JPEGs decoded at a reduced scale: how near to whole ones, when not at all, and what is refused."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.data.images import encoded, with_orientation
from transfer.data import decode
from transfer.data.limits import BadImage
from transfer.data.resize import LEAST_REDUCED, Resizing

# No multiples of 8: the last reduced pixels hold less of the picture than the others.
HEIGHT, WIDTH = 403, 603
SIZE = (24, 33)
WAYS = ["stretch", "letterbox", "crop"]


def photograph(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A gradient of its own direction in each channel, under waves that a reduced image still has."""
    down, along = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    channels = [down, along, (2 - down - along) / 2 + 0.1 * np.sin(25 * down * along)]
    return Image.fromarray((np.clip(np.stack(channels, axis=-1), 0, 1) * 255).astype(np.uint8))


def both(
    data: bytes, size: tuple[int, int] = SIZE, way: str = "stretch", resample: str = "bilinear"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The pixels of a file decoded at a reduced scale, and of the whole."""
    return (
        decode.pixels(data, size, resizing=Resizing(way, resample, reduced=True)),
        decode.pixels(data, size, resizing=Resizing(way, resample)),
    )


def largest_difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_and_way_gives_nearly_the_pixels_of_the_whole(orientation: int, way: str) -> None:
    data = encoded(photograph(), quality=95, exif=with_orientation(orientation))
    reduced, whole = both(data, way=way)
    assert 0 < largest_difference(reduced, whole) <= 4


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:0"},
        {"restart_marker_rows": 1},
        {"mode": "L"},
        {"mode": "CMYK"},
        {"resample": "bicubic"},
    ],
    ids=str,
)
def test_every_kind_of_jpeg_gives_nearly_the_pixels_of_the_whole(options: dict[str, Any]) -> None:
    options = dict(options)
    mode, resample = options.pop("mode", "RGB"), options.pop("resample", "bilinear")
    reduced, whole = both(encoded(photograph().convert(mode), quality=95, **options), resample=resample)
    assert largest_difference(reduced, whole) <= 4


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_as_small_as_keeps_twice_the_size_and_no_smaller(scale: int, orientation: int) -> None:
    size = (20, 30)
    side, other = (scale * LEAST_REDUCED * one for one in size)
    stored = (side, other) if orientation == 1 else (other, side)
    for less, expected in ((0, scale), (1, scale // 2)):
        data = encoded(photograph(stored[0] - less, stored[1]), exif=with_orientation(orientation))
        image = Image.open(io.BytesIO(data))
        whole = image.size
        assert bool(decode._reduce(image, size, Resizing(reduced=True))) == (expected > 1)
        assert image.size == tuple(-(-one // max(1, expected)) for one in whole)


@pytest.mark.parametrize("way", WAYS)
def test_the_size_that_counts_is_what_the_image_is_scaled_to(way: str) -> None:
    image = Image.open(io.BytesIO(encoded(photograph(160, 640))))
    decode._reduce(image, (40, 40), Resizing(way, reduced=True))
    scale = {"stretch": 2, "letterbox": 8, "crop": 2}[way]  # to 40x40, 10x40 and 40x160
    assert image.size == (640 // scale, 160 // scale)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_other_formats_are_as_ever(kind: str) -> None:
    image = photograph()
    reduced, whole = both(encoded(image.quantize() if kind == "GIF" else image, kind))
    np.testing.assert_array_equal(reduced, whole)


def test_a_jpeg_in_a_tiff_is_as_ever() -> None:
    reduced, whole = both(encoded(photograph(), "TIFF", compression="jpeg"))
    np.testing.assert_array_equal(reduced, whole)


def test_photographs_of_several_pictures_give_the_first() -> None:
    data = encoded(photograph(), "MPO", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))])
    reduced, whole = both(data)
    assert 0 < largest_difference(reduced, whole) <= 4


def test_an_image_of_the_size_or_a_little_larger_is_decoded_whole() -> None:
    for size in ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 3)):
        reduced, whole = both(encoded(photograph()), size)
        np.testing.assert_array_equal(reduced, whole)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_bad_at_any_scale(share: float, *, progressive: bool) -> None:
    data = encoded(photograph(), progressive=progressive)
    for reduced in (False, True):
        with pytest.raises(BadImage):
            decode.pixels(data[: int(share * len(data))], SIZE, resizing=Resizing(reduced=reduced))


def test_what_is_damaged_is_bad_at_a_reduced_scale_where_it_is_at_the_whole() -> None:
    data, rng = encoded(photograph()), np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            broken[at] = rng.integers(256)
        outcomes = []
        for reduced in (False, True):
            try:
                decode.pixels(bytes(broken), SIZE, resizing=Resizing(reduced=reduced))
                outcomes.append("decoded")
            except BadImage:
                outcomes.append("bad")
        assert outcomes[0] == outcomes[1]


def test_a_large_photograph_of_one_scan_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGE_PIXELS", HEIGHT * WIDTH - 1)
    waited = []

    def wait(is_large: bool) -> Any:
        waited.append(is_large)
        return contextlib.nullcontext()

    monkeypatch.setattr(decode, "_alone", wait)
    one, several = encoded(photograph()), encoded(photograph(), progressive=True)
    for data in (one, several):
        both(data)
    assert waited == [False, True, True, True]


def test_a_reduced_scale_is_part_of_what_features_depend_on() -> None:
    assert Resizing(reduced=True).declared == {
        **Resizing().declared,
        "reduced": "JPEGs at 1/2, 1/4 or 1/8, at least 2 times the scaled size",
    }
