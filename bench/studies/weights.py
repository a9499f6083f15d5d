"""Value of the package's weights on frozen features: `python -m bench.studies.weights [DATA] --store DIR`.

The method `svm` is searched on the features of the embedded network, and on those of untrained ones drawn from several
seeds. The result is the difference in points between the embedded one and the mean of the others: on the test
split, with a paired bootstrap over its images, and over splits drawn again from all images.

N: images. S: untrained networks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from sklearn.model_selection import train_test_split

from bench.reporting.status import exit_status
from transfer import metrics
from transfer.config import BUILT_IN, RunConfig
from transfer.data.random_splits import SPLITS
from transfer.features.extract import Split, extract
from transfer.features.image_sets import find_images
from transfer.features.plan import plan_extraction
from transfer.heads.registry import METHODS
from transfer.metrics import Labels
from transfer.report.rendering import Table, draw
from transfer.system import hardware
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

METHOD = "svm"
RESAMPLES = 2000
SCORES = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
Splits = dict[str, Split]


def main() -> None:
    """Extract with every network, fit, compare, print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.weights", description=__doc__)
    parser.add_argument("data", nargs="?", default=BUILT_IN, help="an image set (lagoon)")
    parser.add_argument("--seeds", type=int, default=5, help="untrained networks (5)")
    parser.add_argument("--splits", type=int, default=20, help="splits drawn again (20)")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    parser.add_argument("--json", type=Path, help="all scores go there")
    args = parser.parse_args()
    configs = {"embedded": RunConfig(data=args.data, weights="embedded", store=args.store)} | {
        f"random, seed {seed}": RunConfig(data=args.data, weights="random", seed=seed, store=args.store)
        for seed in range(args.seeds)
    }
    networks, predicted, drawn = {}, {}, {}
    for name, config in configs.items():
        found = extract(
            plan_extraction(config),
            find_images(config, Stopwatch(), silent),
            Stopwatch(),
            silent,
        )
        networks[name] = {
            "weights_sha256": found.extraction.weights.sha256,
            "engine": f"{found.extraction.plan.engine} {found.extraction.plan.precision}",
        }
        predicted[name] = predictions(found.splits)
        drawn[name] = [score_splits(redraw_splits(found.splits, seed)) for seed in range(args.splits)]
        y_N, classes = found.splits["test"].y_N, len(found.extraction.classes)
    (own_N, *others) = predicted.values()
    record = {
        "machine": hardware.describe(),
        "data": args.data if args.data == BUILT_IN else Path(args.data).name,
        "images": {split: len(found.splits[split].y_N) for split in SPLITS},
        "networks": networks,
        "test_split": {name: metrics.score(y_N, labels_N, classes) for name, labels_N in predicted.items()},
        "gain": gain(y_N, own_N, others, classes),
        "splits_drawn_anew": drawn,
    }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(record)


def predictions(splits: Splits) -> Labels:
    """Return predictions of the method for the test images; its setting is chosen on the validation images."""
    train, valid = splits["train"], splits["valid"]
    search = METHODS[METHOD].build(RunConfig(data="given"))
    search.fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
    return np.asarray(search.predict(splits["test"].x_ND))


def score_splits(splits: Splits) -> dict[str, float]:
    """Return accuracy and macro F1 on the test images of these splits."""
    y_N, predicted_N = splits["test"].y_N, predictions(splits)
    return metrics.score(y_N, predicted_N, 1 + int(max(y_N.max(), predicted_N.max())))


def redraw_splits(splits: Splits, seed: int) -> Splits:
    """Draw splits of the same sizes from all images again, stratified by class."""
    x_ND = np.concatenate([splits[split].x_ND for split in SPLITS])
    y_N = np.concatenate([splits[split].y_N for split in SPLITS])
    rows, dealt = np.arange(len(y_N)), {}
    for split in ("test", "valid"):
        rows, part = train_test_split(
            rows, test_size=len(splits[split].y_N), stratify=y_N[rows], random_state=seed
        )
        dealt[split] = Split(x_ND[part], y_N[part])
    return {**dealt, "train": Split(x_ND[rows], y_N[rows])}


def gain(y_N: Labels, own_N: Labels, others: Sequence[Labels], classes: int) -> dict[str, dict[str, Any]]:
    """Return the difference of `own_N` to the mean of others (as a share), and its 95 % bootstrap interval.

    Images are resampled within each true class, the same ones for all.
    """
    rng, members = np.random.default_rng(0), [np.flatnonzero(y_N == c) for c in np.unique(y_N)]

    def more(rows: npt.NDArray[np.int64]) -> list[float]:
        own_CC, *others_CC = (
            metrics.confusion(y_N[rows], labels_N[rows], classes) for labels_N in (own_N, *others)
        )
        return [
            float(of(own_CC) - np.mean([of(other_CC) for other_CC in others_CC])) for of in SCORES.values()
        ]

    difference = more(np.arange(len(y_N)))
    drawn = [more(np.concatenate([rng.choice(of, len(of)) for of in members])) for _ in range(RESAMPLES)]
    between = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {
        name: {"mean": difference[i], "ci95": [float(bound) for bound in between[:, i]]}
        for i, name in enumerate(SCORES)
    }


def show(record: dict[str, Any]) -> None:
    """Print a row for each network, and the gain of the first."""
    counts = ", ".join(f"{count} {split}" for split, count in record["images"].items())
    drawn = record["splits_drawn_anew"]
    suffix = f"mean of {len(drawn['embedded'])} splits"
    columns = ["resnet50", " accuracy", " macro F1", f" accuracy, {suffix}", f" macro F1, {suffix}"]
    rows = []
    for name, own in record["test_split"].items():
        means = (statistics.fmean(one[score] for one in drawn[name]) for score in SCORES)
        rows.append([name, *(f"{value:.3f}" for value in (*own.values(), *means))])
    console = Console(width=110)
    draw(Table(f"{METHOD} on {record['data']}: {counts}", columns, rows), console)
    own, *others = drawn.values()
    for score, found in record["gain"].items():
        more = [
            one[score] - statistics.fmean(other[score] for other in same)
            for one, *same in zip(own, *others, strict=True)
        ]
        low, high = found["ci95"]
        console.print(
            f"{score}: embedded has {100 * found['mean']:+.1f} points (95 % {100 * low:+.1f} to {100 * high:+.1f}); "
            f"over splits {100 * statistics.fmean(more):+.1f} ({100 * min(more):+.1f} to {100 * max(more):+.1f})"
        )


if __name__ == "__main__":
    sys.exit(exit_status(main))
