"""Bytes of an image file to RGB pixels.

H, W: height and width in pixels.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL import __version__ as pillow_version

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

_JPEG_END = b"\xff\xd9"

# A small file can declare billions of pixels; past this Pillow warns (an error, where warnings are), and we refuse.
MAX_PIXELS = 89_478_485


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
    except Exception as error:  # decoders meet broken bytes with errors of every kind
        raise _bad(error) from error
    return (width, height) if turned else (height, width)


def pixels(data: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """RGB pixels `(H, W, 3)` uint8, stretched to `size` = (H, W) where the image has another.

    Raises `BadImage` where `data` can't be decoded to its last pixel.
    """
    try:
        with _open(data) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            image = _rgb(image)
            if image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image)
    except Exception as error:  # as above
        raise _bad(error) from error


def is_plain_jpeg(data: bytes) -> bool:
    """Whether it is a JPEG that decoders agree on: grey, or colour stored as YCbCr, upright, with an end."""
    try:
        with _open(data) as image:
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            usual = image.mode in ("L", "RGB") and image.info.get("adobe_transform") != 0
            return image.format == "JPEG" and usual and upright and data.endswith(_JPEG_END)
    except Exception:  # whatever is wrong with it, Pillow tells when it decodes
        return False


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion clips at 255 instead of scaling
        grey = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # what Pillow asks for, with a warning, on the way to RGB
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _bad(error: Exception) -> BadImage:
    if isinstance(error, UnidentifiedImageError):
        return BadImage("not a JPEG, PNG, WebP or BMP image")
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return BadImage(f"more than {MAX_PIXELS:,} pixels")
    return BadImage(str(error).splitlines()[0] if str(error) else type(error).__name__)
