"""Scores of methods against the number of labelled training images, from the same features.

N: training images. D: features an image. K: draws.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import LEAST_DRAWS, MOST_DRAWS, SCORE_NAMES, RunConfig
from transfer.data.dataset import ImageSet
from transfer.data.random_splits import SPLITS
from transfer.evaluation import extraction_summary
from transfer.evaluation.data_summary import fingerprint
from transfer.evaluation.extrapolation import extrapolate
from transfer.evaluation.fitting import LeftOut, check_in_memory
from transfer.evaluation.repeats import fit_transforms, score_splits
from transfer.features.extract import Features, find_features
from transfer.features.plan import ExtractionPlan
from transfer.heads.registry import METHODS
from transfer.heads.threads import limited_threads
from transfer.heads.transforms import FeatureTransform
from transfer.system import hardware
from transfer.system.errors import UserError, check_choice, check_number
from transfer.system.progress import Progress, silent
from transfer.system.timer import Stopwatch

Indices = npt.NDArray[np.intp]
SCHEMA_VERSION = 1
DEFAULT_METHODS, DEFAULT_DRAWS = ("fc", "svm"), 5
BACKBONE_KEYS = ("name", "weights", "weights_sha256", "input_size", "feature_dim")
ENGINE_KEYS = ("name", "precision", "device", "decoder")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """One size of the training set: at most so many images of each class; None is the whole training split."""

    per_class: int | None
    draws: list[Indices]
    """Rows of the training split that each draw takes, ascending; of the whole split one draw."""
    smaller_classes: int
    """Classes that have fewer images than `per_class`, and give all of them."""


def prepare(
    config: RunConfig,
    draws: int,
    watch: Stopwatch,
    on_progress: Progress,
    images: ImageSet | None = None,
    plan: ExtractionPlan | None = None,
) -> tuple[ImageSet, Features]:
    """Find the images of `config` and compute or load their features.

    Parameters
    ----------
    config : RunConfig
    draws : int
        As for `measure`; checked here, before any work begins.
    watch : Stopwatch
    on_progress : Progress
    images : ImageSet, optional
        The image set, where the caller has found it.
    plan : ExtractionPlan, optional
        Of `config`, where the caller has resolved it.

    Returns
    -------
    ImageSet, Features

    Raises
    ------
    UserError
        For what a user can mend.
    """
    for name in config.methods or DEFAULT_METHODS:
        check_choice("methods", name, METHODS)
    check_number("draws", draws, LEAST_DRAWS, MOST_DRAWS)
    return find_features(config, watch, on_progress, _check_train, images, plan)


def _check_train(image_set: ImageSet) -> None:
    if np.bincount(image_set.splits["train"].label_N).max() < 2:
        raise UserError("no class has two training images, so there is no curve; add images to train/")


def measure(
    config: RunConfig,
    draws: int,
    image_set: ImageSet,
    features: Features,
    watch: Stopwatch,
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Score every method on training sets of several sizes, and extend its scores to twice the training images.

    Parameters
    ----------
    config : RunConfig
    draws : int
        Training sets of each size.
    image_set : ImageSet
    features : Features
    watch : Stopwatch
        Phase `fit` gets the seconds of each size of each method.
    on_progress : Progress

    Returns
    -------
    dict
        As `curve.schema.json` describes it.

    Raises
    ------
    UserError
        If no method can be fitted to these images.
    """
    train = features.splits["train"]
    if config.transform:
        check_in_memory(train.x_ND)
        FeatureTransform(steps=config.transform).check(*train.x_ND.shape)
    names = config.methods or DEFAULT_METHODS
    n_classes = len(features.classes)
    points = draw_points(train.y_N, n_classes, draws, seed=config.seed)
    n_fits = sum(len(point.draws) for point in points)
    total = len(names) * n_fits
    methods, left_out = [], LeftOut(alone=len(names) == 1)
    with limited_threads(features.threads):
        for i, name in enumerate(names):
            measured, done = [], i * n_fits
            try:
                search = METHODS[name].build(config)
                for point in points:
                    on_progress("fit", done, total, f"{name}, {len(point.draws[0]):,} images")
                    measured.append(_score_point(search, config.transform, point, features, watch))
                    done += len(point.draws)
            except Exception as error:  # memory, a library: it costs this method alone
                left_out(name, error)
                continue
            methods.append(_describe_method(name, points, measured, config.seed))
    on_progress("fit", total, total)
    if not methods:
        raise UserError("no method can be fitted to these images; the lines above say why")
    return {
        **_describe_run(config, names, draws, image_set, features),
        "points": [
            {
                "per_class": point.per_class,
                "images": len(point.draws[0]),
                "smaller_classes": point.smaller_classes,
            }
            for point in points
        ],
        "methods": methods,
        "left_out": left_out.reasons,
        "seconds": {**watch.seconds, "total": watch.total()},
    }


