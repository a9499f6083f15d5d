"""Images a second of every way to extract, taken in turn so that a noisy machine harms all alike.

`python -m bench.rates FOLDER` takes images of a folder of class folders. `forward` begins with pixels in memory;
`files` begins with files and ends, for ours, in the store. Figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn
from torchvision import models

from bench.references import BATCH, autocast_loop, lab_extractor, openvino_loop
from transfer import backbone, choice, engines, environment
from transfer.choice import AGREES, Choice, cosines
from transfer.engines import Engine, Plan
from transfer.frozen import Frozen
from transfer.images import find
from transfer.reading import BadImages, read, workers
from transfer.store import Store
from transfer.timing import now
from transfer.weights import Weights

BACKBONE, SIZE = "resnet50", (240, 800)
# What choosing an engine is weighed for, and against.
MANY = 5000


def main() -> None:
    """Measure, check that every way gives the same features, print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.rates", description=__doc__)
    parser.add_argument("folder", type=Path, help="class folders of images of 240x800")
    parser.add_argument("--images", type=int, default=64, help="in a round (64)")
    parser.add_argument("--rounds", type=int, default=5, help="of each way (5)")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    args = parser.parse_args()
    torch.set_num_threads(environment.usable_cores())
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder), args.folder, args.images) as (frozen, files),
    ):
        picked, choosing_s = chosen(frozen)
        ours = {f"transfer {picked.plan.engine} {picked.plan.precision} (auto)": picked.engine}
        ours |= {f"transfer {p.engine} {p.precision}": frozen.engine(p) for p in int8()}
        forward = {**references(frozen), **{way: one_forward(e) for way, e in ours.items() if e}}
        whole = {**reference_files(frozen, files), **{w: one_fill(frozen, e) for w, e in ours.items() if e}}
        check(forward, frozen)
        seconds = in_turn(forward, whole, frozen, args.rounds)
    record = {
        "machine": environment.describe(),
        "images": len(frozen.images),
        "picked": str(picked),
        "choosing_s": choosing_s,
        "seconds": seconds,
    }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(record)


