"""Conversion of images of any mode to RGB, with transparent parts on white."""

from __future__ import annotations

from PIL import Image

from transfer.data import depth
from transfer.data.limits import BadImage


def to_rgb(image: Image.Image, shift: int = depth.SHIFT) -> Image.Image:
    """Convert a decoded image to RGB; transparent parts are blended on white.

    Parameters
    ----------
    image : PIL.Image.Image
    shift : int
        Bits that 16-bit grey is shifted right by.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.

    Raises
    ------
    BadImage
        For floating-point pixels, since their range is not known, and for values beyond 16 bits.
    """
    if image.mode == "F":
        raise BadImage("floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        image = depth.shift_grey(image, shift)
    elif image.has_transparency_data and not _is_opaque(image):
        return _blend_on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _is_opaque(image: Image.Image) -> bool:
    """Return whether an alpha channel is full everywhere; False for transparency declared in another way."""
    if image.mode not in ("LA", "RGBA") or "transparency" in image.info:
        return False
    return image.getchannel("A").getextrema()[0] == 255


def _blend_on_white(image: Image.Image) -> Image.Image:
    blended = Image.new("RGB", image.size, "white")
    for box in depth.strips(image):
        part = image.crop(box)
        part = (part.convert("LA") if part.mode == "La" else part).convert("RGBA")
        blended.paste(part, box, part)
    return blended
