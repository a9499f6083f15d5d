"""The image set that a configuration names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transfer.cache import locks
from transfer.cache.store import Store
from transfer.config import BUILT_IN, RunConfig
from transfer.data import dataset, lagoon
from transfer.data.dataset import ImageSet
from transfer.data.loader import Progress
from transfer.system.timer import Stopwatch


def find_images(config: RunConfig, watch: Stopwatch, on_progress: Progress) -> ImageSet:
    """Find the image set of a configuration; the built-in one is drawn into the store the first time."""
    if config.data != BUILT_IN:
        return dataset.find(Path(config.data), seed=config.seed, groups=config.groups)
    with watch("draw"):
        folder = Store(config.store).folder(BUILT_IN)
        lock = locks.hold_new(folder)
        locks.mark(folder)
        root = lagoon.make(folder, on_progress=lambda done, total: on_progress("drawing", done, total))
    return replace(dataset.find(root, groups=config.groups), name=BUILT_IN, lock=lock)
