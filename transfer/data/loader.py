"""Image files read in threads: ids, sizes and pixels, and the handling of unreadable ones.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from transfer.data import decode, heif, members
from transfer.data.bad_images import BadImages
from transfer.data.copies import copy_codes
from transfer.data.dataset import SPLITS, ImageSet, Samples, redraw
from transfer.data.decode import BadImage
from transfer.data.names import Rows
from transfer.data.resize import STRETCH, Resizing
from transfer.data.threads import begin_ahead, in_parts
from transfer.system.content_ids import Ids, firsts
from transfer.system.errors import UserError
from transfer.system.progress import Progress

Pixels = npt.NDArray[np.uint8]
FILES_AHEAD, BATCHES_AHEAD = 256, 3
Header = tuple[bytes, tuple[int, int], int | None, bool]
"""sha256, height and width, the bits of the largest 16-bit value if they were counted, and whether it is HEIC."""
# Errors of a disk, a network file system, or a limit of this machine: they say nothing about the image.
MACHINE_ERRORS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE,
        errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    }
)  # fmt: skip
# To hand one small file to a thread takes longer than to read it.
FILES_A_TASK = 16

Item = TypeVar("Item")
Made = TypeVar("Made")


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
        return _bytes(self.path)

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
        return decode.pixels(self.data(), size, self.shift, self.resizing)


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

    def pixels(self, size: tuple[int, int]) -> Pixels:
        """Return RGB pixels `(H, W, 3)` uint8 at `size`. Raises `BadImage`."""
        return decode.pixels_of(self.image, size, self.shift, self.resizing)


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

    def data(self) -> bytes:
        """Return the file's bytes.

        Raises
        ------
        BadImage
            If it can't be read, or has changed since it was first read.
        """
        data = _bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self.id:
            raise BadImage("changed while it was being read")
        return data


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
        )

    def in_split(self, split: str) -> IndexedImages:
        """Return the images of one split."""
        return self.select(self.split_N == SPLITS.index(split))

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
            one.path, one.label, split, image_id, (height, width), shift=self.shift, resizing=self.resizing
        )


@contextmanager
def workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Start a pool of threads that drops pending work on an error or an interrupt."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read(images: ImageSet, pool: ThreadPoolExecutor, bad: BadImages, on_progress: Progress) -> IndexedImages:
    """Read each file of an image set once, for its id and its size.

    Splits that were drawn are drawn again if copies of an image lie in different ones. The number of bits that 16-bit
    images use is found by decoding them, until one uses all 16.

    Parameters
    ----------
    images : ImageSet
    pool : ThreadPoolExecutor
        Reads the files.
    bad : BadImages
        Handles those that can't be read.
    on_progress : Progress

    Returns
    -------
    IndexedImages
        The readable images.

    Raises
    ------
    UserError
        If a file can't be read and `bad` does not skip it, or the disk fails.
    """
    samples = images.samples()
    codes = np.arange(len(SPLITS), dtype=np.uint8)
    found = IndexedImages(
        samples,
        np.repeat(codes, [len(images.splits[split]) for split in SPLITS]),
        np.empty((len(samples), 32), np.uint8),
        np.empty((len(samples), 2), np.int32),
    )
    readable_N = np.ones(len(samples), bool)
    parts = in_parts((sample.path for sample in samples), FILES_A_TASK)
    done, bits, has_heif = 0, 0, False  # bits: of the largest value in images of 16 bits

    def read_part(paths: Sequence[Path]) -> list[Header | BadImage]:
        return _ids_and_sizes(paths, count_bits=bits < 16)

    on_progress("read", 0, len(samples), "", "images")
    for part, future in begin_ahead(read_part, parts, FILES_AHEAD // FILES_A_TASK, pool):
        for i, (path, result) in enumerate(zip(part, future.result(), strict=True), done):
            if isinstance(result, BadImage):
                bad.meet(path, result)
                readable_N[i] = False
            else:
                image_id, found.size_N2[i], used, is_heif = result
                bits, has_heif = max(bits, used or 0), has_heif or is_heif
                found.ids_N32[i] = np.frombuffer(image_id, np.uint8)
        done += len(part)
        on_progress("read", done, len(samples), "", "images")
    shift = decode.shift_for(bits) if bits else decode.SHIFT
    found = replace(found.select(readable_N), shift=shift, has_heif=has_heif)
    if not images.drawn:
        return found
    order_N, split_N = redraw(images, found.samples, found.split_N, copy_codes(found.ids_N32))
    return replace(found.select(order_N), split_N=split_N)


def _ids_and_sizes(paths: Sequence[Path], *, count_bits: bool) -> list[Header | BadImage]:
    found: list[Header | BadImage] = []
    for path in paths:
        try:
            data = _bytes(path)
            size, is_deep = decode.header_of(data)
            bits = decode.bits_of(data) if is_deep and count_bits else None
            found.append((hashlib.sha256(data).digest(), size, bits, heif.is_heif(data)))
        except BadImage as error:
            found.append(error)
    return found


def _bytes(path: Path) -> bytes:
    try:
        return members.read(path, decode.MAX_BYTES)
    except OSError as error:
        if error.errno in MACHINE_ERRORS:
            raise UserError(
                f"can't read {path} ({error.strerror}); the machine failed, not the image: "
                "what was computed is kept, run again"
            ) from error
        raise BadImage(error.strerror or str(error)) from error
