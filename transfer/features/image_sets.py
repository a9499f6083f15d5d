"""The image set that a configuration names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from transfer.cache import locks
from transfer.cache.store import Store
from transfer.config import BUILT_IN, REPEAT_GROUPS, RunConfig
from transfer.data import dataset, label_tables
from transfer.data.dataset import ImageSet
from transfer.data.feature_files import holds_features
from transfer.data.image_tables import is_table
from transfer.data.user_paths import check_store
from transfer.system.errors import UserError
from transfer.system.progress import Progress
from transfer.system.remote import path_of
from transfer.system.timer import Stopwatch


def features_are_given(config: RunConfig) -> bool:
    """Return whether `config` names features and no images."""
    return config.data not in SOURCES and holds_features(path_of(config.data), config.columns)


def find_images(config: RunConfig, watch: Stopwatch, on_progress: Progress) -> ImageSet:
    """Return the image set that `config` names: one of `SOURCES`, or that of a table or a folder."""
    path = path_of(config.data)
    check_store(config.data, config.store)
    if features_are_given(config):
        raise UserError(
            f"{path} holds features, and images are wanted; give a folder or a table of image files"
        )
    if config.data not in SOURCES and is_table(path):
        found = label_tables.find(
            path,
            columns=config.columns,
            seed=config.seed,
            groups=config.groups,
            on_bad_image=config.on_bad_image,
        )
    elif config.columns:
        raise UserError(f"`columns` names columns of a table, and {path} is none; leave it out")
    elif config.data in SOURCES:
        found = SOURCES[config.data](config, watch, on_progress)
    else:
        found = dataset.find(path, seed=config.seed, groups=config.groups)
    check_repeats(found, config)
    return found


def check_repeats(found: ImageSet, config: RunConfig) -> None:
    """Raise `UserError` where groups are to be left out and there are none."""
    if config.repeats == REPEAT_GROUPS and not found.groups:
        raise UserError(
            f"`repeats='groups'` needs groups, and {path_of(config.data)} has none; give `groups`, a column or a "
            "regular expression on file names"
        )


def _lagoon(config: RunConfig, watch: Stopwatch, on_progress: Progress) -> ImageSet:
    """Return the built-in image set; it is drawn into the store the first time."""
    from transfer.data import lagoon  # what draws is not needed for other images

    with watch("draw"):
        folder = Store(config.store).folder(BUILT_IN)
        lock = locks.hold_new(folder)
        locks.mark(folder)
        root = lagoon.make(
            folder, on_progress=lambda done, total: on_progress("draw", done, total, "", "images")
        )
    return replace(dataset.find(root, groups=config.groups), name=BUILT_IN, lock=lock)


SOURCES: dict[str, Callable[[RunConfig, Stopwatch, Progress], ImageSet]] = {BUILT_IN: _lagoon}
