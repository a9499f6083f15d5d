from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageFile

from tests.data.images import encoded, png_chunk, with_orientation
from transfer.data import decode
from transfer.data.limits import MAX_SCANNED_PIXELS, BadImage

Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 24, 40
SIZE = (HEIGHT, WIDTH)
MAX_PIXELS = 89_478_485

# What each EXIF orientation does to a picture that is stored as (H, W, 3), by the EXIF standard's words on
# where its first row and column belong.
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[:, ::-1],
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda x: x.transpose(1, 0, 2)[::-1],
}


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def smooth() -> Pixels:
    """A gradient of its own direction in each channel, which lossy formats keep to within a few levels."""
    down, along = np.meshgrid(np.linspace(0, 255, HEIGHT), np.linspace(0, 255, WIDTH), indexing="ij")
    return np.stack([down, along, 255 - down], axis=-1).astype(np.uint8)


def reopened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def png_declaring(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    )


def png_of_rows(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG put together by hand: `rows` without filter bytes, `more` chunks before the pixels."""
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *more,
            png_chunk(b"IDAT", zlib.compress(filtered)),
            png_chunk(b"IEND", b""),
        ]
    )


def on_white(x: Pixels, alpha: Pixels) -> npt.NDArray[np.float64]:
    share = alpha[..., None] / 255
    return x * share + 255 * (1 - share)


def assert_close(found: Pixels, expected: npt.ArrayLike) -> None:
    """Equal but for the rounding of one level."""
    assert np.abs(found - np.asarray(expected, float)).max() <= 1


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(BadImage) as caught:
        call()
    return str(caught.value)


def assert_one_line(reason: str) -> None:
    assert reason.strip()
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        *(("TIFF", {"compression": name}) for name in (None, "tiff_lzw", "tiff_deflate", "packbits")),
    ],
)
def test_lossless_formats_give_the_very_pixels(kind: str, options: dict[str, Any]) -> None:
    x = noise(HEIGHT, WIDTH, 3)
    data = encoded(Image.fromarray(x), kind, **options)
    assert decode.size_of(data) == SIZE
    np.testing.assert_array_equal(decode.pixels(data, SIZE), x)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_give_what_pillow_decodes(kind: str) -> None:
    data = encoded(Image.fromarray(smooth()), kind, quality=90)
    found = decode.pixels(data, SIZE)
    assert decode.size_of(data) == SIZE
    np.testing.assert_array_equal(found, np.asarray(reopened(data)))
    assert np.abs(found.astype(int) - smooth()).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_pixels_are_uint8_rgb_of_the_size_asked_for(kind: str) -> None:
    found = decode.pixels(encoded(Image.fromarray(smooth()), kind), (10, 33))
    assert found.dtype == np.uint8
    assert found.shape == (10, 33, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG", "GIF", "TIFF"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    x = smooth()[..., 1]
    found = decode.pixels(encoded(Image.fromarray(x), kind), SIZE)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], found[..., 0])
    assert np.abs(found[..., 0].astype(int) - x).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_one_bit_becomes_black_and_white(kind: str) -> None:
    bits = noise(HEIGHT, WIDTH) > 127
    data = encoded(Image.fromarray(bits), kind)
    assert reopened(data).mode == "1"
    expected = np.repeat(np.where(bits, 255, 0)[..., None], 3, axis=-1)
    np.testing.assert_array_equal(decode.pixels(data, SIZE), expected)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_a_palette_is_looked_up(kind: str) -> None:
    indices, colours = noise(HEIGHT, WIDTH), np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.tobytes())
    data = encoded(image, kind)
    assert reopened(data).mode == "P"
    np.testing.assert_array_equal(decode.pixels(data, SIZE), colours[indices])


@pytest.mark.parametrize("transparency", [b"\x00\x80\xff\x40", b"\x00"], ids=["many", "one"])
def test_transparency_of_a_palette_is_blended_on_white(transparency: bytes) -> None:
    indices = noise(HEIGHT, WIDTH) % 4
    colours = np.array([[250, 0, 0], [0, 240, 0], [0, 0, 230], [9, 9, 9]], np.uint8)
    data = png_of_rows(
        WIDTH,
        HEIGHT,
        8,
        3,
        indices.tobytes(),
        png_chunk(b"PLTE", colours.tobytes()),
        png_chunk(b"tRNS", transparency),
    )
    assert "transparency" in reopened(data).info
    alphas = np.frombuffer(transparency.ljust(4, b"\xff"), np.uint8)
    assert_close(decode.pixels(data, SIZE), on_white(colours, alphas)[indices])


@pytest.mark.parametrize("colour", [0, 2], ids=["grey", "RGB"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_colour_is_white(colour: int, depth: int) -> None:
    if colour == 2 and depth < 8:
        pytest.skip("colours have 8 or 16 bits")
    channels = 3 if colour == 2 else 1
    x = np.random.default_rng(0).integers(0, 1 << depth, (HEIGHT, WIDTH, channels))
    key = x[3, 5]
    if depth < 8:
        bits = (x[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.astype(np.uint8)).tobytes()
    else:
        rows = x.astype(">u2" if depth == 16 else "u1").tobytes()
    chunk = png_chunk(b"tRNS", key.astype(">u2").tobytes())
    data = png_of_rows(WIDTH, HEIGHT, depth, colour, rows, chunk)
    shown = (x >> 8) if depth == 16 else x * 255 // ((1 << depth) - 1)
    expected = np.where((x == key).all(-1, keepdims=True), 255, shown)
    np.testing.assert_array_equal(decode.pixels(data, SIZE), np.broadcast_to(expected, (*SIZE, 3)))


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "TIFF")]
)
def test_alpha_is_blended_on_white(mode: str, kind: str) -> None:
    x = noise(HEIGHT, WIDTH, len(mode))
    data = encoded(
        Image.fromarray(x, mode), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})
    )
    assert reopened(data).mode == mode
    expected = on_white(x[..., :-1], x[..., -1])
    assert_close(decode.pixels(data, SIZE), np.broadcast_to(expected, (*SIZE, 3)))


def test_cmyk_jpeg_has_the_colours_it_was_made_from() -> None:
    data = encoded(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=95)
    assert reopened(data).mode == "CMYK"
    assert np.abs(decode.pixels(data, SIZE).astype(int) - smooth()).mean() < 6


def test_sixteen_bits_of_grey_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(SIZE)
    data = png_of_rows(WIDTH, HEIGHT, 16, 0, ramp.astype(">u2").tobytes())
    found = decode.pixels(data, SIZE)
    assert (found.min(), found.max()) == (0, 255)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], ramp // 256)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_sixteen_bits_of_colour_are_cut_to_eight(colour: int, channels: int) -> None:
    x = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels), np.uint16)
    if channels != 3:
        x[..., -1] = 65535
    data = png_of_rows(WIDTH, HEIGHT, 16, colour, x.astype(">u2").tobytes())
    seen = x if channels == 3 else x[..., :-1]
    np.testing.assert_array_equal(decode.pixels(data, SIZE), np.broadcast_to(seen // 256, (*SIZE, 3)))


def test_sixteen_bits_of_grey_are_turned_upright_too() -> None:
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(SIZE)
    exif = with_orientation(6).tobytes().removeprefix(b"Exif\0\0")
    data = png_of_rows(WIDTH, HEIGHT, 16, 0, ramp.astype(">u2").tobytes(), png_chunk(b"eXIf", exif))
    assert decode.size_of(data) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(decode.pixels(data, (WIDTH, HEIGHT))[..., 0], (ramp // 256).T[:, ::-1])


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_every_exif_orientation_gives_the_upright_picture(kind: str, orientation: int) -> None:
    stored = smooth() if kind == "AVIF" else noise(HEIGHT, WIDTH, 3)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(stored), kind, exif=with_orientation(orientation), **options)
    upright = UPRIGHT[orientation](stored)
    assert decode.size_of(data) == upright.shape[:2]
    found = decode.pixels(data, upright.shape[:2]).astype(int)
    assert np.abs(found - upright).mean() <= (6 if kind == "AVIF" else 0)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_every_orientation_of_a_compressed_tiff_gives_the_upright_picture(
    compression: str | None, orientation: int
) -> None:
    stored = noise(HEIGHT, WIDTH, 3)
    options = {"compression": compression, "exif": with_orientation(orientation)}
    data = encoded(Image.fromarray(stored), "TIFF", **options)
    upright = UPRIGHT[orientation](stored)
    assert decode.size_of(data) == upright.shape[:2]
    np.testing.assert_array_equal(decode.pixels(data, upright.shape[:2]), upright)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("depth", [8, 16])
def test_what_a_png_says_behind_its_pixels_turns_nothing(depth: int, orientation: int) -> None:
    x = noise(HEIGHT, WIDTH, 3)
    rows = x.tobytes() if depth == 8 else (x.astype(np.uint16) << 8).astype(">u2").tobytes()
    data = png_of_rows(WIDTH, HEIGHT, depth, 2, rows)
    exif = with_orientation(orientation).tobytes().removeprefix(b"Exif\0\0")
    late = data[:-12] + png_chunk(b"eXIf", exif) + data[-12:]
    assert decode.size_of(late) == SIZE
    np.testing.assert_array_equal(decode.pixels(late, SIZE), x)
    np.testing.assert_array_equal(decode.pixels_of(Image.open(io.BytesIO(late)), SIZE), x)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_exif_orientation_of_a_jpeg_gives_the_upright_picture(orientation: int) -> None:
    data = encoded(Image.fromarray(smooth()), "JPEG", exif=with_orientation(orientation))
    upright = UPRIGHT[orientation](np.asarray(reopened(data)))
    assert decode.size_of(data) == upright.shape[:2]
    np.testing.assert_array_equal(decode.pixels(data, upright.shape[:2]), upright)


@pytest.mark.parametrize("orientation", [0, 9, 600])
def test_an_unknown_orientation_leaves_the_picture_alone(orientation: int) -> None:
    x = noise(HEIGHT, WIDTH, 3)
    data = encoded(Image.fromarray(x), "PNG", exif=with_orientation(orientation))
    assert decode.size_of(data) == SIZE
    np.testing.assert_array_equal(decode.pixels(data, SIZE), x)


@pytest.mark.parametrize(
    "size", [(HEIGHT // 2, WIDTH // 3), (HEIGHT * 3, WIDTH * 2), (WIDTH, HEIGHT), (7, 91)]
)
def test_stretching_is_pillows_bilinear(size: tuple[int, int]) -> None:
    x = noise(HEIGHT, WIDTH, 3)
    expected = Image.fromarray(x).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        decode.pixels(encoded(Image.fromarray(x), "PNG"), size), np.asarray(expected)
    )


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = decode.pixels(encoded(Image.fromarray(stripes), "PNG"), (16, 16))
    assert np.abs(found.astype(int) - 127).max() < 40


def test_a_turned_picture_is_turned_before_it_is_stretched() -> None:
    stored = noise(HEIGHT, WIDTH, 3)
    data = encoded(Image.fromarray(stored), "PNG", exif=with_orientation(6))
    upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[6](stored)))
    expected = upright.resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode.pixels(data, (20, 30)), np.asarray(expected))


def test_nothing_is_resized_at_the_right_size(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(HEIGHT, WIDTH, 3)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("resized")

    monkeypatch.setattr(Image.Image, "resize", refuse)
    np.testing.assert_array_equal(decode.pixels(encoded(Image.fromarray(x), "PNG"), SIZE), x)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_image_is_bad(kind: str, share: float) -> None:
    data = encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), kind)
    cut = data[: int(share * len(data))]
    assert_one_line(reason_of(lambda: decode.pixels(cut, SIZE)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_the_size_is_known_from_the_header_alone(kind: str) -> None:
    data = encoded(Image.fromarray(noise(96, 128, 3)), kind)
    assert decode.size_of(data[: len(data) // 2]) == (96, 128)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("exif", [None, 6])
def test_finding_the_size_decodes_nothing(
    kind: str, exif: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {} if exif is None or kind == "BMP" else {"exif": with_orientation(exif)}
    data = encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), kind, **options)

    def refuse(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    assert decode.size_of(data) == ((WIDTH, HEIGHT) if options else SIZE)


OTHERS = {
    "empty": b"",
    "text": b"these are not the pixels you are looking for\n",
    "markup": b"<!doctype html><title>404</title>",
    "zeros": bytes(4096),
    "ICO": encoded(Image.fromarray(smooth()), "ICO"),
    "PPM": encoded(Image.fromarray(smooth()), "PPM"),
    "JPEG's first bytes": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "PNG's first bytes": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_what_is_no_known_image_is_bad(data: bytes) -> None:
    assert_one_line(reason_of(lambda: decode.size_of(data)))
    assert_one_line(reason_of(lambda: decode.pixels(data, SIZE)))


@pytest.mark.parametrize("data", [OTHERS[name] for name in ("empty", "text", "ICO", "PPM")])
def test_the_reason_names_the_known_formats(data: bytes) -> None:
    for reason in (reason_of(lambda: decode.size_of(data)), reason_of(lambda: decode.pixels(data, SIZE))):
        for known in ("JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "AVIF"):
            assert known in reason


@pytest.mark.parametrize("side", [9_500, 20_000, 60_000])
def test_a_picture_of_too_many_pixels_is_bad(side: int) -> None:
    data = png_declaring(side, side)
    for reason in (reason_of(lambda: decode.size_of(data)), reason_of(lambda: decode.pixels(data, SIZE))):
        assert f"{MAX_PIXELS:,} pixels" in reason


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536), (80_000_000, 1)])
def test_a_picture_of_too_long_a_side_is_bad(size: tuple[int, int]) -> None:
    data = png_declaring(*size)
    for reason in (reason_of(lambda: decode.size_of(data)), reason_of(lambda: decode.pixels(data, SIZE))):
        assert "65,535 pixels wide or high" in reason


def progressive(scans: int) -> bytes:
    """A JPEG of 8000x8000 pixels, each colour's, in a few kilobytes: nothing but headers of scans that say nothing."""
    data = encoded(Image.new("L", (16, 16)), "JPEG", progressive=True)
    frame = data.index(b"\xff\xc2")
    data = data[: frame + 5] + struct.pack(">HH", 8000, 8000) + data[frame + 9 :]
    scan = data.rindex(b"\xff\xda")
    return data[:scan] + data[scan:-2] * scans + data[-2:]


def test_a_picture_of_too_many_scans_is_bad_before_it_is_decoded() -> None:
    usual, many = progressive(5), progressive(5_000)
    assert decode.size_of(usual) == (8000, 8000)
    reason = reason_of(lambda: decode.pixels(many, SIZE))
    assert "scans of 64,000,000 pixels" in reason
    assert len(many) < 200_000


def test_what_only_looks_like_scans_is_not_counted() -> None:
    image = encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), "JPEG", progressive=True)
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + b"\xff\xda" * 30_000
    for data in (image[:2] + comment * 40 + image[2:], image + b"\xff\xda" * 1_200_000):
        assert data.count(b"\xff\xda") * HEIGHT * WIDTH > MAX_SCANNED_PIXELS
        np.testing.assert_array_equal(decode.pixels(data, SIZE), decode.pixels(image, SIZE))


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGE_PIXELS", HEIGHT * WIDTH - 1)
    large, small = (
        encoded(Image.fromarray(noise(height, WIDTH, 3)), "PNG") for height in (HEIGHT, HEIGHT - 1)
    )
    decoding = 0
    real = Image.Image.resize

    def resize(self: Image.Image, *args: Any) -> Image.Image:
        nonlocal decoding
        decoding += 1
        assert decoding == 1
        time.sleep(0.02)
        decoding -= 1
        return real(self, *args)

    monkeypatch.setattr(Image.Image, "resize", resize)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: decode.pixels(large, (5, 5)), range(4)))
    assert not decode.is_plain_jpeg(encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), "JPEG"))
    with decode._one_large:  # small ones wait for nobody
        decode.pixels(small, (5, 5))


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux tells a process's peak of memory"
)
@pytest.mark.trial
def test_the_largest_picture_takes_less_than_a_gigabyte() -> None:
    script = (
        "import io, sys; from pathlib import Path; from PIL import Image; from transfer.data import decode\n"
        "size = (6_700, 6_600) if sys.argv[2] == 'WEBP' else (9_000, 9_900)\n"
        "image = Image.new(sys.argv[1], size); file = io.BytesIO()\n"
        "exif = Image.Exif(); exif[0x0112] = 6; image.save(file, sys.argv[2], exif=exif)\n"
        "del image; Path('/proc/self/clear_refs').write_text('5')\n"
        "assert decode.pixels(file.getvalue(), (240, 800)).shape == (240, 800, 3)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    for mode, kind in (("CMYK", "JPEG"), ("I;16", "PNG"), ("RGBA", "WEBP")):
        done = subprocess.run(
            [sys.executable, "-c", script, mode, kind], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 1_000_000, mode  # kB


def test_a_webp_may_have_half_as_many_pixels() -> None:
    width, height = 6_900, 6_600
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    # Both sides less one, in 14 bits each, follow the signature of the stream.
    sides_at = data.index(b"VP8L") + 9
    data[sides_at : sides_at + 4] = struct.pack("<I", (height - 1) << 14 | (width - 1))
    assert f"more than {MAX_PIXELS // 2:,} pixels" in reason_of(lambda: decode.size_of(bytes(data)))


def test_just_few_enough_pixels_are_none_too_many() -> None:
    assert decode.size_of(png_declaring(9_459, 9_459)) == (9_459, 9_459)


@pytest.mark.parametrize("action", ["always", "error", "ignore"])
def test_the_pixel_limit_holds_under_any_filter_of_warnings(action: Any) -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter(action)
        reason = reason_of(lambda: decode.size_of(png_declaring(9_500, 9_500)))
    assert f"{MAX_PIXELS:,} pixels" in reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_a_decoder_that_fails_for_want_of_memory_is_no_bad_image(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("broken data stream when reading image file")

    def refuse(*_: object) -> None:
        raise MemoryError

    data = encoded(Image.fromarray(smooth()), kind)
    monkeypatch.setattr(decode, "_decoded", fail)
    assert "broken data" in reason_of(lambda: decode.pixels(data, SIZE))
    monkeypatch.setattr(decode.np, "empty", refuse)
    with pytest.raises(MemoryError):
        decode.pixels(data, SIZE)


def test_a_webp_whose_decoder_can_not_be_made_for_want_of_memory_is_no_bad_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("could not create decoder object")

    asked = []
    data = encoded(Image.fromarray(smooth()), "WEBP")
    monkeypatch.setattr(decode.Image, "open", fail)
    monkeypatch.setattr(decode.np, "empty", lambda count, _: asked.append(count))
    assert "could not create decoder" in reason_of(lambda: decode.size_of(data))
    assert asked[0] > 8 * HEIGHT * WIDTH

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode.np, "empty", refuse)
    with pytest.raises(MemoryError):
        decode.size_of(data)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_opaque_images_are_what_they_were(mode: str) -> None:
    x = Image.fromarray(noise(HEIGHT, WIDTH, 3)).convert(mode)
    data = encoded(x, "PNG")
    np.testing.assert_array_equal(decode.pixels(data, SIZE), np.asarray(x.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_what_lies_under_full_transparency_does_not_count(kind: str) -> None:
    visible = np.zeros(SIZE, bool)
    visible[6:18, 10:30] = True
    found = []
    for hidden in (0, 200):
        x = np.full((HEIGHT, WIDTH, 4), hidden, np.uint8)
        x[visible] = (30, 60, 90, 255)
        x[~visible, 3] = 0
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        found.append(decode.pixels(encoded(Image.fromarray(x), kind, **options), SIZE))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0][~visible] == 255).all()


def test_a_colour_profile_changes_nothing() -> None:
    x = noise(HEIGHT, WIDTH, 3)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encoded(Image.fromarray(x), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decode.pixels(data, SIZE), x)


@pytest.mark.parametrize(
    ("kind", "options"), [("WEBP", {"lossless": True}), ("GIF", {}), ("TIFF", {}), ("PNG", {}), ("AVIF", {})]
)
def test_an_animation_gives_its_first_frame(kind: str, options: dict[str, Any]) -> None:
    grey = np.repeat(smooth()[..., :1], 3, axis=-1)  # which a palette of 256 colours holds exactly
    later = [Image.fromarray(255 - grey)]
    data = encoded(Image.fromarray(grey), kind, save_all=True, append_images=later, **options)
    assert np.abs(decode.pixels(data, SIZE).astype(int) - grey).mean() <= (3 if kind == "AVIF" else 0)


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError("out of memory error when reading image file")], ids=["Python", "Pillow"]
)
@pytest.mark.parametrize(
    ("call", "broken"),
    [
        (decode.size_of, (decode.Image.Image, "getexif")),
        (lambda data: decode.pixels(data, SIZE), (ImageFile.ImageFile, "load")),
    ],
    ids=["size", "pixels"],
)
def test_too_little_memory_is_no_bad_image(
    call: Callable[[bytes], object],
    broken: tuple[Any, str],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(*broken, fails)
    with pytest.raises(MemoryError):
        call(encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), "PNG"))
