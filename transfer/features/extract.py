"""Images to features: what the store holds is read, the rest is computed and kept.

N: images. D: features an image.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from transfer import engines
from transfer.backbones import networks, weights
from transfer.backbones.networks import Normalisation
from transfer.backbones.weights import Weights
from transfer.cache.feature_table import FeatureTable
from transfer.cache.store import MadeFile, Store
from transfer.config import RunConfig
from transfer.data.dataset import SPLITS, ImageSet
from transfer.data.decode import BadImage
from transfer.data.loader import BadImages, IndexedImages, Progress, read, workers
from transfer.data.sizes import common_size, default_size
from transfer.engines import EngineError, Plan, autotune
from transfer.engines.autotune import AGREES, SANE, Choice
from transfer.features.extractor import FeatureExtractor, NotFinite, made_on
from transfer.metrics import cosines
from transfer.system.content_ids import are_among, firsts
from transfer.system.errors import UserError
from transfer.system.timer import Stopwatch, now

# Test images whose features are computed in fp32 too where the others are int8: they show what int8 costs.
EXACT_IMAGES = 128

# Features that differ by less than this share of the largest are nearly the same; checked in so many rows,
# and reported with the range of the pixels of so many images.
ALIKE, ALIKE_ROWS, ALIKE_IMAGES = 1e-3, 1000, 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Features of one split: `x_ND` float32 and the class indices `y_N` int64."""

    x_ND: npt.NDArray[np.float32]
    y_N: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """All features of an image set in the store, and how they came there."""

    table: FeatureTable
    images: IndexedImages
    """Those whose features there are."""
    classes: tuple[str, ...]
    size: tuple[int, int]
    """Height and width in pixels that the network saw."""
    weights: Weights
    normalisation: Normalisation
    picked: Choice
    """The plan that was taken, and why."""
    decoder: str
    computed: int
    """Images that went through the network in this run; of copies of one image, one."""
    extract_s: float
    """Seconds of this run spent on the images it computed once the engine was ready: decoded, forward, kept."""
    cold_s: float | None
    """Seconds that all of these features took, choice of the engine and untrained weights included, whenever
    they were computed; None if another machine or device had a part in it."""
    calibrated: MadeFile | None
    """The network's int8 version, where the features are its."""
    exact: tuple[FeatureTable, IndexedImages] | None
    """Where the others are int8: some of the test images, and their features in fp32."""
    skipped: dict[str, str]
    """Images left out: name and reason."""

    @property
    def plan(self) -> Plan:
        """The engine, the precision, the device and what goes with them."""
        return self.picked.plan

    @property
    def reused(self) -> int:
        """The images that were in the store, copies of computed ones included."""
        return len(self.images) - self.computed


@dataclass(frozen=True, kw_only=True)
class Features:
    """The features of an image set, and how they came about."""

    x_ND: npt.NDArray[np.float32]
    """Of all images, in their order."""
    splits: dict[str, Split]
    """Parts of it."""
    exact: Split | None
    """Some of the test images in fp32, where the others are int8."""
    coarse: Split | None
    """The same images in int8."""
    alike: tuple[int, int] | None
    """Where the features of all images are nearly the same: the smallest and largest pixel value of some images."""
    extraction: Extraction


def extract(config: RunConfig, images: ImageSet, watch: Stopwatch, on_progress: Progress) -> Features:
    """The features of `images` for `config`, in memory. Raises `UserError` as `fill` does."""
    found = fill(config, images, watch, on_progress)
    parts = {split: found.images.in_split(split) for split in SPLITS}
    with watch("load"):
        x_ND = found.table.gather(found.images.ids_N32)
        # Images come split after split, so that each split is a part of the array and no copy.
        ends = np.searchsorted(found.images.split_N, range(len(SPLITS) + 1))
        return Features(
            x_ND=x_ND,
            splits={
                split: Split(x_ND[start:end], parts[split].label_N.astype(np.int64))
                for split, start, end in zip(SPLITS, ends[:-1], ends[1:], strict=True)
            },
            exact=_gather(*found.exact) if found.exact else None,
            coarse=_gather(found.table, found.exact[1]) if found.exact else None,
            alike=_alike(x_ND, found),
            extraction=found,
        )


