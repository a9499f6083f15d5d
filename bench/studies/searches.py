"""Whole searches on features against the usual ways, taken in turn: `python -m bench.studies.searches`.

Ours and a reference do the same: settings are fitted on the training rows and scored on the validation rows, and the
winner's prediction of the test rows is the end. `--case` takes made-up rows where SVMs take longest instead, against
scikit-learn's SVM of the chosen setting alone: many classes (CLASSESxROWS, 512 features), or many rows. The case
`nystrom` takes RBF settings on any features, exact and by landmarks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from bench import features, grids
from bench.busy import OtherCores, report_busy
from bench.features import Rows
from bench.references import adam_loop, one_by_one, svc_grid
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.config import RunConfig
from transfer.heads.registry import METHODS
from transfer.heads.svm import SVMSearch
from transfer.report.rendering import Table, draw
from transfer.system import hardware

CONFIG = RunConfig(data="features", device="cpu")
# Rows of the lab's train, validation and test parts, and the side of the matrices that measure the processor's rate.
ROWS, SIDE = (3474, 386, 1324), 2048
MANY_ROWS, CASES, NARROW = 30_000, ("300x30", "1000x10", "30000", "nystrom"), 512
LANDMARKS = (500, 1000, 2000)


def main() -> None:
    """Measure in turn, check that the answers are the same, print tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.searches", description=__doc__)
    parser.add_argument(
        "--features", type=Path, help="a .npz file with x_train, y_train, x_valid, … (made up)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each way (5)")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    parser.add_argument("--case", choices=CASES, help="only the SVM, on many classes or rows")
    args = parser.parse_args()
    torch.set_num_threads(hardware.usable_cores())
    if args.case and args.case != "nystrom":
        show_case(args.case, args.rounds)
        return
    rows = features.real(args.features) if args.features else features.synthetic(*ROWS)
    if args.case:
        show_nystrom(rows, args.rounds)
        return
    others = OtherCores()
    seconds = {name: time_in_turn(ways, args.rounds) for name, ways in comparisons(rows).items()}
    record: dict[str, Any] = {
        "machine": hardware.describe(),
        "rows": [len(rows.y_train), len(rows.y_valid), len(rows.y_test)],
        "width": rows.x_train.shape[1],
        "other_cores": others.mean(),
        "seconds": seconds,
        "scores": scores(rows),
        "svc_predictions": same_as_svc(rows),
    }
    record["gemm_fraction"] = gemm_fraction(rows, args.rounds)
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(record)


