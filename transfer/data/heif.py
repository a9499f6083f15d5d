"""HEIC images, which Pillow decodes with the package pillow-heif."""

from __future__ import annotations

from functools import cache

from transfer.data.formats import FIRST_BYTES, image_format
from transfer.data.limits import BadImage

HEIF = "HEIF"


def is_heif(data: bytes) -> bool:
    """Return whether a file is HEIC by its first bytes."""
    return image_format(data[:FIRST_BYTES]) == HEIF


def declare(has_heif: bool) -> dict[str, str]:
    """Return the entry that the decoder of HEIC adds to `decode.DECLARED`; empty for images without HEIC."""
    if not has_heif:
        return {}
    import pillow_heif  # optional

    return {"heif": f"pillow-heif {pillow_heif.__version__}, libheif {pillow_heif.libheif_version()}"}


def formats(data: bytes, others: tuple[str, ...]) -> tuple[str, ...]:
    """Return the formats that Pillow may take a file for: HEIC alone if its first bytes say so, else the others.

    Parameters
    ----------
    data : bytes
        The whole file.
    others : tuple of str
        As Pillow names them.

    Returns
    -------
    tuple of str

    Raises
    ------
    BadImage
        As `register` does.
    """
    if not is_heif(data):
        return others
    register()
    return (HEIF,)


@cache
def register() -> None:
    """Add the decoder of HEIC to Pillow's; it decodes upright, whatever EXIF says, and 10 bits as 8.

    Raises
    ------
    BadImage
        If pillow-heif is not installed.
    """
    try:
        import pillow_heif  # optional
    except ImportError:
        raise BadImage("HEIC needs pillow-heif; install it (pip install pillow-heif)") from None
    pillow_heif.register_heif_opener(decode_threads=1)  # files are decoded in threads already
