"""What the gate's benchmarks work on: drawn once, so that both revisions are given the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from transfer import backbone, lagoon

CLASSES = ("Mototopo", "VaporettoACTV")
PHOTOGRAPHS = 20
NETWORK = "resnet18"


def make(folder: Path) -> None:
    """Photographs of 240x800 in folders by class, and weights that no one trained."""
    for i in range(PHOTOGRAPHS):
        name = CLASSES[i % len(CLASSES)]
        (folder / "photographs" / name).mkdir(parents=True, exist_ok=True)
        photograph = lagoon.draw(name, np.random.default_rng(i))
        photograph.save(folder / "photographs" / name / f"{i}.jpg", quality=90)
    save_file(backbone.random_state(NETWORK, seed=0, batches=[]), folder / "weights.safetensors")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
