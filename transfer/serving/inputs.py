"""Conversion of images that Python code gives to a model: paths, PIL images and arrays.

H, W: height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer.data.loader import File, Opened
from transfer.system.errors import UserError
from transfer.system.remote import path_of

ImageLike = str | Path | Image.Image | npt.NDArray[np.uint8]


def as_files(images: ImageLike | Sequence[ImageLike]) -> list[File]:
    """Wrap one image or several as files.

    Parameters
    ----------
    images
        Paths of files, PIL images, or RGB pixels `(H, W, 3)` uint8.

    Returns
    -------
    list of File

    Raises
    ------
    UserError
        For what is no image.
    """
    several: Iterable[Any] = images  # type: ignore[assignment]  # a PIL image is none
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        several = [images]
    return [_file(image, f"images[{i}]") for i, image in enumerate(several)]


def _file(image: ImageLike, name: str) -> File:
    if isinstance(image, str | Path):
        return File(path_of(image))
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise UserError(
                f"{name} is an array of shape {image.shape} and dtype {image.dtype}; give (H, W, 3) and uint8"
            )
        image = Image.fromarray(image)
    if isinstance(image, Image.Image):
        return Opened(Path(name), image)
    raise UserError(f"{name} is of type {type(image).__name__}; give a path, a PIL image, or an array")
