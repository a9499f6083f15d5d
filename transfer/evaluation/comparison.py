"""Methods compared with each other: pairs, the ladder, and repeats on other splits.

N: images.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from transfer.config import REPEAT_GROUPS, RunConfig
from transfer.data.copies import copy_codes, join_groups
from transfer.data.dataset import ImageSet
from transfer.data.loader import IndexedImages
from transfer.data.splits import SplitIndices, draw_repeats, leave_group_out, split_shares
from transfer.evaluation import ladder, repeats, statistics
from transfer.evaluation.fitting import FittedSearch
from transfer.evaluation.network_methods import NetworkMethods
from transfer.features.extract import Features
from transfer.heads.registry import METHODS
from transfer.heads.solutions import ranking
from transfer.system.errors import UserError
from transfer.system.progress import Progress
from transfer.system.row_storage import is_mapped
from transfer.system.timer import Stopwatch

log = logging.getLogger(__name__)


def compare_methods(
    methods: list[dict[str, Any]],
    fitted: dict[str, FittedSearch],
    config: RunConfig,
    image_set: ImageSet,
    features: Features,
    trained: NetworkMethods,
    watch: Stopwatch,
    on_progress: Progress,
) -> dict[str, Any]:
    """Compare fitted methods: who did best on the *validation* split, every pair, the ladder, the repeats.

    Parameters
    ----------
    methods : list of dict
        Entries of the result.
    fitted : dict of str to FittedSearch
        By method.
    config : RunConfig
    image_set : ImageSet
    features : Features
    trained : NetworkMethods
        Those of `fitted` that train with the network.
    watch : Stopwatch
        Phases `compare` and `repeat` get their seconds.
    on_progress : Progress
        Called in the phases `compare`, `ladder` and `repeat`.

    Returns
    -------
    dict
        `comparison` of the result.

    Raises
    ------
    UserError
        Where the repeats that were asked for can't be drawn.
    """
    test, n_classes = features.splits["test"], len(features.classes)
    groups_N = features.groups("test")
    ranked = [methods[i] for i in ranking([method["valid"] for method in methods], config.select)]
    best = ranked[0]["name"]
    kinds: dict[str, str] = {}
    for method in ranked:
        kinds.setdefault(method["kind"], method["name"])
    pairs: list[dict[str, Any]] = []
    both = list(itertools.combinations(fitted, 2))
    with watch("compare"):
        for a, b in both:
            on_progress("compare", len(pairs), len(both), f"{a} and {b}")
            compared = statistics.compare_pair(
                test.y_N,
                fitted[a].predicted_N,
                fitted[b].predicted_N,
                n_classes,
                groups_N=groups_N,
                seed=config.seed,
            )
            pairs.append({"a": a, "b": b, **compared})
        on_progress("compare", len(both), len(both))
    statistics.adjust_pairs(pairs)
    climbed = []
    if ladder.FIRST in fitted:
        climbed = ladder.climb(config, best, features.splits, fitted, n_classes, watch, groups_N, on_progress)
    repeated, why = None, None
    try:
        repeated = _repeat(config, fitted, image_set, features, trained, watch, on_progress)
    except repeats.NotRepeated as error:
        why = str(error)
        log.warning("nothing is repeated on other splits: %s", why)
    return {
        "select": config.select,
        "best": best,
        "best_of_kind": kinds,
        "pairs": pairs,
        "ladder": climbed,
        "repeats": repeated,
        "not_repeated": why,
    }


def _repeat(
    config: RunConfig,
    fitted: dict[str, FittedSearch],
    image_set: ImageSet,
    features: Features,
    trained: NetworkMethods,
    watch: Stopwatch,
    on_progress: Progress,
) -> dict[str, Any] | None:
    """`comparison.repeats` of the result; None where nothing is to be repeated; raises `NotRepeated`."""
    count = config.repeats
    if count is None:
        count = repeats.default_count(
            test_is_drawn="test" in image_set.drawn, n_classes=len(image_set.classes)
        )
    unfitted = {name: METHODS[name].build(config) for name in fitted if name in METHODS}
    # They take minutes or hours, and are trained again only where someone asks for it.
    others = [name for name in fitted if name not in unfitted and config.repeats is not None]
    if count == 0 or not (unfitted or others):
        return None
    if is_mapped(features.x_ND):
        raise repeats.NotRepeated("their rows are held in memory, and features are on disk")
    scheme, names, splits = _draw(config, count, image_set, features.images)
    if others:
        trained.announce_repeats([len(train) for train, _, _ in splits])
    n_classes = len(image_set.classes)
    with watch("repeat"):  # not recorded where the block raises
        try:
            return repeats.repeat(
                unfitted,
                features.x_ND,
                features.images.label_N.astype(np.int64),
                splits,
                n_classes,
                scheme=scheme,
                names=names,
                transform=config.transform,
                others={name: partial(trained.score_splits, name, splits, n_classes) for name in others},
                fit_s={**{name: fitted[name].fit_s for name in unfitted}, **trained.seconds},
                on_progress=on_progress,
            )
        except repeats.NotRepeated as error:
            failed = error
    raise failed


def _draw(
    config: RunConfig, count: int | str, image_set: ImageSet, images: IndexedImages
) -> tuple[str, list[str], Sequence[SplitIndices]]:
    """Return the scheme of the other splits, the names of groups that are left out, and the splits."""
    labels_N, groups_N = images.label_N.astype(np.int64), images.group_N
    copies_N = copy_codes(images.ids_N32)
    joined_N = None if groups_N is None else join_groups(groups_N, copies_N)
    shares = split_shares(images.split_N)
    if isinstance(count, int):
        splits = draw_repeats(labels_N, count, shares, seed=config.seed, groups_N=joined_N, copies_N=copies_N)
        if len(splits) < count:
            log.warning("`repeats`: these groups can be split in %d ways only", len(splits))
        return repeats.STRATIFIED, [], splits
    assert groups_N is not None, f"checked with the configuration: {REPEAT_GROUPS}"
    assert joined_N is not None
    names = [
        " + ".join(image_set.groups[group] for group in np.unique(groups_N[joined_N == first]))
        for first in np.unique(joined_N)
    ]
    if len(names) < 2:
        raise UserError(
            "`repeats='groups'` has one group only, since copies of images join all groups; take the copies out"
        )
    valid_share = shares["valid"] / (1 - shares["test"])
    splits = leave_group_out(labels_N, joined_N, valid_share, seed=config.seed, copies_N=copies_N)
    return repeats.GROUPS, names, splits
