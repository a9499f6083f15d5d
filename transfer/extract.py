"""Images to features: what the store holds is read, the rest is computed and kept.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision

from transfer import backbone, decode, engines, weights
from transfer.config import RunConfig, UserError
from transfer.images import SPLITS, ImageSet
from transfer.reading import BadImages, Image, Pixels, Progress, batches, read, workers
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
    """Images that went through the network in this run; copies of one image count once."""
    reused: int
    extract_s: float
    """Seconds of this run spent on the images it computed: network made ready, decoded, forward, kept."""
    cold_s: float
    """Seconds that computing all of these features took, in this run or in earlier ones."""
    skipped: dict[str, str]
    """Images left out: name and reason."""
    damaged: int
    """Shards of the store whose bytes were not what was written; their rows were computed again."""


def extract(config: RunConfig, images: ImageSet, watch: Stopwatch, on_progress: Progress) -> Features:
    """The features of `images` for `config`.

    Raises `UserError` for an image that can't be read, unless `config.on_bad_image` is `skip`.
    """
    backbone.check_name(config.backbone)
    plan = engines.plan(config.engine, config.precision, config.device)
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
        missing = list({image.id: image for image in found if image.id not in shelf}.values())
        start = now(plan.device)
        if missing:
            with watch("extract"):
                network = backbone.build(config.backbone, weights.load(chosen.path))
                backbone.check_size(network, config.backbone, size)
                engine = engines.Eager(network, plan)
                ready = batches(missing, plan.batch, size, pool, bad)
                _compute(engine, ready, len(missing), shelf, on_progress)
                shelf.merge()
        extract_s = now(plan.device) - start
    with watch("load"):
        kept = [image for image in found if image.id in shelf]
        _check_splits(kept, images)
        splits = {
            split: _gather(shelf, [image for image in kept if image.split == split]) for split in SPLITS
        }
    computed = sum(image.id in shelf for image in missing)
    return Features(
        splits=splits,
        classes=images.classes,
        size=size,
        weights=chosen,
        plan=plan,
        key=shelf.key,
        computed=computed,
        reused=len(kept) - computed,
        extract_s=extract_s,
        cold_s=shelf.seconds([image.id for image in kept]),
        skipped=bad.skipped,
        damaged=len(shelf.damaged),
    )


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
    on_progress: Progress,
) -> None:
    """Features of all `ready` batches onto the shelf; while one is written the next is computed."""
    on_progress("extracting", 0, total)
    done = 0
    keeping: Future[None] | None = None
    with ThreadPoolExecutor(1) as keeper:
        start = now(engine.plan.device)
        for images, x_NHW3 in ready:
            x_ND = engine(x_NHW3)
            seconds, start = now(engine.plan.device) - start, now(engine.plan.device)
            if keeping:
                keeping.result()
            keeping = keeper.submit(shelf.append, [image.id for image in images], x_ND, seconds)
            done += len(images)
            on_progress("extracting", done, total)
        if keeping:
            keeping.result()


def _common_size(images: Sequence[Image]) -> tuple[int, int]:
    sizes = {image.size for image in images}
    return sizes.pop() if len(sizes) == 1 else DEFAULT_SIZE


def _gather(shelf: Shelf, images: Sequence[Image]) -> Split:
    x_ND = shelf.gather([image.id for image in images])
    return Split(x_ND, np.array([image.label for image in images], np.int64))


def _check_splits(images: Sequence[Image], whole: ImageSet) -> None:
    """Raise `UserError` where leaving out bad images left a split empty or training with one class."""
    for split in SPLITS:
        if not any(image.split == split for image in images):
            raise UserError(f"no image of the {split} split of {whole.root} can be read")
    trained = {image.label for image in images if image.split == "train"}
    for image in images:
        if image.label not in trained:
            name = whole.classes[image.label]
            raise UserError(
                f"no training image of class {name!r} can be read, but {image.path} is of that class"
            )
