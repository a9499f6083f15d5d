"""Images of 16 bits a channel, of which the set uses fewer."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.data.images import png_chunk
from transfer.data import decode
from transfer.data.limits import BadImage

Values = npt.NDArray[np.uint16]

SIZE = HEIGHT, WIDTH = 24, 40
COLOURS = {"grey": (0, 1), "RGB": (2, 3), "RGBA": (6, 4)}
BITS = [8, 10, 12, 14, 15, 16]


def values(bits: int, channels: int, *, alpha: int | None = None) -> Values:
    """Values that use so many bits, the largest among them."""
    x = np.random.default_rng(bits).integers(0, 1 << bits, (HEIGHT, WIDTH, channels), np.uint16)
    x[0, 0] = (1 << bits) - 1
    if channels in (2, 4):
        x[..., -1] = (1 << bits) - 1 if alpha is None else alpha
    return x


def png(x: Values, colour: int, *more: bytes) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x)
    header = struct.pack(">IIBBBBB", x.shape[1], x.shape[0], 16, colour, 0, 0, 0)
    chunks = [
        png_chunk(b"IHDR", header),
        *more,
        png_chunk(b"IDAT", zlib.compress(rows)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(x: Values, order: str, *, deflated: bool = False) -> bytes:
    """An RGB or grey TIFF of 16 bits in one strip; `order` is `<` or `>`."""
    rows = x.astype(f"{order}u2").tobytes()
    body = zlib.compress(rows) if deflated else rows
    channels = x.shape[2]
    depths = struct.pack(f"{order}{channels}H", *[16] * channels)
    depths_at = 8
    body_at = depths_at + len(depths)
    tags: list[tuple[int, int, int, int]] = [
        (256, 4, 1, x.shape[1]),
        (257, 4, 1, x.shape[0]),
        (258, 3, channels, 16 if channels == 1 else depths_at),
        (259, 3, 1, 8 if deflated else 1),
        (262, 3, 1, 1 if channels == 1 else 2),
        (273, 4, 1, body_at),
        (277, 3, 1, channels),
        (278, 4, 1, x.shape[0]),
        (279, 4, 1, len(body)),
    ]
    entries = b""
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        packed = struct.pack(f"{order}HH" if short else f"{order}I", *((value, 0) if short else (value,)))
        entries += struct.pack(f"{order}HHI", tag, kind, count) + packed
    mark = b"II" if order == "<" else b"MM"
    start = mark + struct.pack(f"{order}HI", 42, body_at + len(body))
    return start + depths + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def shown(x: Values, shift: int) -> npt.NDArray[np.integer]:
    seen = x[..., :3] if x.shape[2] > 2 else x[..., :1]
    return np.broadcast_to(np.minimum(seen >> shift, 255), (*x.shape[:2], 3))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("colour", "channels"), COLOURS.values(), ids=COLOURS)
def test_the_bits_used_become_8_in_a_png(colour: int, channels: int, bits: int) -> None:
    x = values(bits, channels)
    data = png(x, colour)
    assert decode.header_of(data) == (SIZE, True)
    assert decode.bits_of(data) == bits
    shift = decode.shift_for(bits)
    np.testing.assert_array_equal(decode.pixels(data, SIZE, shift), shown(x, shift))
    np.testing.assert_array_equal(decode.pixels(data, SIZE), shown(x, shift))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
def test_the_bits_used_become_8_in_a_tiff(deflated: bool, order: str, channels: int, bits: int) -> None:
    x = values(bits, channels)
    data = tiff(x, order, deflated=deflated)
    assert decode.bits_of(data) == bits
    shift = decode.shift_for(bits)
    np.testing.assert_array_equal(decode.pixels(data, SIZE, shift), shown(x, shift))


@pytest.mark.parametrize("shift", [0, 2, 4, 8])
@pytest.mark.parametrize(("colour", "channels"), COLOURS.values(), ids=COLOURS)
def test_values_beyond_the_bits_of_the_set_are_cut(colour: int, channels: int, shift: int) -> None:
    x = values(16, channels)
    np.testing.assert_array_equal(decode.pixels(png(x, colour), SIZE, shift), shown(x, shift))


@pytest.mark.parametrize("alpha", [4095, 65535])
def test_alpha_that_is_full_is_opaque_whatever_bits_are_used(alpha: int) -> None:
    x = values(12, 4, alpha=alpha)
    data = png(x, 6)
    assert decode.bits_of(data) == 12
    np.testing.assert_array_equal(decode.pixels(data, SIZE, 4), shown(x, 4))


def test_grey_with_alpha_of_16_bits_keeps_the_levels_of_its_high_bytes() -> None:
    x = values(12, 2)
    data = png(x, 4)
    assert decode.bits_of(data) == 12
    expected = np.broadcast_to((x[..., :1] >> 8) << 4, (*SIZE, 3))
    found = decode.pixels(data, SIZE, 4)
    assert np.abs(found.astype(int) - expected).max() <= 16  # blended with an alpha of as few levels


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)])
def test_a_transparent_colour_is_white_at_any_shift(colour: int, channels: int) -> None:
    x = values(12, channels)
    key = x[3, 5]
    data = png(x, colour, png_chunk(b"tRNS", key.astype(">u2").tobytes()))
    expected = np.where((x == key).all(-1, keepdims=True), 255, shown(x, 4))
    np.testing.assert_array_equal(decode.pixels(data, SIZE, 4), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK"])
def test_images_of_8_bits_are_not_shifted(mode: str) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(values(8, 3).astype(np.uint8)).convert(mode)
    image.save(buffer, "TIFF")
    assert not decode.header_of(buffer.getvalue())[1]
    found = [decode.pixels(buffer.getvalue(), SIZE, shift) for shift in (0, 4, 8)]
    assert all((one == found[0]).all() for one in found)


@pytest.mark.parametrize("shift", [None, 4])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_of_unknown_range_are_refused(dtype: type[np.generic], shift: int | None) -> None:
    buffer = io.BytesIO()
    Image.fromarray((values(16, 1)[..., 0].astype(float) * 1000).astype(dtype)).save(buffer, "TIFF")
    with pytest.raises(BadImage, match="save it with 8 or 16 bits"):
        decode.pixels(buffer.getvalue(), SIZE, shift)


def test_an_image_in_memory_is_shifted_as_its_file_is() -> None:
    x = values(12, 1)
    opened = Image.open(io.BytesIO(png(x, 0)))
    np.testing.assert_array_equal(decode.pixels_of(opened, SIZE, 4), shown(x, 4))


def test_no_declared_depth_changes_no_key() -> None:
    assert decode.declare_shift(8) == {}
    assert decode.declare_shift(4) != decode.declare_shift(6) != {}
