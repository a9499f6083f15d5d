"""Conversion of images that Python code gives to a model: paths, PIL images and arrays.

H, W: height and width in pixels.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from io import IOBase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer.data.loader import File, Opened
from transfer.system.errors import UserError
from transfer.system.remote import RemotePath, path_of

# What can be done in Python about an image that can't be read.
ADVICE = "mend it or leave it out"

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
    elif not isinstance(images, Iterable) or isinstance(images, bytes | IOBase):
        raise UserError(
            f"images are of type {type(images).__name__}; give a path, a PIL image, an array, or several"
        )
    return [_file(image, f"images[{i}]") for i, image in enumerate(several)]


def check_paths(files: Iterable[File]) -> None:
    """Raise `UserError` for a path on this machine where no file is; images in memory and URLs are not looked for."""
    for path in (file.path for file in files if not isinstance(file, Opened)):
        if isinstance(path, RemotePath):
            continue
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError:
            raise UserError(f"no such file: {path}") from None
        except (OSError, ValueError):  # it lies in a file that holds images, or reading it says what is wrong
            continue
        if is_folder:
            raise UserError(
                f"{path} is a folder; give the files in it, as in list(Path({str(path)!r}).iterdir())"
            )


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
