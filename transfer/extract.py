"""Images to features: what the store holds is read, the rest is computed and kept.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision

from transfer import backbone, decode, engines, weights
from transfer.config import RunConfig, UserError
from transfer.environment import processor
from transfer.ids import are_among, from_hex
from transfer.images import SPLITS, ImageSet
from transfer.reading import BadImages, Image, Images, Pixels, Progress, batches, read, workers
from transfer.store import SCHEMA_VERSION, Shelf, Store
from transfer.timing import Stopwatch, now
from transfer.weights import Weights

DEFAULT_SIZE = (224, 224)


@dataclass(frozen=True)
class Split:
    """Features of one split: `x_ND` float32 and the class indices `y_N` int64."""

    x_ND: npt.NDArray[np.float32]
    y_N: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Features:
    """All features of an image set, and how they came about."""

    splits: dict[str, Split]
    classes: tuple[str, ...]
    size: tuple[int, int]
    """Height and width in pixels that the network saw."""
    weights: Weights
    plan: engines.Plan
    key: str
    computed: int
    """Images that went through the network in this run; of copies of one image, one."""
    reused: int
    """The other images."""
    extract_s: float
    """Seconds of this run spent on the images it computed: network made ready, decoded, forward, kept."""
    cold_s: float | None
    """Seconds that all of these features took, untrained weights included, whenever they were computed; None
    if another machine or device had a part in it."""
    test_in_train: int
    """Test images whose bytes are a training image's too."""
    skipped: dict[str, str]
    """Images left out: name and reason."""
    damaged: int
    """Shards of the store whose bytes were not what was written; their rows were computed again."""


def extract(config: RunConfig, images: ImageSet, watch: Stopwatch, on_progress: Progress) -> Features:
    """The features of `images` for `config`.

    Raises `UserError` for an image that can't be read, unless `config.on_bad_image` is `skip`.
    """
    plan = check(config)
    watch.device = plan.device
    torch.set_num_threads(plan.threads)
    store = Store(config.store)
    bad = BadImages(images.root, config.on_bad_image)
    with workers(plan.threads) as pool:
        with watch("read"):
            found = read(images, pool, bad, on_progress)
            _check_splits(found, images)
        size = config.size or _common_size(found)
        with watch("weights"):
            chosen = weights.find(config, found, size, store, pool, bad)
        shelf = store.shelf(declare(config.backbone, chosen, size, plan))
        missing = found.select(~shelf.holds(found.ids_N32)).distinct()
        if missing:
            with watch("extract"):
                start = now(plan.device)
                network = backbone.build(config.backbone, weights.load(chosen.path))
                backbone.check_size(network, config.backbone, size)
                engine = engines.Eager(network, plan)
                ready = batches(missing, plan.batch, size, pool, bad)
                _compute(engine, ready, len(missing), shelf, start, on_progress)
                shelf.merge()
    with watch("load"):
        kept = found.select(shelf.holds(found.ids_N32))
        _check_splits(kept, images)
        splits = {split: _gather(shelf, kept.in_split(split)) for split in SPLITS}
    computed = int(shelf.holds(missing.ids_N32).sum())
    forward_s = shelf.seconds(kept.ids_N32, _made_on(plan))
    trained, tested = kept.in_split("train"), kept.in_split("test")
    return Features(
        splits=splits,
        classes=images.classes,
        size=size,
        weights=chosen,
        plan=plan,
        key=shelf.key,
        computed=computed,
        reused=len(kept) - computed,
        extract_s=watch.last("extract") if missing else 0.0,
        cold_s=None if forward_s is None or chosen.made_s is None else forward_s + chosen.made_s,
        test_in_train=int(are_among(tested.ids_N32, trained.ids_N32).sum()),
        skipped=bad.skipped,
        damaged=len(shelf.damaged),
    )


def check(config: RunConfig) -> engines.Plan:
    """The plan for `config`; `UserError` for all that can be known wrong before an image is read."""
    backbone.check_name(config.backbone)
    weights.check(config)
    return engines.plan(config.engine, config.precision, config.device)


def declare(name: str, chosen: Weights, size: tuple[int, int], plan: engines.Plan) -> dict[str, Any]:
    """What features hang on: the data that their key is made of. Nothing in it is code or a path."""
    return {
        "schema_version": SCHEMA_VERSION,
        "backbone": name,
        "layer": backbone.LAYER,
        "weights_sha256": chosen.sha256,
        "size": list(size),
        "mean": backbone.MEAN,
        "std": backbone.STD,
        **decode.DECLARED,
        "engine": plan.engine,
        "precision": plan.precision,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def _compute(
    engine: engines.Eager,
    ready: Iterable[tuple[list[Image], Pixels]],
    total: int,
    shelf: Shelf,
    start: float,
    on_progress: Progress,
) -> None:
    """Features of all `ready` batches onto the shelf; while one is written the next is computed.

    The first batch's seconds count from `start`, so that all of them make up the whole.
    """
    on_progress("extracting", 0, total)
    done = 0
    keeping: Future[None] | None = None
    with ThreadPoolExecutor(1) as keeper:
        for images, x_NHW3 in ready:
            x_ND = engine(x_NHW3)
            if not np.isfinite(x_ND).all():
                raise UserError(
                    f"the network's features of {images[0].path} or one after it are not finite in "
                    f"{engine.plan.precision}; try --precision fp32, or other weights"
                )
            seconds, start = now(engine.plan.device) - start, now(engine.plan.device)
            if keeping:
                keeping.result()
            ids_N32 = from_hex([image.id for image in images])
            keeping = keeper.submit(shelf.append, ids_N32, x_ND, seconds, _made_on(engine.plan))
            done += len(images)
            on_progress("extracting", done, total)
        if keeping:
            keeping.result()


def _made_on(plan: engines.Plan) -> str:
    """What seconds hang on; those of different machines are never added up."""
    chip = torch.cuda.get_device_name() if plan.device == "cuda" else processor()[0]
    return f"{chip}, {plan.threads} threads"


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
