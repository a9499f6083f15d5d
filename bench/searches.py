"""Whole searches on features against the usual ways, taken in turn: `python -m bench.searches`.

Ours and a reference do the same: settings are fitted on the training rows and scored on the validation rows, and the
winner's prediction of the test rows is there at the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import SVC

from bench import features
from bench.features import Rows
from bench.references import adam_loop, one_by_one, svc_grid
from transfer import environment
from transfer.config import RunConfig
from transfer.heads import METHODS
from transfer.timing import now

CONFIG = RunConfig(data="features", device="cpu")
# Rows of the lab's train, validation and test parts, and sides of the matrices that tell the processor's rate.
ROWS, SIDE = (3474, 386, 1324), 2048
Call = Callable[[], Any]


def main() -> None:
    """Measure in turn, check that the answers are the same, print tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.searches", description=__doc__)
    parser.add_argument(
        "--features", type=Path, help="a .npz file with x_train, y_train, x_valid, … (made up)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each way (5)")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    args = parser.parse_args()
    torch.set_num_threads(environment.usable_cores())
    rows = features.real(args.features) if args.features else features.synthetic(*ROWS)
    record: dict[str, Any] = {
        "machine": environment.describe(),
        "rows": [len(rows.y_train), len(rows.y_valid), len(rows.y_test)],
        "width": rows.x_train.shape[1],
        "seconds": {name: in_turn(ways, args.rounds) for name, ways in comparisons(rows).items()},
        "scores": scores(rows),
        "svc_predictions": same_as_svc(rows),
    }
    record["gemm_fraction"] = gemm_fraction(rows, args.rounds)
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(record)


def comparisons(rows: Rows) -> dict[str, dict[str, Call]]:
    """The ways of each search; ours comes first."""

    def ours(name: str) -> Call:
        return lambda: (
            METHODS[name]
            .build(CONFIG)
            .fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
            .predict(rows.x_test)
        )

    def grid(svc: Any) -> Call:
        cores = environment.usable_cores()
        return lambda: svc_grid.search(rows, n_jobs=cores, svc=svc)[1].predict(rows.x_test)

    def loop(name: str) -> Call:
        return lambda: one_by_one.search(rows, one_by_one.GRIDS[name]).predict(rows.x_test)

    found = {
        "last layer, 4 rates": {"fc-lab": ours("fc-lab"), "DataLoader loop": lambda: usual_layers(rows)},
        "SVM, 10 settings": {"svm": ours("svm"), "GridSearchCV of SVC": grid(SVC)},
        "ridge, 5 settings": {"ridge": ours("ridge"), "RidgeClassifier": loop("ridge")},
        "logistic regression, 5 settings": {
            "logreg": ours("logreg"),
            "LogisticRegression": loop("logreg"),
        },
        "nearest neighbours, 3 settings": {
            "knn": ours("knn"),
            "KNeighborsClassifier": loop("knn"),
        },
    }
    if find_spec("sklearnex"):
        from sklearnex.svm import SVC as IntelSVC

        found["SVM, 10 settings"]["GridSearchCV of scikit-learn-intelex"] = grid(IntelSVC)
    return found


def usual_layers(rows: Rows) -> Any:
    """Layers by the loop, the best by macro F1 on the validation rows, its predictions of the test rows."""
    x, y = torch.from_numpy(rows.x_train), torch.from_numpy(rows.y_train)
    n_classes = int(y.max()) + 1
    layers = adam_loop.fit(x, y, n_classes, lr=CONFIG.lr, epochs=CONFIG.epochs, batch_size=CONFIG.batch_size)
    with torch.no_grad():
        told = [layer(torch.from_numpy(rows.x_valid)).argmax(1).numpy() for layer in layers]
        best = max(range(len(layers)), key=lambda i: f1_score(rows.y_valid, told[i], average="macro"))
        return layers[best](torch.from_numpy(rows.x_test)).argmax(1).numpy()


def in_turn(ways: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Raw seconds of each way: one round of all, then the next; a round before them warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, call in ways.items():
            start = now()
            call()
            seconds[name].append(now() - start)
    return {name: raw[1:] for name, raw in seconds.items()}


def gemm_fraction(rows: Rows, rounds: int) -> float:
    """Of the processor's rate of float32 products, what training the last layer at four rates reaches."""
    x = torch.randn(SIDE, SIDE)
    ways = {"product": lambda: x @ x, "search": comparisons(rows)["last layer, 4 rates"]["fc-lab"]}
    median = {name: statistics.median(raw) for name, raw in in_turn(ways, rounds).items()}
    n_classes = len(np.unique(rows.y_train))
    # Forward, and the gradient of the weights.
    flop = 4 * rows.x_train.size * n_classes * len(CONFIG.lr) * CONFIG.epochs
    return (flop / median["search"]) / (2 * SIDE**3 / median["product"])


def scores(rows: Rows) -> dict[str, dict[str, Any]]:
    """Accuracy and macro F1 on the test rows of every method, its setting chosen on the validation rows."""
    found = {}
    for name, method in METHODS.items():
        search = method.build(CONFIG).fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
        told = search.predict(rows.x_test)
        found[name] = {
            "best_params": search.best_params_,
            "accuracy": float(accuracy_score(rows.y_test, told)),
            "macro_f1": float(f1_score(rows.y_test, told, average="macro", zero_division=0)),
        }
    return found


def same_as_svc(rows: Rows) -> dict[str, int]:
    """Predictions of the test rows by all settings of `svm`, and those that scikit-learn's `SVC` makes otherwise."""
    search = METHODS["svm"].build(CONFIG).fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
    other = 0
    for row, told in zip(search.cv_results_, search.predict_each(rows.x_test), strict=True):
        kernel, C = row["params"]["kernel"], row["params"]["C"]
        other += int((svc_grid.one(rows, kernel, C).predict(rows.x_test) != told).sum())
    return {"predictions": len(search.cv_results_) * len(rows.y_test), "other": other}


def show(record: dict[str, Any]) -> None:
    """Print what was measured."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column in ("search and prediction", "median", "min", "max", "of ours"):
        table.add_column(column, justify="left" if column.startswith("search") else "right", no_wrap=True)
    for search, ways in record["seconds"].items():
        table.add_row(search, style="bold")
        ours = statistics.median(next(iter(ways.values())))
        for name, raw in ways.items():
            median = statistics.median(raw)
            table.add_row(
                f"  {name}",
                f"{median:.3f} s",
                f"{min(raw):.3f} s",
                f"{max(raw):.3f} s",
                f"{median / ours:.1f}x",
            )
    console = Console(highlight=False)
    train, valid, test = record["rows"]
    console.print(f"\n{train} x {record['width']} features train, {valid} validate, {test} are predicted")
    console.print(table)
    console.print(
        f"last layer: {record['gemm_fraction']:.2f} of the rate of a product of {SIDE}x{SIDE} matrices"
    )
    svc = record["svc_predictions"]
    console.print(f"SVM: {svc['other']} of {svc['predictions']:,} predictions are not those of SVC")
    for name, row in record["scores"].items():
        console.print(
            f"{name:8} accuracy {row['accuracy']:.3f}, macro F1 {row['macro_f1']:.3f}, {row['best_params']}"
        )


if __name__ == "__main__":
    main()
