"""Augmented views of training images: part of the image, maybe mirrored, its colours changed a little.

What is drawn follows from the image's bytes, the view's number and the seed, and from nothing else: a view is the same
in whichever order, thread or process it is made.

H, W: height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

# Changed when the same numbers make other pixels.
VERSION = 1
# Of each side of the image a view shows at least so much.
LEAST_SIDE = 0.7
# Brightness, contrast and saturation are multiplied by at most so much more or less than 1.
COLOUR = 0.2

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """One of the views of each image.

    Parameters
    ----------
    number : int
        From 1; the image itself is number 0 and no `View`.
    seed : int
    """

    number: int
    seed: int

    @property
    def declared(self) -> dict[str, int]:
        """What changes pixels and therefore belongs to the key that maps are stored under."""
        return {"number": self.number, "seed": self.seed, "augmentation": VERSION}

    def decoder(
        self, decoder: Callable[[Size], Callable[[], Pixels]], image_id: str, size: Size
    ) -> Callable[[], Pixels]:
        """Return what decodes the view of an image.

        The whole image is brought to a larger size, by the rule for all images, and a window of it is the view: so
        a view has the detail of the file, and not of an enlarged input.

        Parameters
        ----------
        decoder : callable
            Returns, for a size, what decodes the whole image at it.
        image_id : str
            sha256 of the file's bytes.
        size : (int, int)
            Height and width of the view in pixels.
        """
        rng = np.random.default_rng([VERSION, self.seed, self.number, int(image_id, 16)])
        side, is_mirrored = rng.uniform(LEAST_SIDE, 1), rng.random() < 0.5
        whole = round(size[0] / side), round(size[1] / side)
        top, left = (int(rng.integers(full - part + 1)) for full, part in zip(whole, size, strict=True))
        factors = rng.uniform(1 - COLOUR, 1 + COLOUR, 3)
        decode = decoder(whole)

        def view() -> Pixels:
            x_HW3 = decode()[top : top + size[0], left : left + size[1]]
            image = Image.fromarray(x_HW3[:, ::-1] if is_mirrored else x_HW3)
            kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
            for kind, factor in zip(kinds, factors.tolist(), strict=True):
                image = kind(image).enhance(factor)
            return np.asarray(image)

        return view


def declare(view: View | None) -> dict[str, Any]:
    """Return what of a view the key of its maps is made of; nothing for the images themselves."""
    return {"view": view.declared} if view else {}
