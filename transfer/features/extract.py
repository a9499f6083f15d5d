"""The features of an image set in memory, or in a file that is mapped into it.

N: images. D: features an image.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transfer.cache.feature_table import FeatureTable
from transfer.config import RunConfig
from transfer.data.dataset import ImageSet
from transfer.data.limits import BadImage
from transfer.data.loader import IndexedImages
from transfer.data.names import Rows
from transfer.data.random_splits import SPLITS
from transfer.features.fill import Extraction, fill
from transfer.features.given import GivenFeatures, read_given
from transfer.features.image_sets import features_are_given, find_images
from transfer.features.plan import ExtractionPlan, plan_extraction
from transfer.features.reading import ReadImages
from transfer.system.hardware import usable_cores
from transfer.system.progress import Progress, reported
from transfer.system.row_storage import RowStorage, without_subnormals
from transfer.system.timer import Stopwatch

# Features that differ by less than this share of the largest are nearly the same; checked in so many rows,
# and reported with the range of the pixels of so many images.
ALIKE, ALIKE_ROWS, ALIKE_IMAGES = 1e-3, 1000, 8

Transform = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Features of one split: `x_ND` float32 and the class indices `y_N` int64."""

    x_ND: npt.NDArray[np.float32]
    y_N: npt.NDArray[np.int64]

    def transformed(self, transform: Transform) -> Split:
        """Return the same rows transformed."""
        return Split(transform(self.x_ND), self.y_N)


@dataclass(frozen=True, kw_only=True)
class Features:
    """The features of an image set, and how they came about."""

    x_ND: npt.NDArray[np.float32]
    """Of all images, in their order; never transformed."""
    splits: dict[str, Split]
    """Parts of it, or of what a transform made of it."""
    exact: Split | None
    """Some of the test images in fp32, where the others are int8."""
    coarse: Split | None
    """The same images in int8."""
    alike: tuple[int, int] | None
    """Where the features of all images are nearly the same: the smallest and largest pixel value of some images."""
    source: Extraction | GivenFeatures
    """How they were computed, or where the user's own come from."""

    @property
    def extraction(self) -> Extraction:
        """How they were computed; there is none of features that the user brought."""
        assert isinstance(self.source, Extraction)
        return self.source

    @property
    def given(self) -> GivenFeatures | None:
        """Where they come from, if the user brought them."""
        return self.source if isinstance(self.source, GivenFeatures) else None

    @property
    def images(self) -> IndexedImages:
        """The images, or the rows that the user brought."""
        return self.source.images

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.source.classes

    @property
    def threads(self) -> int:
        """Threads for all that follows."""
        if isinstance(self.source, GivenFeatures):
            return self.source.threads
        return self.source.plan.threads if self.source.workers is None else usable_cores()

    @property
    def skipped(self) -> dict[str, str]:
        """Images left out: name and reason."""
        return {} if isinstance(self.source, GivenFeatures) else self.source.skipped

    def groups(self, split: str) -> npt.NDArray[np.int32] | None:
        """Return the groups of the images of a split; None where there are none."""
        return self.images.in_split(split).group_N

    def transformed(self, transform: Transform) -> Features:
        """Return the same features with all that heads are fitted to and tested on transformed."""
        return replace(
            self,
            splits={name: split.transformed(transform) for name, split in self.splits.items()},
            exact=self.exact and self.exact.transformed(transform),
            coarse=self.coarse and self.coarse.transformed(transform),
        )

    def in_splits(self, *rows_S: npt.NDArray[np.intp]) -> Features:
        """Return the features of the same images in other splits, as a copy.

        Parameters
        ----------
        *rows_S : ndarray of indices
            Rows of the training, validation and test images, each at most once.
        """
        rows_N = np.concatenate(rows_S)
        split_N = np.repeat(np.arange(len(rows_S), dtype=np.uint8), [len(rows) for rows in rows_S])
        images, x_ND = replace(self.images.select(rows_N), split_N=split_N), self.x_ND[rows_N]
        source = replace(self.source, images=images)
        return replace(self, x_ND=x_ND, splits=_split(x_ND, images), exact=None, coarse=None, source=source)


