"""Decoding of image files to RGB pixels.

H, W: height and width in pixels.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL import __version__ as pillow_version

from transfer.data import depth, formats, heif, limits
from transfer.data.colour import to_rgb
from transfer.data.limits import MAX_PIXELS, BadImage
from transfer.data.orientation import orientation_of, swaps_sides, turn_of
from transfer.data.resize import LEAST_REDUCED, STRETCH, Resizing, fit_image, place
from transfer.system.text import first_line, printable

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
# What changes pixels and therefore belongs to the key that features are stored under.
DECLARED = {
    "decoder": f"pillow {pillow_version}",
    "colour": "RGB; 16 bits cut to 8; blended on white; EXIF orientation declared before the pixels applied",
}
SHIFT = depth.SHIFT
"""Bits that 16-bit values are shifted right by if all 16 are used."""
# Their decoders keep a copy of the pixels.
_COPYING = ("WEBP", "AVIF")

# Images above this are decoded one at a time, whatever the number of threads: the largest take half a gigabyte.
LARGE_PIXELS = 16_000_000
_one_large = threading.Lock()
# What decoders may take beside the pixels.
_DECODER_BYTES = 16_000_000


def shift_for(bits: int) -> int:
    """Return how many bits values of `bits` bits are shifted right by to fit into 8."""
    return max(0, bits - 8)


def declare_shift(shift: int) -> dict[str, str]:
    """Return the entry that a shift adds to `DECLARED`; empty for the usual shift of 8 bits."""
    return {} if shift == SHIFT else {"depth": f"16 bits shifted right by {shift}"}


def size_of(data: bytes) -> tuple[int, int]:
    """Return height and width in pixels, after EXIF rotation, from the header alone.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    height, width : int

    Raises
    ------
    BadImage
        If `data` is not an image of a known format.
    """
    return header_of(data)[0]


def header_of(data: bytes) -> tuple[tuple[int, int], bool]:
    """Return the size of an image and whether it has more than 8 bits a channel, from the header alone.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    size : (int, int)
        As `size_of` returns it.
    is_deep : bool

    Raises
    ------
    BadImage
        If `data` is not an image of a known format.
    """
    with _bad_images(data):
        image = _open(data)
        return size_of_image(image), depth.is_deep(image)


def size_of_image(image: Image.Image) -> tuple[int, int]:
    """Return height and width as `size_of` does, of an opened image."""
    width, height = image.size
    return (width, height) if swaps_sides(image) else (height, width)


def bits_of(data: bytes) -> int:
    """Count the bits of the largest value in an image of more than 8 bits a channel, by decoding it.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    int
        From 0 to 16.

    Raises
    ------
    BadImage
        As `pixels` does.
    """
    with _bad_images(data):
        image = _open(data)
        with _alone(_is_large(image)):
            low = depth.read_low_bytes(_open(data)) if depth.is_deep_colour(image) else None
            image.load()
            return depth.count_bits(image, low)


def pixels(
    data: bytes, size: tuple[int, int], shift: int | None = None, resizing: Resizing = STRETCH
) -> npt.NDArray[np.uint8]:
    """Decode an image file to RGB pixels.

    Parameters
    ----------
    data : bytes
        The whole file.
    size : (int, int)
        Height and width in pixels.
    shift : int, optional
        Bits that values of more than 8 bits a channel are shifted right by; None fits the values that this image
        uses into 8 bits.
    resizing : Resizing
        What is done to an image of another size.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Raises
    ------
    BadImage
        If `data` can't be decoded to the last pixel.
    """
    if shift is None:
        shift = shift_for(bits_of(data)) if header_of(data)[1] else SHIFT
    with _bad_images(data):
        image: Image.Image = _open(data)
        is_large, reduced = _is_large(image), _reduce(image, size, resizing)
        if reduced and is_large:  # of several scans the decoder keeps the whole image
            is_large = _is_large(image) or limits.count_scans(data) > 1
        with _alone(is_large):
            if reduced:
                image = reduced()
            image = _decoded(data, image, shift)  # one variable: the image before it is let go
            return fit_image(image, size, shift, resizing)


def pixels_of(
    image: Image.Image, size: tuple[int, int], shift: int = SHIFT, resizing: Resizing = STRETCH
) -> npt.NDArray[np.uint8]:
    """Convert an opened image as `pixels` does a file; the image is not changed.

    Parameters
    ----------
    image : PIL.Image.Image
    size : (int, int)
        Height and width in pixels.
    shift : int
        Bits that values of more than 8 bits a channel are shifted right by.
    resizing : Resizing
        As for `pixels`.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Raises
    ------
    BadImage
        If the image can't be decoded to the last pixel.
    """
    with _bad_images(b""):  # one that was opened may not have been read yet
        turn = turn_of(image)
        image.load()
        return fit_image(image if turn is None else image.transpose(turn), size, shift, resizing)


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether a file is a JPEG that all decoders decode alike.

    That is: grey, or colour stored as YCbCr, upright, complete and not large.
    """
    try:
        with _open(data) as image:
            upright = orientation_of(image) == 1
            usual = image.mode in ("L", "RGB") and image.info.get("adobe_transform") != 0
            plain = image.format == "JPEG" and usual and upright and limits.ends_like_a_jpeg(data)
            return plain and not _is_large(image)
    except Exception:  # whatever is wrong with it, Pillow tells when it decodes
        return False


