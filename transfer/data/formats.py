"""Recognition of image formats by the first bytes of a file."""

from __future__ import annotations

import os
from pathlib import Path

from transfer.system.remote import RemotePath

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
    }
)
"""Suffixes, in lower case, of files that are images without a check of their contents."""

FIRST_BYTES = 64
"""Number of bytes that `image_format` needs."""

# Raw photographs are TIFF files by their first bytes, and what Pillow reads of them is the thumbnail.
_RAW_SUFFIXES = frozenset(
    {
        ".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc",
        ".mef", ".mos", ".nef", ".nrw", ".pef", ".sr2", ".srf", ".srw",
    }
)  # fmt: skip
_PREFIXES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
}
# Two letters alone would make a BMP of many a text: the length of the second header has to be one of these.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def image_format(first_bytes: bytes) -> str | None:
    """Recognise the format of an image file.

    Parameters
    ----------
    first_bytes : bytes
        The first `FIRST_BYTES` bytes of the file, or all if it has fewer.

    Returns
    -------
    str or None
        The format, as Pillow names it: JPEG, PNG, GIF, TIFF, WEBP, BMP, AVIF or HEIF; None for any other file.
    """
    for prefix, name in _PREFIXES.items():
        if first_bytes.startswith(prefix):
            return name
    if first_bytes[:4] == b"RIFF" and first_bytes[8:12] == b"WEBP":
        return "WEBP"
    if first_bytes[:2] == b"BM" and int.from_bytes(first_bytes[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if first_bytes[4:8] == b"ftyp" and not _AVIF_BRANDS.isdisjoint(_brands(first_bytes)):
        return "AVIF"
    if first_bytes[4:8] == b"ftyp" and not _HEIF_BRANDS.isdisjoint(_brands(first_bytes)):
        return "HEIF"
    return None


def webp_pixels(first_bytes: bytes) -> int:
    """Read how many pixels a WebP image declares, without its decoder, which takes memory for all of them.

    Parameters
    ----------
    first_bytes : bytes
        The first `FIRST_BYTES` bytes of the file.

    Returns
    -------
    int
        Height times width; 0 for any other file.
    """
    if image_format(first_bytes) != "WEBP" or len(first_bytes) < 30:
        return 0
    kind = first_bytes[12:16]
    if kind == b"VP8X":  # extended: 24 bits each, less one
        sides = [int.from_bytes(first_bytes[at : at + 3], "little") + 1 for at in (24, 27)]
    elif kind == b"VP8L":  # lossless: 14 bits each, less one
        bits = int.from_bytes(first_bytes[21:25], "little")
        sides = [(bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1]
    elif kind == b"VP8 ":
        sides = [int.from_bytes(first_bytes[at : at + 2], "little") & 0x3FFF for at in (26, 28)]
    else:
        return 0
    return sides[0] * sides[1]


def suffix(name: str) -> str:
    """Return the suffix of a file name in lower case, with its dot; empty without one."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path for each of a million names takes seconds


def is_image_file(path: str | Path) -> bool:
    """Return whether a regular file is an image: by its suffix if that is known, else by its first bytes."""
    ending = suffix(os.fspath(path))
    if ending in IMAGE_SUFFIXES:
        return True
    if ending in _RAW_SUFFIXES:
        return False
    try:
        if isinstance(path, RemotePath):
            return image_format(path.read(0, FIRST_BYTES) if path.stamp()[0] else b"") is not None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # as above
            return image_format(file.read(FIRST_BYTES)) is not None
    except OSError:  # one that can't be opened is no image that could be read
        return False


def _brands(first_bytes: bytes) -> set[bytes]:
    """Return the brands in the first box of an ISO media file, such as HEIC."""
    end = min(int.from_bytes(first_bytes[:4]), len(first_bytes))
    return {first_bytes[8:12], *(first_bytes[at : at + 4] for at in range(16, end, 4))}
