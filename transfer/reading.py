"""Image files read in threads: what they are, their pixels, and what becomes of bad ones.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transfer import decode
from transfer.config import UserError
from transfer.decode import BadImage
from transfer.images import SPLITS, ImageSet

Progress = Callable[[str, int, int], None]
"""Called with the phase, how many images are done and how many there are."""

Pixels = npt.NDArray[np.uint8]
BATCHES_AHEAD = 3


@dataclass(frozen=True)
class Image:
    """A labelled image that has been read once."""

    path: Path
    label: int
    split: str
    id: str
    """sha256 of the file's bytes."""
    size: tuple[int, int]
    """Height and width in pixels."""

    def pixels(self, size: tuple[int, int]) -> Pixels:
        """RGB pixels `(H, W, 3)` uint8 at `size`. Raises `BadImage`."""
        data = _bytes(self.path)
        if _sha256(data) != self.id:
            raise BadImage("changed while it was being read")
        return decode.pixels(data, size)


class BadImages:
    """What becomes of images that can't be read: the first ends the run, or all are left out and named."""

    def __init__(self, root: Path, rule: str) -> None:
        self.root = root
        self.rule = rule
        self.skipped: dict[str, str] = {}
        """Names relative to the root, and the reasons."""

    def meet(self, path: Path, error: BadImage) -> None:
        """Take note of a bad image; raise `UserError` unless the rule is `skip`."""
        if self.rule == "error":
            raise UserError(f"can't read {path}: {error}; mend or remove it, or use --on-bad-image skip")
        self.skipped[path.relative_to(self.root).as_posix()] = str(error)


@contextmanager
def workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that, on an error or an interrupt, drops what has not begun instead of doing it."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read(images: ImageSet, pool: ThreadPoolExecutor, bad: BadImages, on_progress: Progress) -> list[Image]:
    """Every readable image of the set with its id and its size, from one read of each file."""
    samples = [(split, sample) for split in SPLITS for sample in images.splits[split]]
    seen = pool.map(_id_and_size, [sample.path for _, sample in samples])
    found = []
    for done, ((split, sample), outcome) in enumerate(zip(samples, seen, strict=True), 1):
        if isinstance(outcome, BadImage):
            bad.meet(sample.path, outcome)
        else:
            found.append(Image(sample.path, sample.label, split, *outcome))
        on_progress("reading", done, len(samples))
    return found


def batches(
    images: Sequence[Image], batch: int, size: tuple[int, int], pool: ThreadPoolExecutor, bad: BadImages
) -> Iterator[tuple[list[Image], Pixels]]:
    """Images and their pixels `(N, H, W, 3)`, `batch` at a time, decoded ahead of their use."""
    readable = _decoded(images, BATCHES_AHEAD * batch, size, pool, bad)
    while part := list(islice(readable, batch)):
        yield [image for image, _ in part], np.stack([pixels for _, pixels in part])


def _decoded(
    images: Sequence[Image], ahead: int, size: tuple[int, int], pool: ThreadPoolExecutor, bad: BadImages
) -> Iterator[tuple[Image, Pixels]]:
    upcoming = iter(images)
    queue: deque[tuple[Image, Future[Pixels]]] = deque()
    while True:
        queue.extend(
            (image, pool.submit(image.pixels, size)) for image in islice(upcoming, ahead - len(queue))
        )
        if not queue:
            return
        image, future = queue.popleft()
        try:
            yield image, future.result()
        except BadImage as error:
            bad.meet(image.path, error)


def _id_and_size(path: Path) -> tuple[str, tuple[int, int]] | BadImage:
    try:
        data = _bytes(path)
        return _sha256(data), decode.size_of(data)
    except BadImage as error:
        return error  # returned, since an error raised in `map` would end the other images too


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage(error.strerror or str(error)) from error
