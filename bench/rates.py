"""Images a second of every way to extract, taken in turn so that a noisy machine harms all alike.

`python -m bench.rates FOLDER` takes images of a folder of class folders. `forward` begins with pixels in memory;
`files` begins with files and ends, for ours, in the store. Figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
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
from transfer.config import UserError
from transfer.frozen import Frozen
from transfer.scores import cosines
from transfer.timing import now

BACKBONE = "resnet50"
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
    torch.set_num_threads(environment.usable_cores())
    with tempfile.TemporaryDirectory() as folder:
        images = copied(args.folder, Path(folder) / "images", args.images)
        with ways.opened(images, Path(folder), BACKBONE) as frozen:
            picked, choosing_s = chosen(frozen)
            forward, files = levels(frozen, images, picked)
            check(forward)
            seconds = {"forward": in_turn(forward, args.rounds), "files": in_turn(files, args.rounds)}
            record = {
                "machine": environment.describe(),
                "backbone": BACKBONE,
                "size": ways.SIZE,
                "images": len(frozen.images),
                "auto": {"picked": str(picked), "choosing_s": choosing_s},
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


def levels(frozen: Frozen, images: Path, picked: Choice) -> tuple[dict[str, Way], dict[str, Way]]:
    """Every way from pixels, and every way from files; ready to run."""
    batches = ways.pixels(frozen)
    tensors = [ways.normalised(x_NHW3) for x_NHW3 in batches]
    forward: dict[str, Way] = {}
    files: dict[str, Way] = {}
    for name, ready in ways.references(frozen).items():
        one = ready()
        forward[name] = lambda one=one: [one(x_N3HW) for x_N3HW in tensors]  # type: ignore[misc]
        files[name] = lambda one=one: ways.from_files(one, images)  # type: ignore[misc]
    ours = {f"auto: {picked.plan.engine} {picked.plan.precision}": picked.engine}
    try:
        ours["openvino int8"] = ways.engine(frozen, "openvino", "int8", "cpu")
    except UserError as error:
        print(error)
    for name, engine in ours.items():
        forward[name] = lambda engine=engine: ways.through(engine, batches)  # type: ignore[misc]
        files[name] = lambda engine=engine: ways.to_store(frozen, engine)  # type: ignore[misc]
    return forward, files


def check(forward: dict[str, Way]) -> None:
    """Every way gives the features of the lab's extractor, as closely as its precision allows."""
    expected = np.concatenate(forward[ways.LAB]())
    for name, way in forward.items():
        assert cosines(np.concatenate(way()), expected).min() > 0.99, name


def in_turn(level: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way: one round of all, then the next."""
    seconds: dict[str, list[float]] = {name: [] for name in level}
    for _ in range(rounds):
        for name, way in level.items():
            start = now()
            way()
            seconds[name].append(now() - start)
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
    auto = next(name for name in files if name.startswith("auto"))
    share = record["auto"]["choosing_s"] / (MANY / files[auto])
    console = Console(highlight=False)
    console.print(f"\nImages a second, {record['backbone']} at {height}x{width}, batches of {BATCH}")
    console.print(table)
    console.print(f"auto: {record['auto']['picked']}")
    console.print(f"choosing cost {record['auto']['choosing_s']:.2f} s, {share:.1%} of {MANY:,} images")


if __name__ == "__main__":
    main()