def find_features(
    config: RunConfig,
    watch: Stopwatch,
    on_progress: Progress,
    check: Callable[[ImageSet], None] = lambda images: None,
    images: ImageSet | ReadImages | None = None,
    plan: ExtractionPlan | None = None,
) -> tuple[ImageSet, Features]:
    """Return the image set that `config` names and its features: the user's own, or computed by `extract`.

    Parameters
    ----------
    config : RunConfig
    watch : Stopwatch
        Gets the seconds of each phase.
    on_progress : Progress
    check : callable
        Called with the image set before any feature is computed.
    images : ImageSet or ReadImages, optional
        The image set, where the caller has found it, or read its files too.
    plan : ExtractionPlan, optional
        Of `config`, where the caller has resolved it.

    Raises
    ------
    UserError
        For what a user can mend.
    """
    if features_are_given(config):
        with watch("read"), reported(on_progress, "read"):
            rows, x_ND, given = read_given(config)
        check(rows)
        splits = _split(x_ND, given.images)
        return rows, Features(x_ND=x_ND, splits=splits, exact=None, coarse=None, alike=None, source=given)
    plan = plan or plan_extraction(config)
    images = images or find_images(config, watch, on_progress)
    found = images.image_set if isinstance(images, ReadImages) else images
    check(found)
    return found, extract(plan, images, watch, on_progress)


def extract(
    plan: ExtractionPlan,
    images: ImageSet | ReadImages,
    watch: Stopwatch,
    on_progress: Progress,
    rows: Rows = slice(None),
) -> Features:
    """Compute the features that the store lacks, as `fill` does, and gather all of them in memory or in a file.

    Parameters
    ----------
    plan : ExtractionPlan
    images : ImageSet or ReadImages
    watch : Stopwatch
        Gets the seconds of each phase.
    on_progress : Progress
    rows : mask, indices or slice
        The images that are wanted, as for `fill`.

    Returns
    -------
    Features

    Raises
    ------
    UserError
        As `fill` does.
    """
    found = fill(plan, images, watch, on_progress, rows)
    with watch("load"), reported(on_progress, "load"):
        make_rows = RowStorage(plan.store.root, on_disk=plan.from_disk)
        x_ND = without_subnormals(found.table.gather(found.images.ids_N32, make_rows), in_place=True)
        return Features(
            x_ND=x_ND,
            splits=_split(x_ND, found.images),
            exact=_gather(*found.exact) if found.exact else None,
            coarse=_gather(found.table, found.exact[1]) if found.exact else None,
            alike=_alike(x_ND, found),
            source=found,
        )


def _split(x_ND: npt.NDArray[np.float32], images: IndexedImages) -> dict[str, Split]:
    # Images come split after split, so that each split is a part of the array and no copy.
    ends = np.searchsorted(images.split_N, range(len(SPLITS) + 1))
    return {
        split: Split(x_ND[start:end], images.label_N[start:end].astype(np.int64))
        for split, start, end in zip(SPLITS, ends[:-1], ends[1:], strict=True)
    }


def _alike(x_ND: npt.NDArray[np.float32], found: Extraction) -> tuple[int, int] | None:
    """Compute what `Features.alike` says from some of the images."""
    some_MD = x_ND[:: max(1, len(x_ND) // ALIKE_ROWS)]
    if np.abs(some_MD - some_MD[0]).max() > ALIKE * np.abs(some_MD).max():
        return None
    low, high = 255, 0
    for image in found.images[:ALIKE_IMAGES]:
        with contextlib.suppress(BadImage):  # changed since it was read
            x_HW3 = image.pixels(found.size)
            low, high = min(low, int(x_HW3.min())), max(high, int(x_HW3.max()))
    log.warning(
        "the features of all images are nearly the same (pixels are %d to %d of 255): no method can tell the classes "
        "apart; are the images black, of one colour, or one and the same?",
        low,
        high,
    )
    return low, high


def _gather(table: FeatureTable, images: IndexedImages) -> Split:
    return Split(table.gather(images.ids_N32), images.label_N.astype(np.int64))
