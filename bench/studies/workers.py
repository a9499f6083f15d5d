"""Extraction by workers of a Ray cluster on this machine, against this process: `python -m bench.studies.workers`.

Each way computes the same images into an empty store, in turn: this process on all cores, one worker on all cores, one
worker of one thread, two such workers. `extract` is from the first batch to the last row that is kept, `whole` also has
the start of the cluster and of the workers, files read and the engine built; `cpu` is the processor time of all
processes during `extract`, which other load on the machine changes least. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.config import BUILT_IN, BUNDLED_BACKBONE, LOCAL, RAY, RunConfig
from transfer.features.fill import fill
from transfer.features.image_sets import find_images
from transfer.features.plan import plan_extraction
from transfer.features.ray_pool import started
from transfer.system.hardware import has_bf16, usable_cores
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch, now
from transfer.system.user_folders import default_store

HERE, WORKER, ONE, TWO = "this process", "one worker", "one worker, one thread", "two workers, one thread"


def main() -> None:
    """Time the ways in turn and print their rates and ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.workers", description=__doc__)
    parser.add_argument("data", nargs="?", default=BUILT_IN, help="as of transfer extract (lagoon)")
    parser.add_argument("--backbone", default="resnet50", help="untrained, unless it is resnet50 (resnet50)")
    parser.add_argument("--images", type=int, default=300, help="of each way and round (300)")
    parser.add_argument("--rounds", type=int, default=3, help="of each way (3)")
    parser.add_argument("--only", nargs="*", choices=(HERE, WORKER, ONE, TWO), help="these ways alone")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    args = parser.parse_args()
    cores = {HERE: 0, WORKER: usable_cores(), ONE: 1, TWO: 2}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in args.only or cores}
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ways = {
            way: Way(call=partial(extract, args, Path(folder), way, cores[way], found[way])) for way in found
        }
        time_in_turn(ways, args.rounds, warm_up=False)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    show(found, args.images)


def extract(
    args: argparse.Namespace, folder: Path, way: str, cores: int, seconds: list[dict[str, float]]
) -> None:
    """Compute the images once, and note how long that took."""
    store = folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    config = RunConfig(
        data=args.data,
        backbone=args.backbone,
        weights="embedded" if args.backbone == BUNDLED_BACKBONE else "random",
        engine="openvino",
        precision="bf16" if has_bf16() else "fp32",
        device="cpu",
        store=store,
        on=RAY if cores else LOCAL,
        workers=(2 if way == TWO else 1) if cores else None,
    )
    # The built-in images are drawn once, into the user's store.
    images = find_images(replace(config, store=default_store()), Stopwatch(), silent)
    most = sum(map(len, images.splits.values()))
    watch, begun = Stopwatch(), now()
    cpu_s: list[float] = []

    def note(phase: str, done: int, total: int, *_: object) -> None:
        if phase == "extract" and done in (0, total):
            tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
            cpu_s.append(sum(sum(one.cpu_times()[:2]) for one in tree))

    with started(cores) if cores else contextlib.nullcontext():
        rows = np.arange(min(args.images, most))
        fill(plan_extraction(config), images, watch, note, rows)
        whole_s = now() - begun
    seconds.append({"extract": watch.last("extract"), "cpu": cpu_s[-1] - cpu_s[0], "whole": whole_s})


def show(found: dict[str, list[dict[str, float]]], images: int) -> None:
    """Print medians, and what they say of workers."""
    median = {
        way: {part: statistics.median(one[part] for one in rounds) for part in ("extract", "cpu", "whole")}
        for way, rounds in found.items()
    }
    for way, parts in median.items():
        seconds = ", ".join(f"{part} {parts[part]:6.1f} s" for part in parts)
        print(f"{way:24} {seconds}, {images} images")
    for name, first, second in (("one worker / this process", WORKER, HERE), ("one / two workers", ONE, TWO)):
        if first in median and second in median:
            ratios = ", ".join(
                f"{part} {median[first][part] / median[second][part]:.2f}" for part in median[first]
            )
            print(f"{name}: {ratios}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
