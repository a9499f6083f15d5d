"""Images of more than 8 bits a channel: how many bits they use, and their pixels in 8 bits.

Cameras and scanners write 10, 12 or 14 bits into 16. Which bits are used is a property of the image set, so all of
its images are shifted by the same number of bits.

H, W: height and width in pixels.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFile

from transfer.data.limits import BadImage

BITS = 16
SHIFT = BITS - 8
"""Bits that 16-bit values are shifted right by if all 16 are used."""
STRIP = 256  # rows of an image that are converted at once

# Pillow decodes 16-bit colour to the high byte of each value. Read in the other byte order it gives the low byte.
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_LOW = {f"{mode};16{a}": f"{mode};16{b}" for mode in ("RGB", "RGBX", "RGBA") for a, b in _OTHER.items()}


def is_deep(image: Image.Image) -> bool:
    """Return whether an image that is open and not decoded has more than 8 bits a channel."""
    return image.mode.startswith("I") or is_deep_colour(image)


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether an image has 16-bit colours or alpha, of which Pillow decodes the high bytes."""
    return any(";16" in _rawmode(tile) for tile in _tiles(image)) and image.mode[0] in "RL"


def read_low_bytes(image: ImageFile.ImageFile) -> ImageFile.ImageFile | None:
    """Make Pillow decode the low bytes of 16-bit colours; return None if it can't (grey with alpha)."""
    tiles = []
    for tile in image.tile:
        low = _LOW.get(_rawmode(tile))
        if low is None:
            return None
        tiles.append(tile._replace(args=low if isinstance(tile.args, str) else (low, *tile.args[1:])))  # type: ignore[index]
    image.tile = tiles
    return image


def count_bits(image: Image.Image, low: Image.Image | None) -> int:
    """Count the bits of the largest value in a decoded image.

    Parameters
    ----------
    image : PIL.Image.Image
        Of 16-bit grey, or the high bytes of 16-bit colours.
    low : PIL.Image.Image or None
        The low bytes of the colours, which count if the high bytes are all 0; None if they are not known.

    Returns
    -------
    int
        From 0 to 16.
    """
    if image.mode.startswith("I"):
        return max(_check_grey(np.asarray(image.crop(box))) for box in strips(image)).bit_length()
    if largest := _largest(image):
        return 8 + largest.bit_length()
    return _largest(low).bit_length() if low else 8


def _check_grey(grey_HW: npt.NDArray[np.integer]) -> int:
    """Return the largest value, at least 0; raise `BadImage` if it has more than 16 bits."""
    largest = max(0, int(grey_HW.max()))
    if largest >= 1 << BITS:
        raise BadImage("values beyond 16 bits; save it with 8 or 16 bits a channel")
    return largest


def shift_grey(image: Image.Image, shift: int) -> Image.Image:
    """Convert 16-bit grey to 8 bits (mode L): shifted right, clipped to 0 and 255, declared transparency as white.

    Raises
    ------
    BadImage
        For values beyond 16 bits.
    """
    grey_HW = np.empty((image.height, image.width), np.uint8)
    transparent = image.info.get("transparency")
    for box in strips(image):
        strip_HW = np.asarray(image.crop(box))
        _check_grey(strip_HW)
        part_HW = (strip_HW.astype(np.int64) >> shift).clip(0, 255)
        if transparent is not None:
            part_HW[strip_HW == transparent] = 255
        grey_HW[box[1] : box[3]] = part_HW
    return Image.fromarray(grey_HW)


def shift_colour(high: Image.Image, low: Image.Image | None, shift: int) -> None:
    """Combine the high and low bytes of 16-bit colours in `high`, shifted right and clipped at 255."""
    bands = len(high.getbands())
    from_high = [min(255, value << SHIFT - shift) for value in range(256)] * bands
    from_low = [value >> shift for value in range(256)] * bands
    for box in strips(high):
        part = high.crop(box).point(from_high)
        high.paste(ImageChops.add(part, low.crop(box).point(from_low)) if low else part, box)


def whiten(high: Image.Image, low: Image.Image, transparent: tuple[int, ...]) -> None:
    """Make the transparent colour of a 16-bit PNG white in `high`: Pillow compares 8 bits of it."""
    for box in strips(high):
        value_HWC = np.asarray(high.crop(box)).astype(np.uint16) << 8 | np.asarray(low.crop(box))
        high.paste("white", box, Image.fromarray((value_HWC == transparent).all(-1)))


def scale_transparent_grey(image: Image.Image) -> None:
    """Scale the transparent grey of a PNG of 2 or 4 bits to 8 bits, as Pillow scales its pixels."""
    if "transparency" in image.info:
        for tile in _tiles(image):
            image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(_rawmode(tile), 1)


def strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return boxes (left, top, right, bottom) of some rows each, which limit the memory that a conversion takes."""
    return [(0, top, image.width, min(top + STRIP, image.height)) for top in range(0, image.height, STRIP)]


def _largest(image: Image.Image) -> int:
    """Return the largest value of the colours, without alpha."""
    return max(int(image.getchannel(band).getextrema()[1]) for band in image.getbands() if band != "A")  # type: ignore[arg-type]


def _tiles(image: Image.Image) -> list[ImageFile._Tile]:
    return image.tile if isinstance(image, ImageFile.ImageFile) else []


def _rawmode(tile: ImageFile._Tile) -> str:
    args = tile.args
    return str(args if isinstance(args, str) else args[0] if args else "")
