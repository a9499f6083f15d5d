"""Blocks trained on cached maps against the whole network at each step: `python -m bench.studies.unfreeze`.

An epoch of each is timed in turn: of the usual loop, which sends every image through the whole network, and of ours,
from maps in memory and from the cache on disk, which the operating system may have in memory too, with one view of each
image and with several of which one is drawn. Pixels of the usual loop lie in memory, decoded. With `--data` the methods
are compared on photographs: a run of `transfer`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.references import frozen_loop
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.backbones import bundled, networks, weights
from transfer.backbones.blocks import cut_at
from transfer.backbones.choice import Maps
from transfer.cache.store import Store
from transfer.cli.parsing import parse_size
from transfer.config import BUNDLED_BACKBONE, CHOICES, SCORE_NAMES, RunConfig
from transfer.evaluation import experiment
from transfer.features.maps import decode, encode
from transfer.finetuning.adaptation import choose_trained, list_weights
from transfer.finetuning.head import Head
from transfer.finetuning.recipe import AUTOCAST, Recipe
from transfer.finetuning.rows import MapRows, cached_rows
from transfer.finetuning.training import Training
from transfer.report.rendering import Table, console, draw
from transfer.report.verdict import find_pair

CLASSES, BATCH = 4, Recipe().batch
MEMORY, DISK = "maps in memory", "maps on disk"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.unfreeze", description=__doc__)
    parser.add_argument("--blocks", default="layer4,layer4.2", help="of the network (layer4,layer4.2)")
    parser.add_argument(
        "--images", type=int, default=32, help="of noise, in an epoch (32); 0: no epoch is timed"
    )
    parser.add_argument("--size", default="240x800", help="height and width (240x800)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    parser.add_argument("--views", type=int, default=1, help="of each image, on disk and with --data (1)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of training (fp32)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--data", help="labelled photographs, which the methods are compared on")
    parser.add_argument("--adapt", help="lora:RANK,bitfit: adds epochs, or with --data methods, of these")
    parser.add_argument(
        "--bn", choices=CHOICES["bn"], default="eval", help="with --data, as of transfer run (eval)"
    )
    parser.add_argument("--backbone", default=BUNDLED_BACKBONE, help=f"with --data ({BUNDLED_BACKBONE})")
    parser.add_argument("--weights", default=None, help="with --data, as of transfer run")
    parser.add_argument("--epochs", type=int, default=None, help="with --data, of the blocks")
    parser.add_argument("--store", type=Path, default=None, help="with --data")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    blocks = tuple(args.blocks.split(","))
    adapt = tuple(args.adapt.split(",")) if args.adapt else ()
    if args.images:
        show_epochs(
            blocks, args.images, parse_size(args.size), args.rounds, args.precision, args.views, adapt
        )
    if args.data:
        own = {"store": args.store} if args.store else {}
        show_methods(
            RunConfig(
                data=args.data,
                backbone=args.backbone,
                weights=args.weights,
                epochs=args.epochs,
                methods=("fc", "svm") if args.bn == "eval" else ("fc-lab", "fc", "svm"),
                unfreeze=blocks,
                adapt=adapt,
                bn=args.bn,
                views=args.views,
                repeats=0,
                **own,
            )
        )


def show_epochs(
    blocks: tuple[str, ...],
    images: int,
    size: tuple[int, int],
    rounds: int,
    precision: str,
    views: int,
    adapt: tuple[str, ...],
) -> None:
    """Time an epoch of each block by each way, and print the table."""
    rows = []
    for block in blocks:
        with tempfile.TemporaryDirectory() as folder:
            seconds = time_in_turn(epochs(block, images, size, precision, views, Path(folder), adapt), rounds)
        usual = statistics.median(seconds["usual loop"])
        for way, own in seconds.items():
            median = statistics.median(own)
            ratios = sorted(a / b for a, b in zip(seconds["usual loop"], own, strict=True))
            rows.append(
                [
                    block if way == "usual loop" else "",
                    way,
                    f"{images / median:.1f}",
                    f"{usual / median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                ]
            )
        medians = {way: statistics.median(own) for way, own in seconds.items()}
        rows.append(["", "on disk, of in memory", "", f"{medians[MEMORY] / medians[DISK]:.2f}"])
        if views > 1:
            rows.append(["", f"{views} views, of one", "", f"{medians[DISK] / medians[_views(views)]:.2f}"])
    title = f"{BUNDLED_BACKBONE}, {images} images of {size[0]}x{size[1]}, {precision}: training, without validation"
    draw(Table(title, ["block", "way", " images/s", " faster (rounds)"], rows), console())


def epochs(
    block: str,
    images: int,
    size: tuple[int, int],
    precision: str,
    views: int,
    folder: Path,
    adapt: tuple[str, ...],
) -> dict[str, Way]:
    """Return the ways to train an epoch of a block."""
    state = weights.load(bundled.FILE)
    network = networks.build(BUNDLED_BACKBONE, state).to(memory_format=torch.channels_last)
    cut = cut_at(network, BUNDLED_BACKBONE, block, size)
    generator = torch.Generator().manual_seed(0)
    x_N3HW = torch.randn(images, 3, *size, generator=generator).to(memory_format=torch.channels_last)
    y_N = np.arange(images) % CLASSES
    with torch.no_grad():
        maps_ND = torch.cat([cut.frozen(part) for part in torch.split(x_N3HW, BATCH)]).numpy()
        x_ND = torch.cat([network(part) for part in torch.split(x_N3HW, BATCH)]).numpy()
    head = Head(CLASSES, x_ND)
    maps = Maps(block=block, dtype="bfloat16")
    kept_ND = encode(maps_ND, maps)
    ids_N32 = np.random.default_rng(0).integers(0, 256, (images, 32), np.uint8)
    tables = [Store(folder).table({"maps": block, "view": view}) for view in range(views)]
    for table in tables:  # one view is as good as another: what is read of them takes as long
        for part in np.array_split(np.arange(images), max(1, images // BATCH)):
            table.append(ids_N32[part], kept_ND[part], 0.0, "here")
        table.merge()
    recipe = Recipe(batch=BATCH, precision=precision)
    in_memory = MapRows(lambda places, dtype: decode(kept_ND[places], maps).to(dtype), y_N, cut.shapes)
    ours = {
        MEMORY: in_memory,
        DISK: cached_rows(tables[:1], ids_N32, y_N, maps, cut.shapes),
        **({_views(views): cached_rows(tables, ids_N32, y_N, maps, cut.shapes)} if views > 1 else {}),
    }
    trainings = {way: Training(cut.rest, head, recipe, rows, rows) for way, rows in ours.items()}
    weights_of = list_weights(network)
    for one in adapt:
        choose = partial(choose_trained, adapt=one, weights=weights_of, seed=0)
        trainings[f"{one}, in memory"] = Training(cut.rest, head, recipe, in_memory, in_memory, choose=choose)
    trained = {name for name, _ in cut.rest.named_parameters()}
    own = [value for name, value in network.named_parameters() if name in trained]
    optimizer = torch.optim.AdamW([*own, *head.parameters()], lr=1e-6)
    batches = list(zip(torch.split(x_N3HW, BATCH), torch.split(torch.from_numpy(y_N), BATCH), strict=True))

    def usual() -> None:
        frozen_loop.train_epoch(network, head, trained, batches, optimizer, AUTOCAST[precision])

    def of(training: Training) -> Way:
        def call() -> None:
            training.step = 0
            training.train_epoch()

        return Way(call=call)

    return {"usual loop": Way(call=usual), **{way: of(one) for way, one in trainings.items()}}


def _views(count: int) -> str:
    return f"{count} views on disk"


def show_methods(config: RunConfig) -> None:
    """Compare the methods on photographs, and print the table."""
    result = experiment.run(config)
    rows = []
    for method in result.methods:
        pair = find_pair(result.comparison["pairs"], method["name"], "fc")
        differences = [
            f"{100 * pair[score]['difference']:+.1f} ({100 * pair[score]['ci95'][0]:+.1f} to "
            f"{100 * pair[score]['ci95'][1]:+.1f})"
            if pair
            else ""
            for score in SCORE_NAMES
        ]
        test = method["test"]
        rows.append(
            [
                method["name"],
                f"{test['accuracy']:.3f}",
                f"{test['macro_f1']:.3f}",
                *differences,
                f"{method['fit_s']:.1f} s",
                str(method["best_params"].get("epoch", "")),
            ]
        )
    counts = ", ".join(f"{part['images']} {split}" for split, part in result.data["splits"].items())
    columns = [
        "method",
        " accuracy",
        " macro F1",
        " accuracy, less fc",
        " macro F1, less fc",
        " fit",
        " epoch",
    ]
    title = f"{result.data['name']}: {counts} images, {config.backbone} ({result.backbone['weights']})"
    draw(Table(title, columns, rows), console())
    print(
        f"seconds: {', '.join(f'{phase} {sum(own):.1f}' for phase, own in result.seconds.items() if phase != 'total')}"
    )


if __name__ == "__main__":
    sys.exit(exit_status(main))
