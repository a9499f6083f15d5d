"""Images as they lie in files, in memory or in an index, and their bytes and pixels; unreadable ones are a `BadImage`.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from transfer.data import decode, members
from transfer.data.dataset import Samples
from transfer.data.limits import MAX_BYTES, BadImage
from transfer.data.names import Rows
from transfer.data.random_splits import SPLITS
from transfer.data.resize import STRETCH, Resizing
from transfer.data.views import View
from transfer.system.content_ids import Ids, firsts
from transfer.system.errors import UserError

Pixels = npt.NDArray[np.uint8]
# Errors of a disk, a network file system, or a limit of this machine: they say nothing about the image.
MACHINE_ERRORS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE,
        errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    }
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """An image file that has not been read yet."""

    path: Path
    shift: int = field(default=decode.SHIFT, kw_only=True)
    """Bits that 16-bit values are shifted right by."""
    resizing: Resizing = field(default=STRETCH, kw_only=True)
    """How it is brought to another size."""

    def data(self) -> bytes:
        """Return the file's bytes.

        Raises
        ------
        BadImage
            If it can't be read.
        """
        return read_bytes(self.path)

    def pixels(self, size: tuple[int, int]) -> Pixels:
        """Decode the image.

        Parameters
        ----------
        size : (int, int)
            Height and width in pixels.

        Returns
        -------
        ndarray of shape (H, W, 3), uint8

        Raises
        ------
        BadImage
            If it can't be read or decoded.
        """
        return self.decoder(size)()

    def decoder(self, size: tuple[int, int]) -> Callable[[], Pixels]:
        """Read the file, and return what decodes it to pixels, as `pixels` returns them. Both raise `BadImage`."""
        return partial(decode.pixels, self.data(), size, self.shift, self.resizing)


@dataclass(frozen=True, eq=False)
class Opened(File):
    """An image in memory; its path is a text that stands for it in messages."""

    image: PillowImage.Image

    def data(self) -> bytes:
        """Return the bytes of a PNG of it. Raises `BadImage`."""
        buffer = io.BytesIO()
        size = decode.size_of_image(self.image)
        PillowImage.fromarray(self.pixels(size)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def decoder(self, size: tuple[int, int]) -> Callable[[], Pixels]:
        """Return what converts it to pixels. Raises `BadImage`."""
        return partial(decode.pixels_of, self.image, size, self.shift, self.resizing)


Readable = TypeVar("Readable", bound=File)


@dataclass(frozen=True)
class Image(File):
    """A labelled image that has been read once."""

    label: int
    split: str
    id: str
    """sha256 of the file's bytes."""
    size: tuple[int, int]
    """Height and width in pixels."""
    view: View | None = field(default=None, kw_only=True)
    """Which view of it its pixels are; None: the image itself."""

    def data(self) -> bytes:
        """Return the file's bytes.

        Raises
        ------
        BadImage
            If it can't be read, or has changed since it was first read.
        """
        data = read_bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self.id:
            raise BadImage("changed while it was being read")
        return data

    def decoder(self, size: tuple[int, int]) -> Callable[[], Pixels]:
        """Read the file, and return what decodes it, or the view of it, to pixels. Both raise `BadImage`."""
        if self.view is None:
            return super().decoder(size)
        return self.view.decoder(super().decoder, self.id, size)


@dataclass(frozen=True, eq=False)
class IndexedImages(Sequence[Image]):
    """A sequence of images that have been read once, in little memory; an `Image` is created on access."""

    samples: Samples
    split_N: npt.NDArray[np.uint8]
    """Indices into `SPLITS`."""
    ids_N32: Ids
    size_N2: npt.NDArray[np.int32]
    shift: int = decode.SHIFT
    """Bits that 16-bit values are shifted right by, the same for the whole set."""
    resizing: Resizing = STRETCH
    """How images are brought to another size."""
    has_heif: bool = False
    """Whether there is HEIC among the files of the whole set."""
    view: View | None = None
    """Which view of each image its pixels are; None: the images themselves."""

    @property
    def label_N(self) -> npt.NDArray[np.int32]:
        """Index of each image's class."""
        return self.samples.label_N

    @property
    def group_N(self) -> npt.NDArray[np.int32] | None:
        """Index of each image's group; None without groups."""
        return self.samples.group_N

    def select(self, rows: Rows) -> IndexedImages:
        """Return the images of some rows: indices, a mask or a slice."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool and rows.all():
            return self  # as a rule all are readable, and none or all are missing: no second copy of them
        return IndexedImages(
            self.samples.select(rows),
            self.split_N[rows],
            self.ids_N32[rows],
            self.size_N2[rows],
            self.shift,
            self.resizing,
            self.has_heif,
            self.view,
        )

    def in_split(self, split: str) -> IndexedImages:
        """Return the images of one split."""
        return self.select(self.split_N == SPLITS.index(split))

    def first_by_id(self, count: int) -> IndexedImages:
        """Return so many distinct images, sorted by id.

        That is equivalent to a random draw, and a few new ones among thousands rarely change it.
        """
        return self.select(firsts(self.ids_N32)[:count])

    def distinct(self) -> IndexedImages:
        """Return the images without repetitions: of copies of one image the first, in the same order."""
        first_N = np.zeros(len(self), bool)
        first_N[firsts(self.ids_N32)] = True
        return self.select(first_N)

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, at: int) -> Image: ...
    @overload
    def __getitem__(self, at: slice) -> IndexedImages: ...
    def __getitem__(self, at: int | slice) -> Image | IndexedImages:
        if isinstance(at, slice):
            return self.select(at)
        one, (height, width) = self.samples[at], self.size_N2[at].tolist()
        image_id = self.ids_N32[at].tobytes().hex()
        split = SPLITS[self.split_N[at]]
        return Image(
            one.path,
            one.label,
            split,
            image_id,
            (height, width),
            shift=self.shift,
            resizing=self.resizing,
            view=self.view,
        )


def read_bytes(path: Path) -> bytes:
    """Read a file; raise `BadImage` where it can't be read, and `UserError` where the machine fails."""
    try:
        return members.read(path, MAX_BYTES)
    except OSError as error:
        if error.errno in MACHINE_ERRORS:
            raise UserError(
                f"can't read {path} ({error.strerror}); the machine failed, not the image: "
                "what was computed is kept, run again"
            ) from error
        raise BadImage(error.strerror or str(error)) from error