@contextmanager
def opened(work: Path, folder: Path, count: int) -> Iterator[tuple[Frozen, Path]]:
    """An untrained network, and the images copied into a folder of their own."""
    paths = sorted(path for path in folder.glob("*/*") if path.suffix == ".jpg")
    for path in paths[:: max(1, len(paths) // count)][:count]:
        (work / "images" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, work / "images" / path.parent.name)
    bad = BadImages(work, "error")
    with workers(environment.usable_cores()) as pool:
        images = read(find(work / "images"), pool, bad, lambda *_: None)
        weights = Weights(source="random", path=work / "weights.pth", sha256="")
        frozen = Frozen(BACKBONE, weights, SIZE, images, Store(work / "store"), pool, bad)
        pixels = torch.from_numpy(frozen.sample(images, 2 * BATCH)).permute(0, 3, 1, 2)
        torch.save(backbone.random_state(BACKBONE, seed=0, batches=[pixels]), weights.path)
        yield frozen, work / "images"


def chosen(frozen: Frozen) -> tuple[Choice, float]:
    """What `auto` takes for many images, and the seconds that choosing took beyond making that engine ready."""
    options = engines.options("auto", "auto", "cpu")
    x_NHW3 = frozen.sample(frozen.images, BATCH)
    assert frozen.network  # built before the clock runs: every way needs it
    start = now()
    picked = choice.choose(
        options, dict.fromkeys(options, MANY), frozen.engine, x_NHW3, (), least_cosine=AGREES
    )
    took_s = now() - start
    own = {(trial.engine, trial.precision): trial for trial in picked.trials}
    return picked, took_s - own[picked.plan.engine, picked.plan.precision].setup_s


def int8() -> tuple[Plan, ...]:
    """The plan for int8, where it can be had."""
    try:
        return engines.options("auto", "int8", "cpu")
    except ValueError:
        return ()


Forward = Callable[[list[Any]], list[Any]]


def references(frozen: Frozen) -> dict[str, Forward]:
    """Forward passes as most people would write them; from pixels already normalised, which ours are not."""
    lab, autocast = lab_extractor.prepare(lab_network(frozen)), autocast_loop.prepare(own_network(frozen))
    vino = openvino_loop.prepare(own_network(frozen), SIZE)
    return {
        "reference: lab's extractor": lambda batches: [lab_extractor.forward(lab, x) for x in batches],
        "reference: autocast": lambda batches: [autocast_loop.forward(autocast, x) for x in batches],
        "reference: OpenVINO loop": lambda batches: [openvino_loop.forward(vino, x) for x in batches],
    }


def reference_files(frozen: Frozen, files: Path) -> dict[str, Callable[[], Any]]:
    """The same from files."""
    return {
        "reference: lab's extractor": lambda: lab_extractor.extract(lab_network(frozen), files, SIZE),
        "reference: autocast": lambda: autocast_loop.extract(own_network(frozen), files, SIZE),
    }


def lab_network(frozen: Frozen) -> nn.Module:
    """The whole network, its weights not frozen."""
    network: nn.Module = models.get_model(frozen.name, weights=None)
    network.load_state_dict(torch.load(frozen.weights.path), strict=False)
    return network


def own_network(frozen: Frozen) -> nn.Module:
    """The network cut at its features, a copy of its own for each way."""
    return backbone.build(frozen.name, torch.load(frozen.weights.path))


def one_forward(engine: Engine) -> Forward:
    """All batches through an engine, as many in flight as it takes."""

    def forward(batches: list[Any]) -> list[Any]:
        rows: list[Any] = []
        waiting: list[Callable[[], Any]] = []
        for x_NHW3 in batches:
            if len(waiting) == engine.in_flight:
                rows.append(waiting.pop(0)())
            waiting.append(engine.submit(x_NHW3))
        return rows + [wait() for wait in waiting]

    return forward


def one_fill(frozen: Frozen, engine: Engine) -> Callable[[], None]:
    """All images from their files to a shelf that holds none of them."""
    fresh = itertools.count()

    def fill() -> None:
        shelf = frozen.store.shelf({"round": next(fresh), "way": str(engine.plan)})
        frozen.compute(engine, frozen.images, shelf, now(), lambda *_: None)

    return fill


def check(forward: dict[str, Forward], frozen: Frozen) -> None:
    """Every way gives the features of the lab's extractor, as closely as its precision allows."""
    batches = inputs(frozen)
    expected = np.concatenate(forward["reference: lab's extractor"](batches["reference"]))
    for way, run in forward.items():
        found = np.concatenate(run(batches[way.split(":")[0].split()[0]]))
        assert cosines(found, expected).min() > 0.99, way


def inputs(frozen: Frozen) -> dict[str, list[Any]]:
    """All images in batches: pixels for ours, normalised tensors for the references."""
    x_NHW3 = frozen.sample(frozen.images, len(frozen.images))
    pixels = [x_NHW3[i : i + BATCH] for i in range(0, len(x_NHW3), BATCH)]
    normalised = [backbone.normalise(torch.from_numpy(x).permute(0, 3, 1, 2)).contiguous() for x in pixels]
    return {"transfer": pixels, "reference": normalised}


def in_turn(
    forward: dict[str, Forward], whole: dict[str, Callable[[], Any]], frozen: Frozen, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each way by level: one round of all, then the next."""
    batches = inputs(frozen)
    seconds: dict[str, dict[str, list[float]]] = {"forward": {}, "files": {}}
    for _ in range(rounds):
        for way, run in forward.items():
            start = now()
            run(batches[way.split(":")[0].split()[0]])
            seconds["forward"].setdefault(way, []).append(now() - start)
        for way, run_files in whole.items():
            start = now()
            run_files()
            seconds["files"].setdefault(way, []).append(now() - start)
    return seconds


def show(record: dict[str, Any]) -> None:
    """Print the table and what choosing cost."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in ("way", "forward", "files", "files/forward", "forward, x lab", "files, x lab"):
        table.add_column(name, justify="left" if name == "way" else "right", no_wrap=True)
    rate = {
        level: {way: record["images"] / statistics.median(s) for way, s in ways.items()}
        for level, ways in record["seconds"].items()
    }
    lab = next(iter(rate["forward"]))
    for way, forward in rate["forward"].items():
        files = rate["files"].get(way)
        table.add_row(
            way,
            f"{forward:.2f}",
            f"{files:.2f}" if files else "",
            f"{files / forward:.3f}" if files else "",
            f"{forward / rate['forward'][lab]:.2f}",
            f"{files / rate['files'][lab]:.2f}" if files else "",
        )
    console = Console()
    console.print(f"\nImages a second, {BACKBONE} at {SIZE[0]}x{SIZE[1]}, batches of {BATCH}, medians")
    console.print(table)
    auto = next(rate["files"][way] for way in rate["files"] if way.endswith("(auto)"))
    share = record["choosing_s"] / (MANY / auto)
    console.print(
        f"auto took {record['picked']}; choosing cost {record['choosing_s']:.2f} s, "
        f"{share:.1%} of extracting {MANY:,} images",
        highlight=False,
    )


if __name__ == "__main__":
    main()
