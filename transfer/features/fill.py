"""Features into the store: what it holds is kept, the rest is computed.

N: images. D: features an image.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from transfer.backbones import weights
from transfer.backbones.weights import Weights
from transfer.cache.feature_table import FeatureTable
from transfer.cache.store import MadeFile
from transfer.data.bad_images import BadImages
from transfer.data.dataset import ImageSet
from transfer.data.loader import IndexedImages
from transfer.data.names import Rows
from transfer.data.random_splits import SPLITS
from transfer.engines import EngineError, Plan, autotune, trials
from transfer.engines.autotune import Choice
from transfer.features import maps, matmul_share
from transfer.features.extractor import FeatureExtractor
from transfer.features.forward import NotFinite
from transfer.features.placement import placed
from transfer.features.plan import ExtractionPlan
from transfer.features.reading import ReadImages, check_splits, default_input_size, read_images, take_share
from transfer.metrics import cosines
from transfer.system.content_ids import are_among
from transfer.system.errors import UserError
from transfer.system.progress import Progress, reported
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import Stopwatch, now

# Test images whose features are computed in fp32 too where the others are int8: they show what int8 costs. For each so
# many images one, within limits.
EXACT_FOR, LEAST_EXACT, MOST_EXACT = 32, 16, 128

log = logging.getLogger(__name__)


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
    flops_per_image: int | None = None
    """Floating-point operations of the network, where the seconds of this run were compared with the machine."""
    matmul_flops_per_s: float | None = None
    """The largest rate of matrix products measured then, on the same device in the same precision."""
    workers: int | None = None
    """Processes of a cluster that computed what was missing; None where this one did."""

    @property
    def plan(self) -> Plan:
        """The engine, the precision, the device and what goes with them."""
        return self.picked.plan

    @property
    def reused(self) -> int:
        """The images that were in the store, copies of computed ones included."""
        return len(self.images) - self.computed


def fill(
    plan: ExtractionPlan,
    images: ImageSet | ReadImages,
    watch: Stopwatch,
    on_progress: Progress,
    rows: Rows = slice(None),
) -> Extraction:
    """Compute the features that the store lacks.

    Parameters
    ----------
    plan : ExtractionPlan
    images : ImageSet or ReadImages
        Those that are read already are not read again; the seconds that it took count all the same.
    watch : Stopwatch
        Gets the seconds of each phase.
    on_progress : Progress
    rows : mask, indices or slice
        The images that are wanted, of those that can be read; the network is made and its engine chosen as for all.

    Returns
    -------
    Extraction

    Raises
    ------
    UserError
        For an image that can't be read, unless `plan.on_bad_image` is `skip`, and for weights, sizes and engines that
        do not work here.
    """
    with placed(plan, watch, on_progress) as (plan, here), StartedPool(here.threads) as pool:
        if isinstance(images, ReadImages):
            watch.add("read", images.seconds)
        else:
            with watch("read"):
                images = read_images(images, plan.on_bad_image, plan.known, pool, on_progress)
        whole = images.image_set
        bad = BadImages(whole.root, plan.on_bad_image, images.skipped)
        found = replace(images.indexed, resizing=plan.resizing)
        wanted = found.select(rows)
        size = plan.size or default_input_size(found, plan.weights)
        with watch("weights"), reported(on_progress, "weights", plan.weights.source):
            chosen = weights.find(plan.weights, found, size, plan.store, pool, bad)
        extractor = here.make(
            weights=chosen,
            size=size,
            images=found,
            store=plan.store,
            pool=pool,
            bad=bad,
            decoder=plan.decoder,
        )
        if plan.maps:  # before a pass over the images
            maps.check_limit(plan.maps, chosen, size, wanted)
        calibrated_s: float | None = 0.0
        if plan.options[0].precision == "int8":
            with watch("calibrate"), reported(on_progress, "calibrate", "int8"):
                calibrated_s = extractor.calibrated_s
        picked, table, missing = _compute(extractor, wanted, plan, watch, on_progress)
        kept = wanted.select(table.holds(wanted.ids_N32))
        check_splits(kept, whole, [SPLITS[code] for code in np.unique(wanted.split_N)])
        exact = None
        if picked.plan.precision == "int8" and kept.in_split("test"):
            with watch("extract in fp32"):
                exact = _exact(extractor, picked.plan, table, kept.in_split("test"), on_progress)
    computed = int(table.holds(missing.ids_N32).sum())
    flops = matmul = None
    if (
        computed >= matmul_share.LEAST_COMPARED and here.workers is None
    ):  # the rate of this machine is not that of several
        with watch("matrix products"):
            flops, matmul = matmul_share.compare(extractor, picked.plan, computed, watch.last("extract"))
    alone = (here.workers or 1) == 1
    cold = [table.seconds(kept.ids_N32, extractor.describe_machine(picked.plan)), chosen.made_s, calibrated_s]
    return Extraction(
        table=table,
        images=kept,
        classes=whole.classes,
        size=size,
        weights=chosen,
        picked=picked,
        decoder=plan.decoder,
        computed=computed,
        extract_s=watch.last("extract") if missing else 0.0,
        cold_s=None if None in cold or not alone else sum(filter(None, cold)),
        calibrated=extractor.calibrated if picked.plan.precision == "int8" else None,
        exact=exact,
        skipped=bad.skipped,
        flops_per_image=flops,
        matmul_flops_per_s=matmul,
        workers=here.workers,
    )


def _compute(
    extractor: FeatureExtractor,
    wanted: IndexedImages,
    plan: ExtractionPlan,
    watch: Stopwatch,
    on_progress: Progress,
) -> tuple[Choice, FeatureTable, IndexedImages]:
    """Compute what the cache lacks of the wanted images, by one of the options, picked as for all images.

    An engine that fails after all, and a precision that overflows unless the user named it, is passed over where
    others are left; what it computed is kept.

    Returns
    -------
    The option that was taken, the table of its features, and the images that had to be computed.
    """
    start, distinct = now(watch.device), extractor.images.distinct()
    with watch("open cache"):
        missing_N = {one: ~are_among(distinct.ids_N32, extractor.list_ids(one)) for one in plan.options}
    opened_s = watch.last("open cache")
    if all(rows_N.any() for rows_N in missing_N.values()):  # the network will run, whichever is picked
        with watch("prepare"), reported(on_progress, "prepare", "network"):
            fitting = extractor.fit_batch(missing_N)
        missing_N = {fitting[one]: rows_N for one, rows_N in missing_N.items()}
    while True:
        picked = _pick(extractor, distinct, missing_N, plan.least_cosine, watch, on_progress)
        with watch("open cache"), reported(on_progress, "open cache"):
            table = extractor.table(picked.plan)
            missing = wanted.distinct()
            missing = missing.select(~table.holds(missing.ids_N32))
        opened_s += watch.last("open cache")
        try:
            if missing:
                with watch("prepare"), reported(on_progress, "prepare", picked.plan.engine):
                    compute = extractor.prepare(picked.plan, picked.engine)
                with watch("extract"):
                    # To open the cache is no part of what features cost that are not in it.
                    compute(missing, table, start + opened_s, on_progress)
            return replace(picked, engine=None), table, missing
        except EngineError as error:
            failed: UserError = error
            faulty = [picked.plan]
            fault = f"{picked.plan.engine} {picked.plan.precision} fails here ({error.reason})"
        except NotFinite as error:
            if not plan.may_change_precision or picked.plan.precision == "fp32":
                raise
            failed, faulty = error, [one for one in missing_N if one.precision == picked.plan.precision]
            fault = f"features are not finite in {picked.plan.precision}"
        missing_N = {one: rows_N for one, rows_N in missing_N.items() if one not in faulty}
        if not missing_N:
            raise failed
        log.warning("%s; continuing without it", fault)


def _pick(
    extractor: FeatureExtractor,
    distinct: IndexedImages,
    missing_N: Mapping[Plan, npt.NDArray[np.bool_]],
    least_cosine: float,
    watch: Stopwatch,
    on_progress: Progress,
) -> Choice:
    """Choose a plan by which of the `distinct` images the cache lacks, by earlier trials, or by a trial now."""
    options = tuple(missing_N)
    left = {plan: int(rows_N.sum()) for plan, rows_N in missing_N.items()}
    declared = extractor.declare_trials(options[0])
    kept = trials.parse_trials(extractor.store.trials(declared))
    settled = autotune.choose_without_trials(options, left, len(distinct), kept, least_cosine=least_cosine)
    if settled:
        if settled.reason == autotune.CACHED:
            plan, held = settled.plan, len(distinct) - left[settled.plan]
            choice = f"{plan.engine} {plan.precision}: {settled.reason} of {held} of {len(distinct)} images"
            log.info("%s (`engine` and `precision` name others)", choice)
        return settled
    with watch("choose"), reported(on_progress, "choose"):
        sample = extractor.sample(distinct, autotune.count_compared(left))
        picked = extractor.choose(left, sample, kept, least_cosine, on_progress)
        if picked.reason == "measured":
            extractor.store.keep_trials(declared, [asdict(trial) for trial in picked.trials])
    log.info("%s", picked)
    return picked


def _exact(
    extractor: FeatureExtractor, plan: Plan, table: FeatureTable, tested: IndexedImages, on_progress: Progress
) -> tuple[FeatureTable, IndexedImages]:
    """Compute some test images, the first by id, in fp32 as well."""
    count = take_share(len(extractor.images), EXACT_FOR, LEAST_EXACT, MOST_EXACT)
    sample = tested.first_by_id(count)
    plan = replace(plan, precision="fp32")
    exact = extractor.table(plan)
    missing = sample.select(~exact.holds(sample.ids_N32))
    if missing:
        start = now(plan.device)
        extractor.prepare(plan)(missing, exact, start, on_progress, phase="extract in fp32")
    sample = sample.select(exact.holds(sample.ids_N32))
    least = cosines(table.gather(sample.ids_N32), exact.gather(sample.ids_N32)).min()
    log.info("int8: cosine with fp32 at least %.4f on %d test images", least, len(sample))
    return exact, sample
