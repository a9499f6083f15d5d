"""Bytes of an image file to RGB pixels.

H, W: height and width in pixels.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL import __version__ as pillow_version

from transfer.text import printable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
# What changes pixels and therefore belongs to the key that features are stored under.
DECLARED = {
    "decoder": f"pillow {pillow_version}",
    "colour": "RGB; 16 bits cut to 8; alpha dropped; EXIF orientation applied",
    "resize": "stretched, bilinear, antialiased",
}
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width

_JPEG_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)

# A small file can declare billions of pixels; past this Pillow warns (an error, where warnings are), and we refuse.
MAX_PIXELS = 89_478_485
# As large as a BMP of so many pixels can be.
MAX_BYTES = 4 * MAX_PIXELS + 1_000_000
# What JPEG allows. The tables that a row of pixels is stretched by are eight times as large as the row.
MAX_SIDE = 65_535
# Each scan of a JPEG goes over all its pixels, and a few kilobytes hold thousands of scans. Ten are usual.
MAX_SCANNED_PIXELS = 1_000_000_000
# Images above this are decoded one at a time, whatever the number of threads: the largest take half a gigabyte.
LARGE_PIXELS = 16_000_000
_STRIP = 256  # rows of an image
_one_large = threading.Lock()


class BadImage(ValueError):
    """An image that can't be read; its text is the reason."""


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width in pixels as the image is meant to be seen, from its header alone.

    Raises `BadImage` where `data` is no image of a known format.
    """
    try:
        with _open(data) as image:
            width, height = image.size
            # A PNG's own `getexif` would decode the whole image in search of data behind the pixels.
            turned = Image.Image.getexif(image).get(_ORIENTATION) in _TURNED
    except MemoryError:
        raise
    except Exception as error:  # decoders meet broken bytes with errors of every kind
        raise _bad(error) from error
    return (width, height) if turned else (height, width)


def pixels(data: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """RGB pixels `(H, W, 3)` uint8, stretched to `size` = (H, W) where the image has another.

    Raises `BadImage` where `data` can't be decoded to its last pixel.
    """
    try:
        with _open(data) as image, _one_large if _is_large(image) else contextlib.nullcontext():
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _stretched_rgb(image, size)
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise _bad(error) from error


def pixels_of(image: Image.Image, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """As `pixels`, of an image that is open or was never a file; it is left as it is."""
    try:
        return _stretched_rgb(ImageOps.exif_transpose(image), size)
    except MemoryError:
        raise
    except Exception as error:  # one that was opened may not have been read yet
        raise _bad(error) from error


def is_plain_jpeg(data: bytes) -> bool:
    """Whether it is a JPEG that decoders agree on: grey, or colour stored as YCbCr, upright, with an end; not large."""
    try:
        with _open(data) as image:
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            usual = image.mode in ("L", "RGB") and image.info.get("adobe_transform") != 0
            plain = image.format == "JPEG" and usual and upright and data.endswith(_JPEG_END)
            return plain and not _is_large(image)
    except Exception:  # whatever is wrong with it, Pillow tells when it decodes
        return False


def _stretched_rgb(image: Image.Image, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    image = _rgb(image)
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image)


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    pixels = image.width * image.height
    most = MAX_PIXELS // 2 if image.format == "WEBP" else MAX_PIXELS  # libwebp keeps a copy while it decodes
    if pixels > most:
        raise BadImage(f"more than {most:,} pixels")
    if max(image.size) > MAX_SIDE:
        raise BadImage(f"more than {MAX_SIDE:,} pixels wide or high")
    # What looks like a scan is counted at once, and may be none; what is one takes longer to count.
    if data.count(_SCAN) * pixels > MAX_SCANNED_PIXELS and image.format in ("JPEG", "MPO"):
        scans = _scans(data)
        if scans * pixels > MAX_SCANNED_PIXELS:
            raise BadImage(f"{scans:,} scans of {pixels:,} pixels")
    return image


def _scans(data: bytes) -> int:
    """The scans of a JPEG, found as decoders find them: from marker to marker, over what lies between."""
    found, at = 0, 2
    while marker := _MARKER.search(data, at):
        at, code = marker.end(), data[marker.end() - 1]
        if code == 0xD9:  # the end
            break
        found += code == _SCAN[1]
        if not (code == 0x01 or 0xD0 <= code <= 0xD8):  # these stand alone, the others tell their length
            at += max(2, int.from_bytes(data[at : at + 2]))
    return found


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > LARGE_PIXELS


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion clips at 255 instead of scaling
        grey_HW = np.empty((image.height, image.width), np.uint8)
        for top in range(0, image.height, _STRIP):
            strip_HW = np.asarray(image.crop((0, top, image.width, min(top + _STRIP, image.height))))
            grey_HW[top : top + _STRIP] = (strip_HW.astype(np.int64) >> 8).clip(0, 255)
        image = Image.fromarray(grey_HW)
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # what Pillow asks for, with a warning, on the way to RGB
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _bad(error: Exception) -> BadImage:
    if isinstance(error, BadImage):
        return error
    # What Pillow makes of error -9 of its decoders.
    if isinstance(error, OSError) and "out of memory" in str(error):
        raise MemoryError(str(error)) from error
    if isinstance(error, UnidentifiedImageError):
        return BadImage("not a JPEG, PNG, WebP or BMP image")
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return BadImage(f"more than {MAX_PIXELS:,} pixels")
    return BadImage(printable((str(error).splitlines() or [type(error).__name__])[0][:200]))
