"""Images brought to the input size of a network.

H, W: height and width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer.data.colour import to_rgb
from transfer.data.limits import BadImage

Size = tuple[int, int]

# A crop that sees less of an image is refused: of one row of 60,000 pixels the scaled image would take gigabytes.
LEAST_SEEN = 1 / 64
# A JPEG that is decoded at a reduced scale keeps at least so many times the height and width that it is scaled to.
# Pillow's own thumbnails keep as much: https://pillow.readthedocs.io/en/stable/reference/Image.html (reducing_gap)
LEAST_REDUCED = 2

# What belongs to the key that features are stored under.
_DECLARED = {"stretch": "stretched", "letterbox": "whole, centred on black", "crop": "centre crop"}


@dataclass(frozen=True)
class Resizing:
    """How an image of another size is brought to the input size.

    Parameters
    ----------
    way : {"stretch", "letterbox", "crop"}
        Both sides scaled on their own; the largest image of the same ratio that fits, centred on black; or the
        smallest that covers the size, of which the centre is kept.
    resample : {"bilinear", "bicubic"}
        Filter; `bicubic` is that of networks which were trained with it.
    reduced : bool
        Whether JPEG files are decoded at a reduced scale first, where that is not below `LEAST_REDUCED`.
    """

    way: str = "stretch"
    resample: str = "bilinear"
    reduced: bool = False

    @property
    def filter(self) -> Image.Resampling:
        """`resample` as Pillow has it."""
        return Image.Resampling[self.resample.upper()]

    @property
    def declared(self) -> dict[str, str]:
        """What of it changes pixels and therefore belongs to the key that features are stored under."""
        reduced = {"reduced": f"JPEGs at 1/2, 1/4 or 1/8, at least {LEAST_REDUCED} times the scaled size"}
        return {
            "resize": f"{_DECLARED[self.way]}, {self.resample}, antialiased",
            **(reduced if self.reduced else {}),
        }


STRETCH = Resizing()
"""The usual way."""


def place(own: Size, size: Size, way: str) -> tuple[Size, tuple[int, int]]:
    """Decide how an image is scaled, and what of it is seen, by the rules of torchvision.

    Parameters
    ----------
    own, size : (int, int)
        Height and width of the image and of the network's input in pixels.
    way : str
        Of `Resizing`.

    Returns
    -------
    scaled : (int, int)
        Height and width that the image is scaled to: one side is that of `size`, the other is rounded down.
    corner : (int, int)
        Row and column of the scaled image where the network's input begins; negative where that is padded.

    Raises
    ------
    BadImage
        If less than `LEAST_SEEN` of the image would be seen.
    """
    if way == "stretch":
        return size, (0, 0)
    crosswise = size[0] * own[1], size[1] * own[0]
    if crosswise[0] == max(crosswise) if way == "crop" else crosswise[0] == min(crosswise):
        scaled = size[0], max(1, crosswise[0] // own[0])
    else:
        scaled = max(1, crosswise[1] // own[1]), size[1]
    if size[0] * size[1] < LEAST_SEEN * scaled[0] * scaled[1]:
        raise BadImage(f"{own[0]}x{own[1]} is too narrow: a crop would see less than 1/64 of it")
    top, left = (_begin(side - seen) for side, seen in zip(scaled, size, strict=True))
    return scaled, (top, left)


def _begin(excess: int) -> int:
    """Return where the centre begins: half of what is cut off, to the even neighbour, as torchvision does it."""
    return round(excess / 2) if excess > 0 else -(-excess // 2)


def fit_image(
    image: Image.Image, size: Size, shift: int, resizing: Resizing = STRETCH
) -> npt.NDArray[np.uint8]:
    """Return RGB pixels of an upright image at a size.

    Parameters
    ----------
    image : PIL.Image.Image
    size : (int, int)
        Height and width in pixels; an image of exactly that size is left as it is.
    shift : int
        Bits that values of 16-bit grey are shifted right by.
    resizing : Resizing
        What is done to an image of another size.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
    """
    image = to_rgb(image, shift)
    scaled, (top, left) = place(image.size[::-1], size, resizing.way)
    if image.size != scaled[::-1]:
        image = image.resize(scaled[::-1], resizing.filter)
    if image.size != size[::-1]:  # what lies outside an image is black
        image = image.crop((left, top, left + size[1], top + size[0]))
    return np.asarray(image)