def draw_points(y_N: npt.NDArray[np.int64], n_classes: int, draws: int, *, seed: int) -> list[Point]:
    """Draw training sets with 1, 2, 5, 10, 20, … images of each class, up to the whole training split.

    Within a draw a smaller set is part of every larger one. A class with fewer images gives all of them.

    Parameters
    ----------
    y_N : (N,) int64
        Class indices of the training split.
    n_classes : int
    draws : int
        Sets of each size but the last.
    seed : int

    Returns
    -------
    list of Point
        Ascending; the last is the whole training split.
    """
    of_class = [np.flatnonzero(y_N == c) for c in range(n_classes)]
    counts_C = np.array([len(rows) for rows in of_class])
    orders = [
        [np.random.default_rng([seed, k, c]).permutation(rows) for c, rows in enumerate(of_class)]
        for k in range(draws)
    ]
    points = [
        Point(
            size,
            [np.sort(np.concatenate([rows[:size] for rows in order])) for order in orders],
            int((counts_C < size).sum()),
        )
        for size in _sizes(int(counts_C.max()))
    ]
    return [*points, Point(None, [np.arange(len(y_N))], 0)]


def _sizes(most: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, … below `most`."""
    decades = range(len(str(most)))
    return [size for power in decades for size in (10**power, 2 * 10**power, 5 * 10**power) if size < most]


def _score_point(
    search: Any, transform: Sequence[str], point: Point, features: Features, watch: Stopwatch
) -> dict[str, Any]:
    """Fit a search to every draw of a point, and score each on the test split."""
    images = features.images
    rows_M, rows_T = (np.flatnonzero(images.split_N == SPLITS.index(split)) for split in ("valid", "test"))
    splits = [(rows_N, rows_M, rows_T) for rows_N in point.draws]  # training images come first
    with watch("fit"):
        x_ND, transforms = fit_transforms(transform, features.x_ND, splits)
        y_N, n_classes = images.label_N.astype(np.int64), len(features.classes)
        scored = score_splits(search, x_ND, y_N, splits, n_classes, transforms=transforms)
    return {**scored, "fit_s": watch.last("fit")}


def _describe_method(
    name: str, points: Sequence[Point], measured: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    images = [len(point.draws[0]) for point in points]
    return {
        "name": name,
        "kind": METHODS[name].kind,
        "summary": METHODS[name].summary,
        "points": measured,
        "extrapolation": {
            score: extrapolate(images, [point[score] for point in measured], seed=seed)
            for score in SCORE_NAMES
        },
    }


def _describe_run(
    config: RunConfig, names: Sequence[str], draws: int, image_set: ImageSet, features: Features
) -> dict[str, Any]:
    images, classes = features.images, features.classes
    source = extraction_summary.describe(features)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {
            "methods": list(names),
            "draws": draws,
            "select": config.select,
            "seed": config.seed,
            "lr": list(config.lr) if config.lr else None,
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "groups": config.groups,
            **({"transform": list(config.transform)} if config.transform else {}),
        },
        "data": {
            "name": image_set.name,
            "classes": list(classes),
            "fingerprint": fingerprint(images, classes),
            "splits": {
                split: np.bincount(part.y_N, minlength=len(classes)).tolist()
                for split, part in features.splits.items()
            },
            "grouped": images.group_N is not None,
            "skipped_count": len(features.skipped),
        },
        "backbone": {
            **{key: source["backbone"][key] for key in BACKBONE_KEYS},
            **{key: source["backbone"][key] for key in ("layers", "resize") if key in source["backbone"]},
            "features_key": source["features"]["key"],
        },
        "engine": {key: value for key, value in source["engine"].items() if key in ENGINE_KEYS},
        "environment": hardware.describe(),
    }
