"""How an image file says that its picture is to be turned."""

from __future__ import annotations

from PIL import Image

_TAG = 0x0112
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


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation that the file declares before its pixels, unless Pillow has applied it."""
    if image.format == "TIFF":  # its size is that of the upright image, and so are its pixels
        return 1
    # A PNG's own `getexif` would decode the whole image in search of data behind the pixels.
    return int(Image.Image.getexif(image).get(_TAG, 1))


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return what makes a picture upright; None if it is."""
    return _TURNS.get(orientation_of(image))


def swaps_sides(image: Image.Image) -> bool:
    """Return whether the height of the upright picture is the stored one's width."""
    return 5 <= orientation_of(image) <= 8
