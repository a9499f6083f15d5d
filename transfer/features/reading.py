"""The images of a set read once: their ids, sizes and splits, and those that can't be read."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from transfer.backbones.choice import WeightsChoice
from transfer.config import RunConfig
from transfer.data.bad_images import BadImages
from transfer.data.dataset import ImageSet
from transfer.data.indexing import read
from transfer.data.known_files import KnownFiles
from transfer.data.loader import IndexedImages
from transfer.data.random_splits import SPLITS
from transfer.data.sizes import common_size, default_size
from transfer.features.plan import known_files
from transfer.system.errors import UserError
from transfer.system.hardware import usable_cores
from transfer.system.progress import Progress
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import now

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadImages:
    """An image set whose files were read, for one network or for several in turn."""

    image_set: ImageSet
    indexed: IndexedImages
    """Those that can be read."""
    skipped: dict[str, str]
    """Images left out: name and reason."""
    seconds: float


def read_images(
    images: ImageSet, rule: str, known: KnownFiles, pool: ThreadPoolExecutor, on_progress: Progress
) -> ReadImages:
    """Read each file of an image set once, unless it is known from before.

    Parameters
    ----------
    images : ImageSet
    rule : {"error", "skip"}
        What becomes of images that can't be read.
    known : KnownFiles
    pool : ThreadPoolExecutor
    on_progress : Progress

    Returns
    -------
    ReadImages

    Raises
    ------
    UserError
        For an image that can't be read, unless `rule` is `skip`; where that leaves a split empty, or a class without
        training images.
    """
    start, bad = now(), BadImages(images.root, rule, images.skipped)
    found = read(images, pool, bad, on_progress, known)
    check_splits(found, images)
    return ReadImages(image_set=images, indexed=found, skipped=bad.skipped, seconds=now() - start)


def read_alone(images: ImageSet, config: RunConfig, on_progress: Progress) -> ReadImages:
    """Read an image set as `read_images` does, in threads of its own."""
    with StartedPool(usable_cores()) as pool:
        return read_images(images, config.on_bad_image, known_files(config), pool, on_progress)


def check_splits(images: IndexedImages, whole: ImageSet, wanted: Iterable[str] = SPLITS) -> None:
    """Raise `UserError` where leaving out bad images left a wanted split empty or training with one class."""
    for split in wanted:
        if SPLITS.index(split) not in images.split_N:
            raise UserError(f"no image of the {split} split of {whole.name} can be read; replace some")
    untrained_N = ~np.isin(images.label_N, images.in_split("train").label_N)
    if untrained_N.any():
        image = images[int(np.argmax(untrained_N))]
        name = whole.classes[image.label]
        raise UserError(
            f"no training image of class {name!r} can be read, but {image.path} is of that class; replace some"
        )


def take_share(images: int, of: int, least: int, most: int) -> int:
    """Return how many of the images are one of `of`, within limits, rounded down to a power of two.

    So a few images more or less hardly ever change which are taken.
    """
    return min(most, max(least, 1 << max(0, (images // of).bit_length() - 1)))


def default_input_size(images: IndexedImages, weights: WeightsChoice) -> tuple[int, int]:
    """Return height and width in pixels of the input where none are asked for; log where images are changed."""
    wanted, own = weights.preprocessing, common_size(images.size_N2)
    if wanted.is_fixed:
        if own != wanted.size:
            taken = "{}x{}".format(*wanted.size)
            log.warning(
                "%s takes %s: images are resized to that (`size` names another size)",
                weights.backbone,
                taken,
            )
        return wanted.size
    size = default_size(images.size_N2, wanted.size)
    if own is None and wanted.resizing.way == "stretch":
        log.info(
            "the images have several sizes: all are stretched to %dx%d (`resize='letterbox'` keeps their shapes, "
            "`size` names another size)",
            *size,
        )
    elif own not in (None, size):
        log.warning("the images are %dx%d: they are scaled to %dx%d (`size` names another size)", *own, *size)
    return size