def fill(config: RunConfig, images: ImageSet, watch: Stopwatch, on_progress: Progress) -> Extraction:
    """The features of `images` for `config`, in the store.

    Raises `UserError` for an image that can't be read, unless `config.on_bad_image` is `skip`.
    """
    options = check(config)
    watch.device = options[0].device
    torch.set_num_threads(options[0].threads)
    store = Store(config.store)
    bad = BadImages(images.root, config.on_bad_image)
    with workers(options[0].threads) as pool:
        with watch("read"):
            found = read(images, pool, bad, on_progress)
            _check_splits(found, images)
        size = config.size or _default_size(found)
        with watch("weights"):
            chosen = weights.find(config, found, size, store, pool, bad)
        frozen = FeatureExtractor(
            name=config.backbone,
            weights=chosen,
            size=size,
            images=found,
            store=store,
            pool=pool,
            bad=bad,
            normalisation=weights.normalisation(config),
            decoder=config.decoder,
        )
        calibrated_s: float | None = 0.0
        if options[0].precision == "int8":
            with watch("calibrate"):
                calibrated_s = frozen.calibrated_s
        least = SANE if config.precision in ("bf16", "fp16") else AGREES
        may_change = config.precision == "auto"
        picked, table, missing = _compute(frozen, options, least, may_change, watch, on_progress)
        kept = found.select(table.holds(found.ids_N32))
        _check_splits(kept, images)
        exact = None
        if picked.plan.precision == "int8":
            with watch("extract in fp32"):
                exact = _exact(frozen, picked.plan, table, kept.in_split("test"), on_progress)
    cold = [table.seconds(kept.ids_N32, made_on(picked.plan)), chosen.made_s, calibrated_s]
    return Extraction(
        table=table,
        images=kept,
        classes=images.classes,
        size=size,
        weights=chosen,
        picked=picked,
        normalisation=frozen.normalisation,
        decoder=config.decoder,
        computed=int(table.holds(missing.ids_N32).sum()),
        extract_s=watch.last("extract") if missing else 0.0,
        cold_s=None if None in cold else sum(filter(None, cold)),
        calibrated=frozen.calibrated if picked.plan.precision == "int8" else None,
        exact=exact,
        skipped=bad.skipped,
    )


def check(config: RunConfig) -> tuple[Plan, ...]:
    """The plans that `config` leaves open; `UserError` for all that can be known wrong before an image is read."""
    networks.check_name(config.backbone)
    weights.check(config)
    options = engines.options(config.engine, config.precision, config.device)
    if config.decoder == "nvjpeg" and options[0].device != "cuda":
        raise UserError("--decoder nvjpeg runs on a CUDA device; use --decoder pillow")
    return options


def _compute(
    frozen: FeatureExtractor,
    options: Sequence[Plan],
    least_cosine: float,
    may_change_precision: bool,
    watch: Stopwatch,
    on_progress: Progress,
) -> tuple[Choice, FeatureTable, IndexedImages]:
    """Compute what the cache lacks by one of the options.

    An engine that fails after all, and a precision that overflows unless the user named it, is passed over where
    others are left; what it computed is kept.

    Returns
    -------
    The option that was taken, the table of its features, and the images that had to be computed.
    """
    start, distinct = now(watch.device), frozen.images.distinct()
    with watch("open cache"):
        missing_N = {plan: ~are_among(distinct.ids_N32, frozen.listed(plan)) for plan in options}
    opened_s = watch.last("open cache")
    if all(rows_N.any() for rows_N in missing_N.values()):  # the network will run, whichever is picked
        with watch("prepare"):
            fitting = frozen.fit_batch(missing_N)
        missing_N = {fitting[plan]: rows_N for plan, rows_N in missing_N.items()}
    while True:
        picked = _pick(frozen, distinct, missing_N, least_cosine, watch)
        with watch("open cache"):
            table = frozen.table(picked.plan)
            missing = distinct.select(~table.holds(distinct.ids_N32))
        opened_s += watch.last("open cache")
        try:
            if missing:
                with watch("prepare"):
                    engine = picked.engine or frozen.engine(picked.plan)
                with watch("extract"):
                    # To open the cache is no part of what features cost that are not in it.
                    frozen.compute(engine, missing, table, start + opened_s, on_progress)
            return replace(picked, engine=None), table, missing
        except EngineError as error:
            failed: UserError = error
            faulty = [picked.plan]
            fault = f"{picked.plan.engine} {picked.plan.precision} fails here ({error.reason})"
        except NotFinite as error:
            if not may_change_precision or picked.plan.precision == "fp32":
                raise
            failed, faulty = error, [plan for plan in missing_N if plan.precision == picked.plan.precision]
            fault = f"features are not finite in {picked.plan.precision}"
        missing_N = {plan: rows_N for plan, rows_N in missing_N.items() if plan not in faulty}
        if not missing_N:
            raise failed
        log.warning("%s; continuing without it", fault)


