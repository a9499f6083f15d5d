"""Images to features: what the store holds is read, the rest is computed and kept.

N: images. D: features an image.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from transfer import backbone, choice, engines, weights
from transfer.choice import AGREES, SANE, Choice
from transfer.config import RunConfig, UserError
from transfer.engines import Plan
from transfer.frozen import Frozen, made_on
from transfer.ids import are_among, firsts
from transfer.images import SPLITS, ImageSet
from transfer.metrics import cosines
from transfer.reading import BadImages, Images, Progress, read, workers
from transfer.shelf import Shelf
from transfer.store import MadeFile, Store
from transfer.timing import Stopwatch, now
from transfer.weights import Weights

DEFAULT_SIZE = (224, 224)
# Test images whose features are computed in fp32 too where the others are int8: what that cost is told from them.
EXACT_IMAGES = 128

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Features of one split: `x_ND` float32 and the class indices `y_N` int64."""

    x_ND: npt.NDArray[np.float32]
    y_N: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """All features of an image set in the store, and how they came there."""

    shelf: Shelf
    images: Images
    """Those whose features there are."""
    classes: tuple[str, ...]
    size: tuple[int, int]
    """Height and width in pixels that the network saw."""
    weights: Weights
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
    exact: tuple[Shelf, Images] | None
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

    splits: dict[str, Split]
    exact: Split | None
    """Some of the test images in fp32, where the others are int8."""
    coarse: Split | None
    """The same images in int8."""
    test_in_train: int
    """Test images whose bytes are a training image's too."""
    extraction: Extraction


