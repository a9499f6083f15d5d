"""Images a second of every way to extract, taken in turn so that a noisy machine harms all alike.

Each way has a process of its own, as it has in use.

`python -m bench.rates FOLDER` takes images of a folder of class folders. `forward` begins with pixels in memory;
`files` begins with files and ends, for ours, in the store. Figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from bench import ways
from bench.references import BATCH
from transfer import choice, engines, environment
from transfer.choice import AGREES, Choice
from transfer.frozen import Frozen
from transfer.metrics import cosines
from transfer.timing import now

BACKBONE = "resnet50"
AUTO, INT8 = "auto", "openvino int8"
WAYS = (ways.LAB, "reference: autocast loop", "reference: OpenVINO loop", AUTO, INT8)
# What choosing an engine is weighed for, and against.
MANY = 5000

Way = Callable[[], Any]


def main() -> None:
    """Measure, check that every way gives the same features, print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.rates", description=__doc__)
    parser.add_argument("folder", type=Path, help="class folders of images of 240x800")
    parser.add_argument("--images", type=int, default=64, help="in a round (64)")
    parser.add_argument("--rounds", type=int, default=5, help="of each way (5)")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = copied(args.folder, Path(folder) / "images", args.images)
        with ExitStack() as stack:
            running = {name: stack.enter_context(Running(name, images, Path(folder))) for name in WAYS}
            check({name: way.features for name, way in running.items()})
            seconds = in_turn(running, args.rounds)
            record = {
                "machine": environment.describe(),
                "backbone": BACKBONE,
                "size": ways.SIZE,
                "images": args.images,
                "auto": running[AUTO].notes,
                "seconds": seconds,
            }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(record)


def copied(folder: Path, to: Path, count: int) -> Path:
    """So many of the images, evenly over the folder, in one of their own."""
    paths = sorted(path for path in folder.glob("*/*") if path.suffix == ".jpg")
    for path in paths[:: max(1, len(paths) // count)][:count]:
        (to / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.parent.name)
    return to


def chosen(frozen: Frozen) -> tuple[Choice, float]:
    """What `auto` takes for many images, and the seconds that choosing took beyond making that engine ready."""
    options = engines.options("auto", "auto", "cpu")
    x_NHW3 = frozen.sample(frozen.images, BATCH)
    _ = frozen.network  # built before the clock runs: every way needs it
    start = now()
    picked = choice.choose(
        options, dict.fromkeys(options, MANY), frozen.engine, x_NHW3, (), least_cosine=AGREES
    )
    took_s = now() - start
    own = {(trial.engine, trial.precision): trial for trial in picked.trials}
    return picked, took_s - own[picked.plan.engine, picked.plan.precision].setup_s


def ready(name: str, frozen: Frozen, images: Path) -> tuple[Way, Way, dict[str, Any]]:
    """A way made ready: a call that goes from pixels to features, one that begins with files, and notes."""
    batches = ways.pixels(frozen)
    if name in ways.references(frozen):
        tensors = [ways.normalised(x_NHW3) for x_NHW3 in batches]
        one = ways.references(frozen)[name]()
        return lambda: [one(x_N3HW) for x_N3HW in tensors], lambda: ways.from_files(one, images), {}
    notes = {}
    if name == AUTO:
        picked, choosing_s = chosen(frozen)
        assert picked.engine is not None
        engine, notes = picked.engine, {"picked": str(picked), "choosing_s": choosing_s}
    else:
        engine = ways.engine(frozen, "openvino", "int8", "cpu")
    return lambda: ways.through(engine, batches), lambda: [ways.to_store(frozen, engine)], notes


def work(name: str, images: Path, root: Path, pipe: Connection) -> None:
    """The process of a way: features and notes first, then seconds whenever a level is asked for."""
    torch.set_num_threads(environment.usable_cores())
    own = root / name.replace(" ", "-").replace(":", "").replace("'", "")
    own.mkdir()
    with ways.opened(images, own, BACKBONE) as frozen:
        forward, files, notes = ready(name, frozen, images)
        files()  # a warm-up
        pipe.send((np.concatenate(forward()), notes))
        while level := pipe.recv():
            start = now()
            (forward if level == "forward" else files)()
            pipe.send(now() - start)


class Running:
    """A way in a process of its own."""

    def __init__(self, name: str, images: Path, root: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=work, args=(name, images, root, other), daemon=True)
        self._process.start()
        other.close()
        self.features, self.notes = self._pipe.recv()

    def seconds(self, level: str) -> float:
        """One round of a level."""
        self._pipe.send(level)
        took_s: float = self._pipe.recv()
        return took_s

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()


def check(features: dict[str, Any]) -> None:
    """Every way gives the features of the lab's extractor, as closely as its precision allows."""
    for name, x_ND in features.items():
        assert cosines(x_ND, features[ways.LAB]).min() > 0.99, name


def in_turn(running: dict[str, Running], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each way by level: one round of all, then the next."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for level in ("forward", "files"):
        seconds[level] = {name: [] for name in running}
        for _ in range(rounds):
            for name, way in running.items():
                seconds[level][name].append(way.seconds(level))
    return seconds


def show(record: dict[str, Any]) -> None:
    """Print the table and what choosing cost."""
    forward, files = (
        {name: record["images"] / statistics.median(raw) for name, raw in record["seconds"][level].items()}
        for level in ("forward", "files")
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column in ("way", "forward", "x lab", "files", "x lab", "files/forward"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for name in forward:
        table.add_row(
            name,
            f"{forward[name]:.2f}",
            f"{forward[name] / forward[ways.LAB]:.2f}",
            f"{files[name]:.2f}",
            f"{files[name] / files[ways.LAB]:.2f}",
            f"{files[name] / forward[name]:.3f}",
        )
    height, width = record["size"]
    share = record["auto"]["choosing_s"] / (MANY / files[AUTO])
    console = Console(highlight=False)
    console.print(f"\nImages a second, {record['backbone']} at {height}x{width}, batches of {BATCH}")
    console.print(table)
    console.print(f"auto: {record['auto']['picked']}")
    console.print(f"choosing cost {record['auto']['choosing_s']:.2f} s, {share:.1%} of {MANY:,} images")


if __name__ == "__main__":
    main()
