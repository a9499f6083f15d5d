"""Built-in photographs in folders by class, for benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transfer.data import lagoon


def draw(folder: Path, name: str, i: int, seed: int | Sequence[int]) -> None:
    """Draw an image of class `name`, 240x800, as `folder/name/i.jpg`; the same for the same seed."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    lagoon.draw(name, np.random.default_rng(seed)).save(folder / name / f"{i}.jpg", quality=90)
