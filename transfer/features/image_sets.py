"""The image set that a configuration names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from transfer.cache import locks
from transfer.cache.store import Store
from transfer.config import BUILT_IN, RunConfig
from transfer.data import dataset, lagoon
from transfer.data.dataset import ImageSet
from transfer.system.progress import Progress
from transfer.system.timer import Stopwatch


def find_images(config: RunConfig, watch: Stopwatch, on_progress: Progress) -> ImageSet:
    """Return the image set that `config` names: one of `SOURCES`, or that of a folder."""
    if config.data in SOURCES:
        return SOURCES[config.data](config, watch, on_progress)
    return dataset.find(Path(config.data), seed=config.seed, groups=config.groups)


def _lagoon(config: RunConfig, watch: Stopwatch, on_progress: Progress) -> ImageSet:
    """Return the built-in image set; it is drawn into the store the first time."""
    with watch("draw"):
        folder = Store(config.store).folder(BUILT_IN)
        lock = locks.hold_new(folder)
        locks.mark(folder)
        root = lagoon.make(
            folder, on_progress=lambda done, total: on_progress("draw", done, total, "", "images")
        )
    return replace(dataset.find(root, groups=config.groups), name=BUILT_IN, lock=lock)


SOURCES: dict[str, Callable[[RunConfig, Stopwatch, Progress], ImageSet]] = {BUILT_IN: _lagoon}