def comparisons(rows: Rows) -> dict[str, dict[str, Way]]:
    """Return the ways of each search, all over the same settings; ours comes first."""

    def ours(name: str) -> Way:
        return Way(
            call=lambda: (
                grids.search(name)
                .fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
                .predict(rows.x_test)
            )
        )

    def grid(svc: Any) -> Way:
        cores = hardware.usable_cores()
        return Way(call=lambda: svc_grid.search(rows, n_jobs=cores, svc=svc)[1].predict(rows.x_test))

    def loop(name: str) -> Way:
        return Way(call=lambda: one_by_one.search(rows, one_by_one.GRIDS[name]).predict(rows.x_test))

    def layers() -> Any:
        return adam_loop.predict(adam_loop.search(rows, **adam_loop.LAB), rows.x_test)

    found = {
        "last layer, 4 rates": {"fc-lab": ours("fc-lab"), "DataLoader loop": Way(call=layers)},
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


def show_case(case: str, rounds: int) -> None:
    """Time the SVM of a case in turn with scikit-learn's SVM of the chosen setting, and print seconds and scores."""
    axes: tuple[str, ...]
    if "x" in case:
        rows = many_classes(*map(int, case.split("x")))
        name, svm, axes = "SVC, one setting", SVC, ("kernel", "C")
    else:
        rows = features.synthetic(MANY_ROWS, 1000, 1000, width=NARROW)
        name, svm, axes = "LinearSVC, one setting", LinearSVC, ("C",)
    last: dict[str, Any] = {}

    def ours() -> None:
        search = (
            SVMSearch(extend=False, memory_gb=2)
            if "x" in case
            else SVMSearch(kernels=("linear",), memory_gb=1)
        )
        last["svm"] = search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
        last["predicted"] = search.predict(rows.x_test)

    def usual() -> None:
        params = {axis: last["svm"].best_params_[axis] for axis in axes}
        alone = make_pipeline(StandardScaler(), svm(**params)).fit(rows.x_train, rows.y_train)
        last["usual"] = alone.predict(rows.x_test)

    seconds = time_in_turn({"svm": Way(call=ours), name: Way(call=usual)}, rounds, warm_up=False)
    print(f"{case}: chosen {last['svm'].best_params_}, of {len(last['svm'].cv_results_)} solutions")
    ratio = statistics.median(seconds[name]) / statistics.median(seconds["svm"])
    for way, raw in seconds.items():
        print(f"  {way:23} {statistics.median(raw):7.2f} s ({min(raw):.2f} to {max(raw):.2f})")
    other = int((last["predicted"] != last["usual"]).sum())
    print(f"  {ratio:.2f}x; {other} of {len(rows.y_test)} predictions differ")


def show_nystrom(rows: Rows, rounds: int) -> None:
    """Time RBF settings, exact and by landmarks, in turn with one of `SVC`, and print seconds and scores."""
    fitted: dict[str, Any] = {}

    def ours(name: str, n_landmarks: int | None) -> Way:
        search = SVMSearch(kernels=("rbf",), n_landmarks=n_landmarks, extend=False, device="cpu")

        def call() -> None:
            fitted[name] = search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
            fitted[name].predict(rows.x_test)

        return Way(call=call)

    def usual() -> None:
        svc = make_pipeline(StandardScaler(), SVC(C=fitted["exact"].best_params_["C"]))
        svc.fit(rows.x_train, rows.y_train)
        fitted["SVC, one setting"] = svc
        svc.predict(rows.x_test)

    ways = {"exact": ours("exact", None), "SVC, one setting": Way(call=usual)}
    ways |= {f"m = {m}": ours(f"m = {m}", m) for m in LANDMARKS if m <= len(rows.y_train)}
    seconds = time_in_turn(ways, rounds, warm_up=False)
    for name, raw in seconds.items():
        true_N, predicted_N = rows.y_test, fitted[name].predict(rows.x_test)
        macro_f1 = f1_score(true_N, predicted_N, average="macro", zero_division=0)
        print(
            f"{name:16} {statistics.median(raw):7.2f} s; test accuracy {accuracy_score(true_N, predicted_N):.3f}, "
            f"macro F1 {macro_f1:.3f}; {getattr(fitted[name], 'best_params_', '')}"
        )


def many_classes(classes: int, rows: int) -> Rows:
    """Make equally many rows of each of many overlapping classes, and 300 rows each to validate and to test."""
    rng = np.random.default_rng(0)
    means_CD = rng.normal(size=(classes, NARROW))
    labels = [np.repeat(np.arange(classes), rows), *rng.integers(classes, size=(2, 300))]
    made = [(means_CD[y] + 3 * rng.normal(size=(len(y), NARROW))).astype(np.float32) for y in labels]
    return Rows(*itertools.chain(*zip(made, labels, strict=True)))


def gemm_fraction(rows: Rows, rounds: int) -> float:
    """Return the fraction of the processor's float32 product rate that training four last layers reaches."""
    x = torch.randn(SIDE, SIDE)
    ways = {
        "product": Way(call=lambda: x @ x),
        "search": comparisons(rows)["last layer, 4 rates"]["fc-lab"],
    }
    median = {name: statistics.median(raw) for name, raw in time_in_turn(ways, rounds).items()}
    n_classes = len(np.unique(rows.y_train))
    # Forward, and the gradient of the weights.
    flop = 4 * rows.x_train.size * n_classes * len(adam_loop.LAB["lr"]) * adam_loop.LAB["epochs"]
    return float(flop / median["search"] / (2 * SIDE**3 / median["product"]))


def scores(rows: Rows) -> dict[str, dict[str, Any]]:
    """Return accuracy and macro F1 on the test rows of every method, its setting chosen on the validation rows."""
    found = {}
    for name, method in METHODS.items():
        search = method.build(CONFIG).fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
        predicted = search.predict(rows.x_test)
        found[name] = {
            "best_params": search.best_params_,
            "accuracy": float(accuracy_score(rows.y_test, predicted)),
            "macro_f1": float(f1_score(rows.y_test, predicted, average="macro", zero_division=0)),
        }
    return found


def same_as_svc(rows: Rows) -> dict[str, int]:
    """Count predictions of the test rows by all settings of `svm`, and those that differ from scikit-learn's `SVC`."""
    search = grids.search("svm").fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
    other = 0
    for row, predicted in zip(search.cv_results_, search.predict_each(rows.x_test), strict=True):
        kernel, C = row["params"]["kernel"], row["params"]["C"]
        other += int((svc_grid.one(rows, kernel, C).predict(rows.x_test) != predicted).sum())
    return {"predictions": len(search.cv_results_) * len(rows.y_test), "other": other}


def show(record: dict[str, Any]) -> None:
    """Print what was measured."""
    rows = []
    for search, ways in record["seconds"].items():
        rows.append([search, "", "", "", ""])
        ours = statistics.median(next(iter(ways.values())))
        for name, raw in ways.items():
            median = statistics.median(raw)
            seconds = [f"{value:.3f} s" for value in (median, min(raw), max(raw))]
            rows.append([f"  {name}", *seconds, f"{median / ours:.1f}x"])
    console = Console(highlight=False)
    train, valid, test = record["rows"]
    title = f"{train} x {record['width']} features train, {valid} validate, {test} are predicted"
    draw(Table(title, ["search and prediction", " median", " min", " max", " of ours"], rows), console)
    console.print(
        f"last layer: {record['gemm_fraction']:.2f} of the rate of a product of {SIDE}x{SIDE} matrices"
    )
    report_busy(record["other_cores"], record["machine"]["usable_cores"])
    svc = record["svc_predictions"]
    console.print(f"SVM: {svc['other']} of {svc['predictions']:,} predictions are not those of SVC")
    for name, row in record["scores"].items():
        console.print(
            f"{name:8} accuracy {row['accuracy']:.3f}, macro F1 {row['macro_f1']:.3f}, {row['best_params']}"
        )


if __name__ == "__main__":
    sys.exit(exit_status(main))
