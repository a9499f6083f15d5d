"""Bytes of an image file to RGB pixels.

H, W: height and width in pixels.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL import __version__ as pillow_version

from transfer.data import depth, formats, limits
from transfer.data.colour import to_rgb
from transfer.data.limits import MAX_BYTES as MAX_BYTES
from transfer.data.limits import MAX_PIXELS as MAX_PIXELS
from transfer.data.limits import MAX_SCANNED_PIXELS as MAX_SCANNED_PIXELS
from transfer.data.limits import BadImage as BadImage
from transfer.system.text import first_line, printable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
# What changes pixels and therefore belongs to the key that features are stored under.
DECLARED = {
    "decoder": f"pillow {pillow_version}",
    "colour": "RGB; 16 bits cut to 8; blended on white; EXIF orientation declared before the pixels applied",
    "resize": "stretched, bilinear, antialiased",
}
SHIFT = depth.SHIFT
"""How many bits 16-bit values are shifted right by where all 16 are used."""
_ORIENTATION = 0x0112
# By EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAP_SIDES = (5, 6, 7, 8)
# Their decoders keep a copy of the pixels.
_COPYING = ("WEBP", "AVIF")

# Images above this are decoded one at a time, whatever the number of threads: the largest take half a gigabyte.
LARGE_PIXELS = 16_000_000
_one_large = threading.Lock()
# What decoders may take beside the pixels.
_DECODER_BYTES = 16_000_000


def shift_for(bits: int) -> int:
    """How many bits values of so many bits are shifted right by to fit into 8."""
    return max(0, bits - 8)


def declare_shift(shift: int) -> dict[str, str]:
    """What `DECLARED` is to be completed by where 16 bits are shifted by another number of bits than 8."""
    return {} if shift == SHIFT else {"depth": f"16 bits shifted right by {shift}"}


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width in pixels as the image is meant to be seen, from its header alone.

    Raises `BadImage` where `data` is no image of a known format.
    """
    return header_of(data)[0]


def header_of(data: bytes) -> tuple[tuple[int, int], bool]:
    """As `size_of`, and whether the image has more than 8 bits a channel."""
    with _bad_images(data):
        image = _open(data)
        return size_of_image(image), depth.is_deep(image)


def size_of_image(image: Image.Image) -> tuple[int, int]:
    """As `size_of`, of an image that is open or was never a file."""
    width, height = image.size
    return (width, height) if _orientation(image) in _SWAP_SIDES else (height, width)


def bits_of(data: bytes) -> int:
    """Bits that the largest value of an image of more than 8 bits a channel takes, from 0 to 16.

    It is decoded. Raises `BadImage` as `pixels` does.
    """
    with _bad_images(data):
        image = _open(data)
        with _alone(image):
            low = depth.read_low_bytes(_open(data)) if depth.is_deep_colour(image) else None
            image.load()
            return depth.count_bits(image, low)


def pixels(data: bytes, size: tuple[int, int], shift: int | None = None) -> npt.NDArray[np.uint8]:
    """RGB pixels `(H, W, 3)` uint8, stretched to `size` = (H, W) where the image has another.

    Of more than 8 bits a channel, values are shifted right by `shift` bits; None: so that those which this image
    uses fit into 8 bits. Raises `BadImage` where `data` can't be decoded to its last pixel.
    """
    if shift is None:
        shift = shift_for(bits_of(data)) if header_of(data)[1] else SHIFT
    with _bad_images(data):
        image: Image.Image = _open(data)
        with _alone(image):
            image = _decoded(data, image, shift)  # one variable: the image before it is let go
            return _stretched(image, size, shift)


def pixels_of(image: Image.Image, size: tuple[int, int], shift: int = SHIFT) -> npt.NDArray[np.uint8]:
    """As `pixels`, of an image that is open or was never a file; it is left as it is."""
    with _bad_images(b""):  # one that was opened may not have been read yet
        turn = _TURNS.get(_orientation(image))
        image.load()
        return _stretched(image if turn is None else image.transpose(turn), size, shift)


def is_plain_jpeg(data: bytes) -> bool:
    """Whether it is a JPEG that decoders agree on: grey, or colour stored as YCbCr, upright, with an end; not large."""
    try:
        with _open(data) as image:
            upright = _orientation(image) == 1
            usual = image.mode in ("L", "RGB") and image.info.get("adobe_transform") != 0
            plain = image.format == "JPEG" and usual and upright and limits.ends_like_a_jpeg(data)
            return plain and not _is_large(image)
    except Exception:  # whatever is wrong with it, Pillow tells when it decodes
        return False


def _open(data: bytes) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    is_decoded_twice = image.format in _COPYING or depth.is_deep_colour(image)
    limits.check(image, data, is_decoded_twice=is_decoded_twice)
    assert isinstance(image, ImageFile.ImageFile)
    depth.scale_transparent_grey(image)
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that the file declares before its pixels, or that Pillow has not applied itself."""
    if image.format == "TIFF":  # its size is that of the upright image, and so are its pixels
        return 1
    # A PNG's own `getexif` would decode the whole image in search of data behind the pixels.
    return int(Image.Image.getexif(image).get(_ORIENTATION, 1))


def _decoded(data: bytes, image: Image.Image, shift: int) -> Image.Image:
    """The upright image; 16-bit colours shifted, grey as it is."""
    if image.format == "PNG":
        limits.check_png(data)
    turn = _TURNS.get(_orientation(image))
    transparent = image.info.pop("transparency", None) if depth.is_deep_colour(image) else None
    shifts = shift != SHIFT and depth.is_deep_colour(image)
    low = depth.read_low_bytes(_open(data)) if shifts or transparent else None
    image.load()
    if transparent and low:
        depth.whiten(image, low, transparent)
    if shifts:
        depth.shift_colour(image, low, shift)
    return image if turn is None else image.transpose(turn)


def _stretched(image: Image.Image, size: tuple[int, int], shift: int) -> npt.NDArray[np.uint8]:
    image = to_rgb(image, shift)
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image)


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > LARGE_PIXELS


def _alone(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """Hold a large image back until no other one is decoded."""
    return _one_large if _is_large(image) else contextlib.nullcontext()


@contextlib.contextmanager
def _bad_images(data: bytes) -> Iterator[None]:
    """Turn what decoders raise into `BadImage`, and into `MemoryError` what they raise for want of memory."""
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # decoders meet broken bytes with errors of every kind
        # What Pillow makes of error -9 of its decoders.
        if isinstance(error, OSError) and "out of memory" in str(error).lower():
            raise MemoryError(str(error)) from error
        _check_memory(data)
        raise BadImage(_reason(error)) from error


def _check_memory(data: bytes) -> None:
    """Raise `MemoryError` where there is too little memory to decode the image: some decoders only say they failed."""
    count, is_copied = formats.webp_pixels(data[: formats.FIRST_BYTES]), True
    with contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        if not count:  # Pillow opens a WebP by making its decoder
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            count, is_copied = image.width * image.height, image.format in _COPYING
        np.empty(min(MAX_PIXELS, count) * (16 if is_copied else 8) + _DECODER_BYTES, np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF image, or a damaged one"
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return f"more than {MAX_PIXELS:,} pixels"
    return printable(first_line(error)[:200])
