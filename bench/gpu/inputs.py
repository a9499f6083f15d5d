"""What the parts work on: photographs, a network, features; made once, in the folder that all parts share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from bench import synthetic_images, ways
from bench.gpu.part import Part
from transfer.backbones import bundled, networks, weights
from transfer.config import BUNDLED_BACKBONE
from transfer.engines import Pixels
from transfer.features.extractor import FeatureExtractor
from transfer.system.hardware import usable_cores

PHOTOGRAPHS = {"cpu": 8, "cuda": 256}
# Training, validation and test photographs of each of four classes, for whole runs.
SPLITS = (3, 2, 3)


def photographs(part: Part) -> Path:
    """Draw photographs of 240x800 in two class folders, if that has not been done; return their folder."""
    root = part.work / "photographs"
    if not root.exists():
        drawn = root.with_name("drawn")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(usable_cores() if not part.small else 1, mp_context=context) as pool:
            count = PHOTOGRAPHS[part.device]
            list(pool.map(_draw, [drawn] * count, range(count)))
        drawn.rename(root)  # whole, or not there
    return root


def _draw(root: Path, i: int) -> None:
    synthetic_images.draw(root, ways.CLASSES[i % 2], i, seed=i)


def splits(part: Part) -> Path:
    """Draw photographs in train/ valid/ test/ of four classes, likewise."""
    root = part.work / "splits"
    if not root.exists():
        ways.draw_splits(root.with_name("splits drawn"), SPLITS).rename(root)
    return root


def pixels(part: Part, size: tuple[int, int], count: int) -> Pixels:
    """Return photographs at a size, the first eight again and again: pixels `(N, H, W, 3)`."""
    height, width = size
    paths = sorted(photographs(part).glob("*/*.jpg"))[:8]
    some = [np.asarray(Image.open(path).convert("RGB").resize((width, height))) for path in paths]
    return np.resize(np.stack(some), (count, height, width, 3))


def network() -> nn.Module:
    """Return the ResNet50 that comes with the package."""
    return networks.build(BUNDLED_BACKBONE, weights.load(bundled.FILE))


@contextmanager
def extractor(part: Part) -> Iterator[FeatureExtractor]:
    """Open that network for the photographs."""
    own = part.work / part.name
    own.mkdir(exist_ok=True)
    with ways.opened(photographs(part), own, BUNDLED_BACKBONE, bundled.FILE) as found:
        yield found
