"""A whole image set from an empty store, against the lab's extractor: `python -m bench.studies.whole FOLDER`.

Ours is the command `transfer extract` in its own process, with its start, choosing and converting included. The
lab's extractor is timed over the same files in this process, without start and imports.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torchvision import models

from bench.references import lab_extractor, loader
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from bench.ways import SIZE
from transfer.backbones import networks
from transfer.system import hardware

BACKBONE = "resnet50"


def main() -> None:
    """Time both in turn and print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.whole", description=__doc__)
    parser.add_argument("folder", type=Path, help="train/ valid/ test/ of class folders")
    parser.add_argument("--rounds", type=int, default=1, help="of each way, in turn (1)")
    parser.add_argument("options", nargs="*", help="of transfer extract, after --")
    args = parser.parse_args()
    torch.set_num_threads(hardware.usable_cores())
    splits = [split for split in args.folder.iterdir() if split.is_dir()]
    with tempfile.TemporaryDirectory() as work:
        weights = Path(work) / "weights.pth"
        x_N3HW = next(iter(loader(splits[0], SIZE)))[0]
        pixels = (x_N3HW * 60 + 120).clamp(0, 255).to(torch.uint8)
        torch.save(networks.random_state(BACKBONE, seed=0, batches=[pixels]), weights)
        stores = (Path(work) / f"store-{i}" for i in itertools.count())
        ways = {
            "ours": Way(call=lambda: ours(args.folder, weights, next(stores), args.options)),
            "lab": Way(call=lambda: lab(splits, weights)),
        }
        seconds = time_in_turn(ways, args.rounds, warm_up=False)
    images = sum(1 for split in splits for path in split.rglob("*") if path.is_file())
    ours_s, lab_s = (statistics.median(raw) for raw in seconds.values())
    print(f"transfer extract: {ours_s:.1f} s, {images / ours_s:.2f} images/s")
    print(f"lab's extractor: {lab_s:.1f} s, {images / lab_s:.2f} images/s")
    print(f"{lab_s / ours_s:.2f} times as fast")


def ours(folder: Path, weights: Path, store: Path, options: list[str]) -> None:
    """Run the whole command, with an empty store."""
    words = ["extract", folder, "--weights", weights, "--store", store, "--size", "240x800", *options]
    subprocess.run([sys.executable, "-m", "transfer", *map(str, words)], check=True)


def lab(splits: list[Path], weights: Path) -> None:
    """Run the lab's extractor over all splits."""
    network: nn.Module = models.get_model(BACKBONE, weights=None)
    network.load_state_dict(torch.load(weights), strict=False)
    body = lab_extractor.prepare(network)
    for split in splits:
        for x_N3HW, _ in loader(split, SIZE):
            lab_extractor.forward(body, x_N3HW)


if __name__ == "__main__":
    sys.exit(exit_status(main))
