"""A whole image set from an empty store, against the lab's extractor: `python -m bench.whole FOLDER`.

Ours is the command `transfer extract` in a process of its own: its start, choosing and converting included. The
lab's extractor is timed over the same files in this process, its start and its imports not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torchvision import models

from bench.references import lab_extractor, loader
from bench.ways import SIZE
from transfer import backbone, environment
from transfer.timing import now

BACKBONE = "resnet50"


def main() -> None:
    """Time both once and print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench.whole", description=__doc__)
    parser.add_argument("folder", type=Path, help="train/ valid/ test/ of class folders")
    parser.add_argument("options", nargs="*", help="of transfer extract, after --")
    args = parser.parse_args()
    torch.set_num_threads(environment.usable_cores())
    splits = [split for split in args.folder.iterdir() if split.is_dir()]
    with tempfile.TemporaryDirectory() as work:
        weights = Path(work) / "weights.pth"
        x_N3HW = next(iter(loader(splits[0], SIZE)))[0]
        pixels = (x_N3HW * 60 + 120).clamp(0, 255).to(torch.uint8)
        torch.save(backbone.random_state(BACKBONE, seed=0, batches=[pixels]), weights)
        ours_s = ours(args.folder, weights, Path(work) / "store", args.options)
        lab_s, images = lab(splits, weights)
    print(f"transfer extract: {ours_s:.1f} s, {images / ours_s:.2f} images/s")
    print(f"lab's extractor: {lab_s:.1f} s, {images / lab_s:.2f} images/s")
    print(f"{lab_s / ours_s:.2f} times as fast")


def ours(folder: Path, weights: Path, store: Path, options: list[str]) -> float:
    """Seconds of the whole command."""
    words = ["extract", folder, "--weights", weights, "--store", store, "--size", "240x800", *options]
    start = now()
    subprocess.run([sys.executable, "-m", "transfer", *map(str, words)], check=True)
    return now() - start


def lab(splits: list[Path], weights: Path) -> tuple[float, int]:
    """Seconds of the lab's extractor over all splits, and the number of images."""
    network: nn.Module = models.get_model(BACKBONE, weights=None)
    network.load_state_dict(torch.load(weights), strict=False)
    body = lab_extractor.prepare(network)
    start, images = now(), 0
    for split in splits:
        for x_N3HW, _ in loader(split, SIZE):
            images += len(lab_extractor.forward(body, x_N3HW))
    return now() - start, images


if __name__ == "__main__":
    main()
