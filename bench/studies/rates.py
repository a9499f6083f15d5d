"""Images a second of every way to extract, taken in turn so that other load affects all alike.

Each way has its own process, as in practice.

`python -m bench.studies.rates FOLDER` takes images of a folder of class folders. `forward` begins with pixels in
memory; `files` begins with files and ends, for ours, in the store. Figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from bench import ways
from bench.busy import OtherCores
from bench.processes import Prepared, Worker
from bench.references import BATCH
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.engines import autotune
from transfer.engines.autotune import AGREES, Choice
from transfer.engines.options import list_options
from transfer.features.extractor import FeatureExtractor
from transfer.metrics import cosines
from transfer.report.rendering import Table, draw
from transfer.system import hardware
from transfer.system.timer import now

BACKBONE = "resnet50"
AUTO, INT8 = "auto", "openvino int8"
WAYS = (ways.LAB, ways.PYTORCH, ways.OPENVINO, AUTO, INT8)
LEVELS = ("forward", "files")
# What choosing an engine is weighed for, and against.
MANY = 5000


def main() -> None:
    """Measure, check that every way gives the same features, print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.rates", description=__doc__)
    parser.add_argument("folder", type=Path, help="class folders of images of 240x800")
    parser.add_argument("--images", type=int, default=64, help="in a round (64)")
    parser.add_argument("--rounds", type=int, default=5, help="of each way (5)")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = copied(args.folder, Path(folder) / "images", args.images)
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(Worker(prepare, name, images, Path(folder))) for name in WAYS
            }
            facts = {name: worker.facts for name, worker in workers.items()}
            check(facts)
            others, seconds = OtherCores(), {}
            for level in LEVELS:
                calls = {name: Way(call=partial(worker.call, level)) for name, worker in workers.items()}
                seconds[level] = time_in_turn(calls, args.rounds, warm_up=False)
            record = {
                "machine": hardware.describe(),
                "other_cores": others.mean(),
                "backbone": BACKBONE,
                "size": ways.SIZE,
                "images": args.images,
                "precisions": {name: fact["precision"] for name, fact in facts.items()},
                "auto": facts[AUTO]["auto"],
                "seconds": seconds,
            }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(record)


def copied(folder: Path, to: Path, count: int) -> Path:
    """Copy a number of the images, evenly over the folder, to another one."""
    paths = sorted(path for path in folder.glob("*/*") if path.suffix == ".jpg")
    for path in paths[:: max(1, len(paths) // count)][:count]:
        (to / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.parent.name)
    return to


def chosen(extractor: FeatureExtractor) -> tuple[Choice, float]:
    """Return the choice of `auto` for many images, and the seconds of choosing without preparing that engine."""
    options = list_options("auto", "auto", "cpu")
    x_NHW3 = extractor.sample(extractor.images, BATCH)
    _ = extractor.network  # built before the clock runs: every way needs it
    start = now()
    picked = autotune.choose(
        options, dict.fromkeys(options, MANY), extractor.engine, x_NHW3, (), least_cosine=AGREES
    )
    took_s = now() - start
    own = {(trial.engine, trial.precision): trial for trial in picked.trials}
    return picked, took_s - own[picked.plan.engine, picked.plan.precision].setup_s


@contextmanager
def prepare(name: str, images: Path, root: Path) -> Iterator[Prepared]:
    """Make a way ready in its process: a call from pixels to features, one from files, and facts about them."""
    torch.set_num_threads(hardware.usable_cores())
    own = root / name.replace(" ", "-").replace("'", "")
    own.mkdir()
    with ways.opened(images, own, BACKBONE) as extractor:
        forward, files, facts = ready(name, extractor, images)
        files()  # a warm-up
        x_ND = np.concatenate(forward())
        yield (
            {"forward": lambda: _discard(forward), "files": lambda: _discard(files)},
            {**facts, "x_ND": x_ND},
        )


def ready(
    name: str, extractor: FeatureExtractor, images: Path
) -> tuple[Callable[[], Any], Callable[[], Any], dict[str, Any]]:
    """Return the two calls of a way, and its precision; for `auto` also the choice."""
    batches = ways.pixels(extractor)
    if name in ways.references(extractor):
        tensors = [ways.normalise_images(x_NHW3) for x_NHW3 in batches]
        one = ways.references(extractor)[name]()
        facts: dict[str, Any] = {"precision": ways.reference_precision(name, "cpu")}
        return lambda: [one(x_N3HW) for x_N3HW in tensors], lambda: ways.from_files(one, images), facts
    if name == AUTO:
        picked, choosing_s = chosen(extractor)
        assert picked.engine is not None
        engine = picked.engine
        facts = {
            "precision": picked.plan.precision,
            "auto": {"picked": str(picked), "choosing_s": choosing_s},
        }
    else:
        engine, facts = ways.engine(extractor, "openvino", "int8", "cpu"), {"precision": "int8"}
    return lambda: ways.compute_batches(engine, batches), lambda: ways.to_store(extractor, engine), facts


def check(facts: dict[str, dict[str, Any]]) -> None:
    """Check that every way gives the features of the lab's extractor, as closely as its precision allows."""
    for name, fact in facts.items():
        least = ways.least_cosine(fact["precision"])
        assert cosines(fact["x_ND"], facts[ways.LAB]["x_ND"]).min() > least, name


def _discard(call: Callable[[], Any]) -> None:
    """Drop the result of a call: sending features to another process is not part of what is timed."""
    call()


def show(record: dict[str, Any]) -> None:
    """Print the table and the cost of choosing."""
    forward, files = (
        {name: record["images"] / statistics.median(raw) for name, raw in record["seconds"][level].items()}
        for level in ("forward", "files")
    )
    rows = [
        [
            name,
            f"{forward[name]:.2f}",
            f"{forward[name] / forward[ways.LAB]:.2f}",
            f"{files[name]:.2f}",
            f"{files[name] / files[ways.LAB]:.2f}",
            f"{files[name] / forward[name]:.3f}",
        ]
        for name in forward
    ]
    height, width = record["size"]
    title = f"Images a second, {record['backbone']} at {height}x{width}, batches of {BATCH}"
    columns = ["way", " forward", " x lab", " files", " x lab", " files/forward"]
    share = record["auto"]["choosing_s"] / (MANY / files[AUTO])
    console = Console(highlight=False)
    draw(Table(title, columns, rows), console)
    console.print(f"auto: {record['auto']['picked']}")
    console.print(f"choosing cost {record['auto']['choosing_s']:.2f} s, {share:.1%} of {MANY:,} images")


if __name__ == "__main__":
    sys.exit(exit_status(main))
