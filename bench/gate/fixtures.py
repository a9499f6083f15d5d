"""Inputs of the gate's benchmarks: drawn once, so that both revisions are given the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from bench import synthetic_images
from transfer.backbones import networks

CLASSES = ("Mototopo", "VaporettoACTV")
PHOTOGRAPHS = 20
NETWORK = "resnet18"


def make(folder: Path) -> None:
    """Write photographs of 240x800 in folders by class, and untrained weights."""
    for i in range(PHOTOGRAPHS):
        synthetic_images.draw(folder / "photographs", CLASSES[i % len(CLASSES)], i, seed=i)
    save_file(networks.random_state(NETWORK, seed=0, batches=[]), folder / "weights.safetensors")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
