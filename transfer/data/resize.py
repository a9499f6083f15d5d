"""Images resized to the input size of a network.

H, W: height and width in pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer.data.colour import to_rgb

RESAMPLE = "bilinear"
"""The usual filter; `bicubic` is that of networks which were trained with it."""


def declare(resample: str) -> dict[str, str]:
    """Return what of resizing changes pixels and therefore belongs to the key that features are stored under."""
    return {"resize": f"stretched, {resample}, antialiased"}


def stretched(
    image: Image.Image, size: tuple[int, int], shift: int, resample: str = RESAMPLE
) -> npt.NDArray[np.uint8]:
    """Return RGB pixels of an upright image at a size.

    Parameters
    ----------
    image : PIL.Image.Image
    size : (int, int)
        Height and width in pixels; an image of another size is stretched.
    shift : int
        Bits that values of 16-bit grey are shifted right by.
    resample : str
        Filter: bilinear or bicubic.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
    """
    image = to_rgb(image, shift)
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling[resample.upper()])
    return np.asarray(image)