def _open(data: bytes) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(data), formats=heif.formats(data, IMAGE_FORMATS))
    is_decoded_twice = image.format in _COPYING or depth.is_deep_colour(image)
    limits.check(image, data, is_decoded_twice=is_decoded_twice)
    assert isinstance(image, ImageFile.ImageFile)
    depth.scale_transparent_grey(image)
    return image


def _reduce(
    image: Image.Image, size: tuple[int, int], resizing: Resizing
) -> Callable[[], Image.Image] | None:
    """Have a JPEG decoded at a reduced scale, if asked for and enough is left; return what decodes and scales it."""
    if not resizing.reduced:
        return None
    scaled, _ = place(size_of_image(image), size, resizing.way)
    width, height = scaled if swaps_sides(image) else scaled[::-1]
    whole = image.size
    drafted = image.draft(None, (LEAST_REDUCED * width, LEAST_REDUCED * height))
    if not drafted or image.size == whole:
        return None
    # The edge of the picture may lie within the last reduced pixels, so it is scaled before it is turned.
    return lambda: to_rgb(image).resize((width, height), resizing.filter, box=drafted[1])


def _decoded(data: bytes, image: Image.Image, shift: int) -> Image.Image:
    """Return the upright image; 16-bit colours are shifted, 16-bit grey is not."""
    if image.format == "PNG":
        limits.check_png(data)
    turn = turn_of(image)
    transparent = image.info.pop("transparency", None) if depth.is_deep_colour(image) else None
    shifts = shift != SHIFT and depth.is_deep_colour(image)
    low = depth.read_low_bytes(_open(data)) if shifts or transparent else None
    image.load()
    if transparent and low:
        depth.whiten(image, low, transparent)
    if shifts:
        depth.shift_colour(image, low, shift)
    return image if turn is None else image.transpose(turn)


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > LARGE_PIXELS


def _alone(is_large: bool) -> contextlib.AbstractContextManager[object]:
    """Wait with a large image until no other one is being decoded."""
    return _one_large if is_large else contextlib.nullcontext()


@contextlib.contextmanager
def _bad_images(data: bytes) -> Iterator[None]:
    """Turn exceptions of decoders into `BadImage`, or `MemoryError` if memory ran out."""
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
    """Raise `MemoryError` if there is too little memory to decode the image: some decoders only report failure."""
    count, is_copied = formats.webp_pixels(data[: formats.FIRST_BYTES]), True
    with contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning):
        if not count:  # Pillow opens a WebP by making its decoder
            image = Image.open(io.BytesIO(data), formats=heif.formats(data, IMAGE_FORMATS))
            count, is_copied = image.width * image.height, image.format in _COPYING
        np.empty(min(MAX_PIXELS, count) * (16 if is_copied else 8) + _DECODER_BYTES, np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC image, or a damaged one"
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return f"more than {MAX_PIXELS:,} pixels"
    return printable(first_line(error)[:200])
