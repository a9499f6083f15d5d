"""Memory that an extraction takes for each image: `python -m bench.studies.memory`."""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from bench.reporting.status import exit_status
from transfer.cache.feature_table import SHARD_ROWS

BACKBONE, SIDE, CLASSES = "squeezenet1_1", 32, 10
# Until its first shards are merged an extraction holds fewer rows than later on; both sizes lie beyond that.
SIZES = (2 * SHARD_ROWS, 8 * SHARD_ROWS)
# The process prints its own peak before it exits: torch needs 100 MB more to shut down, which would hide the rest.
CHILD = """
import resource, sys
from transfer.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


def main() -> None:
    """Print the peaks of two extractions, of few images and of many, and the memory of an additional image."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.memory", description=__doc__)
    parser.add_argument("few", type=int, nargs="?", default=SIZES[0], help="images of the small set")
    parser.add_argument("many", type=int, nargs="?", default=SIZES[1], help="images of the large set")
    parser.add_argument("--engine", default="eager", help="eager, openvino or compile (eager)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        weights = root / "weights.safetensors"
        # A child begins with what this process has in memory, and its peak counts that; torch stays out of it.
        maker = multiprocessing.get_context("spawn").Process(target=make_weights, args=(weights,))
        maker.start()
        maker.join()
        peaks = {}
        for count in (args.few, args.many):
            make_images(root / str(count), count)
            peaks[count] = peak_bytes(root / str(count), weights, root / f"store{count}", args.engine)
            print(f"{count:>9,} images: {peaks[count] / 2**20:6.0f} MiB at most", flush=True)
    slope = (peaks[args.many] - peaks[args.few]) / (args.many - args.few)
    million = peaks[args.many] + slope * (1_000_000 - args.many)
    print(f"{slope:,.0f} bytes an image; {million / 2**20:,.0f} MiB for a million by that slope")


def make_weights(path: Path) -> None:
    """Write untrained weights, the same for every set of images."""
    from safetensors.torch import save_file

    from transfer.backbones import networks

    save_file(networks.random_state(BACKBONE, seed=0, batches=()), path)


def make_images(root: Path, count: int) -> None:
    """Write `count` small JPEGs of noise, all different, in class folders."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
    for i in range(count):
        noise = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(noise).save(root / f"class{i % CLASSES}" / f"{i:07}.jpg")


def peak_bytes(images: Path, weights: Path, store: Path, engine: str) -> int:
    """Return the largest resident memory of a process that runs `transfer extract` on `images`."""
    options = {
        "--backbone": BACKBONE,
        "--weights": weights,
        "--size": f"{SIDE}x{SIDE}",
        "--device": "cpu",
        "--engine": engine,
        "--precision": "fp32",
        "--store": store,
    }
    words = ["extract", images, *(word for option in options.items() for word in option), "--quiet"]
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, words)], stdout=subprocess.PIPE, check=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(exit_status(main))