def extract(config: RunConfig, images: ImageSet, watch: Stopwatch, on_progress: Progress) -> Features:
    """The features of `images` for `config`, in memory. Raises `UserError` as `fill` does."""
    found = fill(config, images, watch, on_progress)
    trained, tested = found.images.in_split("train"), found.images.in_split("test")
    with watch("load"):
        return Features(
            splits={split: _gather(found.shelf, found.images.in_split(split)) for split in SPLITS},
            exact=_gather(*found.exact) if found.exact else None,
            coarse=_gather(found.shelf, found.exact[1]) if found.exact else None,
            test_in_train=int(are_among(tested.ids_N32, trained.ids_N32).sum()),
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
        size = config.size or _common_size(found)
        with watch("weights"):
            chosen = weights.find(config, found, size, store, pool, bad)
        frozen = Frozen(
            name=config.backbone,
            weights=chosen,
            size=size,
            images=found,
            store=store,
            pool=pool,
            bad=bad,
            decoder=config.decoder,
        )
        calibrated_s: float | None = 0.0
        if options[0].precision == "int8":
            with watch("calibrate"):
                calibrated_s = frozen.calibrated_s
        least = SANE if config.precision in ("bf16", "fp16") else AGREES
        shelves = {plan: frozen.shelf(plan) for plan in options}
        picked, missing = _compute(frozen, shelves, least, watch, on_progress)
        shelf = shelves[picked.plan]
        kept = found.select(shelf.holds(found.ids_N32))
        _check_splits(kept, images)
        exact = None
        if picked.plan.precision == "int8":
            with watch("extract in fp32"):
                exact = _exact(frozen, picked.plan, shelf, kept.in_split("test"), on_progress)
    cold = [shelf.seconds(kept.ids_N32, made_on(picked.plan)), chosen.made_s, calibrated_s]
    return Extraction(
        shelf=shelf,
        images=kept,
        classes=images.classes,
        size=size,
        weights=chosen,
        picked=picked,
        decoder=config.decoder,
        computed=int(shelf.holds(missing.ids_N32).sum()),
        extract_s=watch.last("extract") if missing else 0.0,
        cold_s=None if None in cold else sum(filter(None, cold)),
        calibrated=frozen.calibrated if picked.plan.precision == "int8" else None,
        exact=exact,
        skipped=bad.skipped,
    )


def check(config: RunConfig) -> tuple[Plan, ...]:
    """The plans that `config` leaves open; `UserError` for all that can be known wrong before an image is read."""
    backbone.check_name(config.backbone)
    weights.check(config)
    options = engines.options(config.engine, config.precision, config.device)
    if config.decoder == "nvjpeg" and options[0].device != "cuda":
        raise UserError("--decoder nvjpeg runs on a CUDA device; use --decoder pillow")
    return options


def _compute(
    frozen: Frozen, shelves: dict[Plan, Shelf], least_cosine: float, watch: Stopwatch, on_progress: Progress
) -> tuple[Choice, Images]:
    """The way that was taken, and the images whose features it had to compute.

    A way that fails after all is passed over where others are left; what it computed stays on its own shelf.
    """
    start = now(watch.device)
    while True:
        picked = _pick(frozen, shelves, least_cosine, watch)
        shelf = shelves[picked.plan]
        missing = frozen.images.select(~shelf.holds(frozen.images.ids_N32)).distinct()
        try:
            if missing:
                with watch("prepare"):
                    engine = picked.engine or frozen.engine(picked.plan)
                with watch("extract"):
                    frozen.compute(engine, missing, shelf, start, on_progress)
            return replace(picked, engine=None), missing
        except UserError:
            raise
        except Exception as error:  # engines fail in every way
            told = f"{picked.plan.engine} {picked.plan.precision} fails here ({choice.first_line(error)})"
            if len(shelves) == 1:
                raise UserError(f"{told}; try --engine eager --precision fp32") from error
            log.warning("%s; going on without it", told)
            del shelves[picked.plan]


def _pick(frozen: Frozen, shelves: dict[Plan, Shelf], least_cosine: float, watch: Stopwatch) -> Choice:
    """One of the plans that have a shelf: by what the shelves hold, by earlier trials, or by a trial now."""
    options, distinct = tuple(shelves), frozen.images.distinct()
    missing = {plan: ~shelf.holds(distinct.ids_N32) for plan, shelf in shelves.items()}
    left = {plan: int(missing_N.sum()) for plan, missing_N in missing.items()}
    declared = frozen.declare_trials(options[0])
    kept = choice.known(frozen.store.trials(declared))
    settled = choice.settled(options, left, len(distinct), kept, least_cosine=least_cosine)
    if settled:
        return settled
    with watch("choose"):
        sample = frozen.sample(distinct.select(missing[options[0]]), options[0].batch)
        picked = choice.choose(options, left, frozen.engine, sample, kept, least_cosine=least_cosine)
        if picked.reason == "measured":
            frozen.store.keep_trials(declared, [asdict(trial) for trial in picked.trials])
    log.info("%s", picked)
    return picked


def _exact(
    frozen: Frozen, plan: Plan, shelf: Shelf, tested: Images, on_progress: Progress
) -> tuple[Shelf, Images]:
    """Some test images, the first by id, and a shelf that holds them in fp32."""
    sample = tested.select(firsts(tested.ids_N32)[:EXACT_IMAGES])
    plan = replace(plan, precision="fp32")
    exact = frozen.shelf(plan)
    missing = sample.select(~exact.holds(sample.ids_N32))
    if missing:
        start = now(plan.device)
        frozen.compute(frozen.engine(plan), missing, exact, start, on_progress, phase="extracting in fp32")
    sample = sample.select(exact.holds(sample.ids_N32))
    least = cosines(shelf.gather(sample.ids_N32), exact.gather(sample.ids_N32)).min()
    log.info("int8: cosine with fp32 at least %.4f on %d test images", least, len(sample))
    return exact, sample


def _common_size(images: Images) -> tuple[int, int]:
    return images[0].size if (images.size_N2 == images.size_N2[0]).all() else DEFAULT_SIZE


def _gather(shelf: Shelf, images: Images) -> Split:
    return Split(shelf.gather(images.ids_N32), images.label_N.astype(np.int64))


def _check_splits(images: Images, whole: ImageSet) -> None:
    """Raise `UserError` where leaving out bad images left a split empty or training with one class."""
    for code, split in enumerate(SPLITS):
        if code not in images.split_N:
            raise UserError(f"no image of the {split} split of {whole.root} can be read")
    untrained_N = ~np.isin(images.label_N, images.in_split("train").label_N)
    if untrained_N.any():
        image = images[int(np.argmax(untrained_N))]
        name = whole.classes[image.label]
        raise UserError(f"no training image of class {name!r} can be read, but {image.path} is of that class")