def _pick(
    frozen: FeatureExtractor,
    distinct: IndexedImages,
    missing_N: Mapping[Plan, npt.NDArray[np.bool_]],
    least_cosine: float,
    watch: Stopwatch,
) -> Choice:
    """One of the plans, by which of the `distinct` images the cache lacks, by earlier trials, or by a trial now."""
    options = tuple(missing_N)
    left = {plan: int(rows_N.sum()) for plan, rows_N in missing_N.items()}
    declared = frozen.declare_trials(options[0])
    kept = autotune.known(frozen.store.trials(declared))
    settled = autotune.settled(options, left, len(distinct), kept, least_cosine=least_cosine)
    if settled:
        if settled.reason == autotune.CACHED:
            plan, held = settled.plan, len(distinct) - left[settled.plan]
            choice = f"{plan.engine} {plan.precision}: {settled.reason} of {held} of {len(distinct)} images"
            log.info("%s (--engine and --precision name others)", choice)
        return settled
    with watch("choose"):
        sample = frozen.sample(distinct, options[0].batch)
        picked = autotune.choose(options, left, frozen.engine, sample, kept, least_cosine=least_cosine)
        if picked.reason == "measured":
            frozen.store.keep_trials(declared, [asdict(trial) for trial in picked.trials])
    log.info("%s", picked)
    return picked


def _exact(
    frozen: FeatureExtractor, plan: Plan, table: FeatureTable, tested: IndexedImages, on_progress: Progress
) -> tuple[FeatureTable, IndexedImages]:
    """Some test images, the first by id, and a table that holds them in fp32."""
    sample = tested.select(firsts(tested.ids_N32)[:EXACT_IMAGES])
    plan = replace(plan, precision="fp32")
    exact = frozen.table(plan)
    missing = sample.select(~exact.holds(sample.ids_N32))
    if missing:
        start = now(plan.device)
        frozen.compute(frozen.engine(plan), missing, exact, start, on_progress, phase="extracting in fp32")
    sample = sample.select(exact.holds(sample.ids_N32))
    least = cosines(table.gather(sample.ids_N32), exact.gather(sample.ids_N32)).min()
    log.info("int8: cosine with fp32 at least %.4f on %d test images", least, len(sample))
    return exact, sample


def _default_size(images: IndexedImages) -> tuple[int, int]:
    size, own = default_size(images.size_N2), common_size(images.size_N2)
    if own not in (None, size):
        log.warning("the images are %dx%d: they are scaled to %dx%d (--size names another size)", *own, *size)
    return size


def _alike(x_ND: npt.NDArray[np.float32], found: Extraction) -> tuple[int, int] | None:
    """What `Features.alike` says, from some of the images."""
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


def _check_splits(images: IndexedImages, whole: ImageSet) -> None:
    """Raise `UserError` where leaving out bad images left a split empty or training with one class."""
    for code, split in enumerate(SPLITS):
        if code not in images.split_N:
            raise UserError(f"no image of the {split} split of {whole.root} can be read")
    untrained_N = ~np.isin(images.label_N, images.in_split("train").label_N)
    if untrained_N.any():
        image = images[int(np.argmax(untrained_N))]
        name = whole.classes[image.label]
        raise UserError(f"no training image of class {name!r} can be read, but {image.path} is of that class")
