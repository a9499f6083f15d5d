"""Limits on image files, checked before a pixel is decoded: a small file can declare much work."""

from __future__ import annotations

import re
import zlib

from PIL import Image, TiffImagePlugin

# A small file can declare billions of pixels; past this Pillow warns (an error, where warnings are), and we refuse.
MAX_PIXELS = 89_478_485
# As large as a BMP of so many pixels can be.
MAX_BYTES = 4 * MAX_PIXELS + 1_000_000
# What JPEG allows. The tables that a row of pixels is stretched by are eight times as large as the row.
MAX_SIDE = 65_535
# Each scan of a JPEG goes over all its pixels, and a few kilobytes hold thousands of scans. Ten are usual.
MAX_SCANNED_PIXELS = 1_000_000_000

_JPEG_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)
_PNG_SIGNATURE_BYTES = 8
# Tags of TIFF.
_COMPRESSION, _STRIP_OFFSETS, _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 259, 273, 322, 323, 324
_JPEG_COMPRESSIONS = (6, 7)


class BadImage(ValueError):
    """An image that can't be read; the message is the reason."""


def check(image: Image.Image, data: bytes, *, is_decoded_twice: bool = False) -> None:
    """Refuse an image that would take too much time or memory to decode.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile
        Opened, not decoded.
    data : bytes
        The whole file.
    is_decoded_twice : bool
        Whether decoding holds a second copy of the pixels: then only half as many are allowed.

    Raises
    ------
    BadImage
        If it exceeds a limit.
    """
    pixels = image.width * image.height
    most = MAX_PIXELS // 2 if is_decoded_twice else MAX_PIXELS
    if pixels > most:
        raise BadImage(f"more than {most:,} pixels")
    if max(image.size) > MAX_SIDE:
        raise BadImage(f"more than {MAX_SIDE:,} pixels wide or high")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(image, data)
    # What looks like a scan is counted at once, and may be none; what is one takes longer to count.
    elif data.count(_SCAN) * pixels > MAX_SCANNED_PIXELS and image.format in ("JPEG", "MPO"):
        scans = count_scans(data)
        if scans * pixels > MAX_SCANNED_PIXELS:
            raise BadImage(f"{scans:,} scans of {pixels:,} pixels")


def check_png(data: bytes) -> None:
    """Check the checksums of the pixels of a PNG, which Pillow ignores.

    Raises
    ------
    BadImage
        If the CRC of a chunk of pixels (IDAT) does not match.
    """
    at, view = _PNG_SIGNATURE_BYTES, memoryview(data)
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        if kind == b"IDAT" and zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise BadImage("the checksum of its pixels differs: damaged or cut short")
        at = end + 4


def ends_like_a_jpeg(data: bytes) -> bool:
    """Return whether the bytes end with JPEG's end marker."""
    return data.endswith(_JPEG_END)


def _check_tiff(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Refuse tiles larger than an image may be, and JPEG strips of too many scans."""
    tags = image.tag_v2
    width, length = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
    if width * length > MAX_PIXELS:
        raise BadImage(f"tiles of more than {MAX_PIXELS:,} pixels")
    if tags.get(_COMPRESSION) in _JPEG_COMPRESSIONS:
        parts = len(set(tags.get(_STRIP_OFFSETS) or tags.get(_TILE_OFFSETS) or (0,)))
        scans = data.count(_SCAN) // parts
        if scans * image.width * image.height > MAX_SCANNED_PIXELS:
            raise BadImage(f"{scans:,} scans of {image.width * image.height:,} pixels")


def count_scans(data: bytes) -> int:
    """Count the scans of a JPEG as decoders find them: from marker to marker, skipping what lies between."""
    found, at = 0, 2
    while marker := _MARKER.search(data, at):
        at, code = marker.end(), data[marker.end() - 1]
        if code == 0xD9:  # the end
            break
        found += code == _SCAN[1]
        if not (code == 0x01 or 0xD0 <= code <= 0xD8):  # these stand alone, the others tell their length
            at += max(2, int.from_bytes(data[at : at + 2]))
    return found
