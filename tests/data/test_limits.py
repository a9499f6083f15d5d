"""What image files are refused for before they are decoded, and what their checksums tell."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transfer.data import decode
from transfer.data.limits import BadImage

SIZE = (24, 40)


def encoded(kind: str, **options: Any) -> bytes:
    x = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, kind, **options)
    return buffer.getvalue()


def chunks(data: bytes) -> dict[bytes, int]:
    """Where the body of each chunk of a PNG begins."""
    found, at = {}, 8
    while at < len(data):
        found[data[at + 4 : at + 8]] = at + 8
        at += 12 + int.from_bytes(data[at : at + 4])
    return found


@pytest.mark.parametrize("level", [0, 6])
@pytest.mark.parametrize("place", ["first", "middle", "checksum"])
def test_a_flipped_bit_in_the_pixels_of_a_png_is_found(level: int, place: str) -> None:
    data = bytearray(encoded("PNG", compress_level=level))
    start = chunks(bytes(data))[b"IDAT"]
    length = int.from_bytes(data[start - 8 : start - 4])
    at = {"first": start + 7, "middle": start + length // 2, "checksum": start + length + 3}[place]
    data[at] ^= 0x10
    with pytest.raises(BadImage):
        decode.pixels(bytes(data), SIZE)


def test_a_bit_that_leaves_the_stream_readable_is_found_by_the_checksum() -> None:
    data = bytearray(encoded("PNG", compress_level=0))
    data[chunks(bytes(data))[b"IDAT"] + 500] ^= 1
    with pytest.raises(BadImage, match="checksum"):
        decode.pixels(bytes(data), SIZE)


def test_a_png_without_its_end_is_read_as_long_as_its_pixels_are_whole() -> None:
    data = encoded("PNG")
    np.testing.assert_array_equal(decode.pixels(data[:-12], SIZE), decode.pixels(data, SIZE))


def test_a_tiff_of_huge_tiles_is_refused() -> None:
    data = bytearray(encoded("TIFF"))
    for tag, replaced in ((278, 322), (279, 323)):  # rows and bytes of a strip become sides of a tile
        at = data.index(struct.pack("<HH", tag, 4))
        data[at : at + 12] = struct.pack("<HHII", replaced, 4, 1, 60_000)
    with pytest.raises(BadImage):
        decode.pixels(bytes(data), SIZE)


def test_a_tiff_of_too_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("TIFF", compression="jpeg")
    decode.pixels(data, SIZE)
    scan = data.index(b"\xff\xda")
    monkeypatch.setattr(decode.limits, "MAX_SCANNED_PIXELS", 5 * SIZE[0] * SIZE[1])
    decode.pixels(data, SIZE)
    with pytest.raises(BadImage, match="scans of 960 pixels"):
        decode.size_of(data + data[scan : scan + 2] * 9)


@pytest.mark.parametrize("kind", ["AVIF", "WEBP"])
def test_formats_whose_decoders_copy_may_have_half_as_many_pixels(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(kind)
    monkeypatch.setattr(decode.limits, "MAX_PIXELS", 2 * SIZE[0] * SIZE[1] - 1)
    with pytest.raises(BadImage, match="more than 959 pixels"):
        decode.size_of(data)


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_the_pixels_of_other_formats_are_bounded_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(kind)
    monkeypatch.setattr(decode.limits, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    with pytest.raises(BadImage, match="more than 959 pixels"):
        decode.size_of(data)
