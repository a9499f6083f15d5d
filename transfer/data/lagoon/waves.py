"""Noise of several sizes in perspective, from which the waves of the built-in image set are made."""

from __future__ import annotations

from functools import lru_cache

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
NEARNESS = np.repeat(BEND * ROW + 1, WIDTH, axis=1)  # not as one column: division is faster
BAND = 40  # rows at a time, whose arrays fit into the cache of a core
BANDS = [slice(start, start + BAND) for start in range(0, HEIGHT, BAND)]


def noise(rng: np.random.Generator, lean: float, cells: Cells) -> Field:
    """Draw waves of several sizes, the largest first, in perspective; `lean` as in `Scene`."""
    grid = np.zeros((2, 2), np.float32)
    for columns, rows, weight in cells:
        size = int(WIDE / columns) + 3, int(TALL / rows) + 3
        coarse = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        grid = rng.standard_normal(size[::-1], dtype=np.float32)
        grid *= weight
        grid += np.asarray(coarse)
    return view(grid, lean)


def view(grid: npt.NDArray[np.float32], lean: float) -> Field:
    """Show a grid in perspective, interpolated.

    What `Image.transform` does with `PERSPECTIVE` and `BILINEAR`, in the same operations and so to the same bits, but
    in less time: columns do not depend on the picture, and NumPy computes all pixels of some rows side by side.
    """
    height, width = grid.shape
    left, right_share = columns(width)
    along = (height - 2) / TALL
    # Above, below and to the right the edge is repeated.
    padded = np.concatenate([grid[:1], grid, grid[-1:]])
    steps = np.zeros(padded.shape)
    steps[:, :-1] = padded[:, 1:] - padded[:, :-1]
    values = padded.astype(float).ravel()
    tables = [(values, steps.ravel()), (values[width:], steps.ravel()[width:])]
    shown = np.empty((HEIGHT, WIDTH), np.float32)
    at = np.empty((BAND, WIDTH), np.intp)
    below_share, above, upper, lower, value = np.empty((5, BAND, WIDTH))
    for rows in BANDS:
        np.add(along * lean * COLUMN, along * 1.5 * ROW[rows], out=below_share)
        below_share += along * (80 - lean * WIDTH / 2)
        below_share /= NEARNESS[rows]
        below_share -= 0.5
        np.floor(below_share, out=above)
        below_share -= above
        above *= width
        at[:] = above
        at += left[rows]
        for between, (starts, rises) in zip((upper, lower), tables, strict=True):
            rises.take(at, out=between, mode="wrap")
            between *= right_share[rows]
            between += starts.take(at, out=value, mode="wrap")
        lower -= upper
        lower *= below_share
        lower += upper
        shown[rows] = lower
    return shown


@lru_cache
def columns(width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return what pixels see of row 1 of a grid (HEIGHT, WIDTH): the index of a cell, and how far right of it."""
    across = (width - 2) / WIDE
    centre = across * WIDE / 2
    seen = across * 1.25 * COLUMN + centre * BEND * ROW + (centre - across * 1.25 * WIDTH / 2)
    seen = seen / NEARNESS - 0.5
    left = np.floor(seen)
    return left.astype(np.intp) + width, seen - left
