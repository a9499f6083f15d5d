"""The default input size of an image set.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from transfer.config import MAX_SIDE

Size = tuple[int, int]

DEFAULT = (224, 224)
"""The input size if sizes differ."""
MAX_AREA = 480 * 640
"""Pixels of an input image. Time and memory of a forward pass grow with it, and networks were trained on 224x224."""
# With 32 pixels a side one cell is left of the last map of most networks. Eight classes of boats at 32x64 were
# classified with an accuracy of 0.57 at their own size, 0.68 at 64x128, 0.61 at 128x256 and 0.63 at 224x448 (linear
# SVM on 260 images, embedded weights, standard deviation over five folds 0.02 to 0.08).
SMALL_SIDE, ENLARGED_SIDE = 48, 64
"""A shorter side of fewer pixels than the first is scaled up to the second."""


def common_size(size_N2: npt.NDArray[np.int32]) -> Size | None:
    """Return the height and width that all images `(N, 2)` have; None if they differ."""
    height, width = size_N2[0].tolist()
    return (height, width) if (size_N2 == size_N2[0]).all() else None


def default_size(size_N2: npt.NDArray[np.int32], otherwise: Size = DEFAULT) -> Size:
    """Return the default input size: the images' own if all agree, else that of the network, such as 224x224.

    Images of more than `MAX_AREA` pixels are scaled down to that area, those with a shorter side under `SMALL_SIDE`
    pixels up to `ENLARGED_SIDE`; the ratio of height to width is kept as far as these bounds allow.

    Parameters
    ----------
    size_N2 : ndarray of shape (N, 2)
        Height and width of each image in pixels.
    otherwise : (int, int)
        The size if theirs differ.

    Returns
    -------
    height, width : int
    """
    own = common_size(size_N2)
    if own is None:
        return otherwise
    scale = 1.0
    if min(own) < SMALL_SIDE:
        scale = ENLARGED_SIDE / min(own)
    area = own[0] * own[1] * scale**2
    if area > MAX_AREA:
        scale *= math.sqrt(MAX_AREA / area)
    if scale == 1:
        return own
    height, width = (min(MAX_SIDE, max(ENLARGED_SIDE, round(side * scale))) for side in own)
    return height, width
