"""Noise of several sizes in perspective, from which the waves of the built-in image set are made."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

HEIGHT, WIDTH = 240, 800
Field = npt.NDArray[np.float32]  # (HEIGHT, WIDTH)

# Waves as cells of noise: columns and rows of the middle of the picture, and how strong they are.
Cells = tuple[tuple[float, float, float], ...]
SWELL: Cells = ((320, 110, 0.8), (130, 34, 0.6), (60, 16, 0.4))
RIPPLES: Cells = ((28, 5.4, 0.45), (13, 3, 0.7), (6.5, 2.2, 0.5))
SPRAY: Cells = ((26, 9, 0.35), (9, 3.5, 0.5), (3.6, 1.8, 0.65))

TALL, WIDE = 420, 1080  # pixels that the cells cover: more than a picture, which turns and narrows them
# Towards the top a pixel covers more water, 1.5 times across and 2.25 times along the view.
COLUMN = np.arange(WIDTH) + 0.5
ROW = (np.arange(HEIGHT) + 0.5)[:, None]
BEND = 0.5 / HEIGHT
NEARNESS = BEND * ROW + 1


def noise(rng: np.random.Generator, lean: float, cells: Cells) -> Field:
    """Draw waves of several sizes, the largest first, in perspective; `lean` as in `Scene`."""
    grid = np.zeros((2, 2), np.float32)
    for columns, rows, weight in cells:
        size = int(WIDE / columns) + 3, int(TALL / rows) + 3
        grid = np.array(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))
        grid += weight * rng.standard_normal(size[::-1], dtype=np.float32)
    return view(grid, lean)


def view(grid: npt.NDArray[np.float32], lean: float) -> Field:
    """Show a grid in perspective, interpolated.

    What `Image.transform` does with `PERSPECTIVE` and `BILINEAR`, in the same operations and so to the same bits, but
    in less time: columns do not depend on the picture, and NumPy computes all pixels side by side.
    """
    height, width = grid.shape
    left, right_share = columns(width)
    along = (height - 2) / TALL
    below_share = along * lean * COLUMN + along * 1.5 * ROW
    below_share += along * (80 - lean * WIDTH / 2)
    below_share /= NEARNESS
    below_share -= 0.5
    above = np.floor(below_share)
    below_share -= above
    padded = np.pad(grid, ((1, 1), (0, 1)), "edge")
    # A value and its distance from the one to the right, as one number: so that both are fetched at once.
    pairs = np.empty((height + 2, width), complex)
    pairs.real, pairs.imag = padded[:, :-1], np.diff(padded)
    at = above.astype(np.intp)
    at += 1
    at *= width
    at += left
    upper, lower = (interpolate(pairs.ravel().take(at + row, mode="wrap"), right_share) for row in (0, width))
    lower -= upper
    lower *= below_share
    lower += upper
    return lower.astype(np.float32)


@lru_cache
def columns(width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the columns of a grid that pixels see (HEIGHT, WIDTH): their indices, and how far right of them."""
    across = (width - 2) / WIDE
    centre = across * WIDE / 2
    seen = across * 1.25 * COLUMN + centre * BEND * ROW + (centre - across * 1.25 * WIDTH / 2)
    seen = seen / NEARNESS - 0.5
    left = np.floor(seen)
    return left.astype(np.intp), seen - left


def interpolate(pairs: npt.NDArray[Any], share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values between the real parts and those that lie further by the imaginary ones."""
    between: npt.NDArray[np.float64] = pairs.imag * share
    between += pairs.real
    return between
