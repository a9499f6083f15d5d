"""Coverage of the 95 % intervals: `python -m bench.studies.coverage`.

Predictions are drawn from a known truth (`simulated.py`) for the 256 test images of the built-in set, 4 to 59 a class.
Class counts are fixed, as in a stratified split, or drawn. The truth of macro F1 is its value at the expected counts.
In classes of one size, the second of two methods makes the errors of the first and some more.
`exact_coverage.py` calculates what no interval can do better; `false_alarms.py` counts how often two equally good
methods are said to differ, by the intervals over repeated splits among others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.reporting.status import exit_status
from bench.studies import exact_coverage
from bench.studies.false_alarms import Rates, count_false_alarms
from bench.studies.simulated import (
    CLASSES,
    SCENARIOS,
    Grouped,
    confusion_shares,
    draw_grouped,
    draw_labels,
    draw_predictions,
    true_accuracy,
    true_f1,
)
from transfer.evaluation.intervals import (
    Units,
    accuracy_difference,
    accuracy_interval,
    recall_intervals,
)
from transfer.evaluation.macro_f1 import macro_f1_difference, macro_f1_interval
from transfer.metrics import Floats, Labels
from transfer.report.rendering import Table, draw

# Two methods, and the share of images on which the second repeats the first.
PAIRS = [
    ("fc", "fc-lab", 0.3),
    ("svm", "fc", 0.3),
    ("svm", "fc", 0.75),
    ("svm", "logreg", 0.3),
    ("all between", "all between", 0.3),
    ("good", "good", 0.75),
    ("good", "svm", 0.3),
    ("svm-lab", "svm", 0.3),
    ("svm-lab", "fc-lab", 0.3),
    ("near-perfect", "half perfect", 0.3),
    ("chance", "chance", 0.3),
]
# Scenario, spread of the effects of groups, groups, and whether they are even.
CASES = list(product(("svm", "good"), (0.3, 1.0), (6, 10, 20), (True, False)))
# Classes, test images, and the share that a method has wrong; the other one has so many more.
EVEN = [
    (2, 60, 0.04),
    (2, 100, 0.02),
    (2, 200, 0.01),
    (4, 100, 0.02),
    (10, 200, 0.05),
    (100, 300, 0.05),
    (100, 300, 0.3),
]
MORE_ERRORS = 0.03
MODELS = {True: "fixed", False: "drawn"}
Intervals = list[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """Shares of runs in which an interval contained the truth, and in which it lay above or below."""

    scenario: str
    model: str
    score: str
    covered: float
    above: float
    below: float
    width: float


def main() -> None:
    """Simulate, print tables, and write them to a file if one is given."""
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals and rate of false alarms.")
    parser.add_argument("--runs", type=int, default=2000, help="simulated test splits a scenario")
    parser.add_argument("--comparisons", type=int, default=200, help="simulated comparisons of equal methods")
    parser.add_argument("--out", type=Path, help="all figures go there as JSON")
    args = parser.parse_args()
    studies: dict[str, Callable[[int], Iterable[Row]]] = {
        "One method": cover_scores,
        "Difference of two methods": cover_differences,
        "Classes of one size": cover_even,
        "Groups": cover_groups,
        "Difference of two methods over groups": cover_group_differences,
    }
    console, record = Console(width=120), {}
    for title, study in studies.items():
        record[title] = list(study(args.runs))
        draw(_table(title, record[title]), console)
    for table in exact_coverage.tables():
        draw(table, console)
    rates = count_false_alarms(args.comparisons)
    draw(_alarm_table(rates), console)
    if args.out:
        rows = {title: [asdict(row) for row in rows] for title, rows in record.items()}
        alarms = [
            {"rule": rule, "score": score, "alarms": n} for (rule, score), n in sorted(rates.alarms.items())
        ]
        args.out.write_text(
            json.dumps(
                {"runs": args.runs, **rows, "comparisons": rates.comparisons, "alarms": alarms}, indent=1
            )
        )


def cover_scores(runs: int) -> Iterable[Row]:
    """Yield the coverage of accuracy, macro F1, and mean recall of classes with a true recall between 0 and 1."""
    for scenario in SCENARIOS:
        shares_CC = confusion_shares(scenario)
        for fixed, model in MODELS.items():
            rng = np.random.default_rng(1)
            y_RN = draw_labels(runs, fixed, rng)
            predicted_RN = draw_predictions(y_RN, shares_CC, rng)
            units = Units.of(y_RN.shape[1], None)
            accuracy, f1 = [], []
            recall: list[Intervals] = [[] for _ in range(CLASSES)]
            for y_N, predicted_N in zip(y_RN, predicted_RN, strict=True):
                accuracy.append(accuracy_interval(y_N == predicted_N, units))
                f1.append(macro_f1_interval(y_N, predicted_N, CLASSES, units).ci95)
                _add_recalls(recall, recall_intervals(y_N, predicted_N, CLASSES, None))
            yield _row(scenario, model, "accuracy", accuracy, true_accuracy(shares_CC))
            yield _row(scenario, model, "macro F1", f1, true_f1(shares_CC))
            yield _recall_row(scenario, model, recall, shares_CC)


def cover_differences(runs: int) -> Iterable[Row]:
    """Yield the coverage of paired differences of accuracy and macro F1."""
    for a, b, same in PAIRS:
        a_CC = confusion_shares(a)
        fresh_CC = confusion_shares(b)
        b_CC = same * a_CC + (1 - same) * fresh_CC
        for fixed, model in MODELS.items():
            rng = np.random.default_rng(2)
            y_RN = draw_labels(runs, fixed, rng)
            a_RN = draw_predictions(y_RN, a_CC, rng)
            b_RN = np.where(rng.random(y_RN.shape) < same, a_RN, draw_predictions(y_RN, fresh_CC, rng))
            units = Units.of(y_RN.shape[1], None)
            accuracy, f1 = [], []
            for y_N, a_N, b_N in zip(y_RN, a_RN, b_RN, strict=True):
                accuracy.append(accuracy_difference(y_N, a_N, b_N, units).ci95)
                f1.append(macro_f1_difference(y_N, a_N, b_N, CLASSES, units).ci95)
            name = f"{a} - {b}, {same:.0%} same"
            yield _row(name, model, "accuracy", accuracy, true_accuracy(a_CC) - true_accuracy(b_CC))
            yield _row(name, model, "macro F1", f1, true_f1(a_CC) - true_f1(b_CC))


def cover_even(runs: int) -> Iterable[Row]:
    """Yield the coverage of accuracy, macro F1 and their differences in classes of one size."""
    for classes, images, error in EVEN:
        rng, units = np.random.default_rng(4), Units.of(images, None)
        y_RN = np.tile(np.repeat(np.arange(classes), images // classes), (runs, 1))
        a_RN = _replace(y_RN, error, classes, rng)
        b_RN = np.where(a_RN == y_RN, _replace(y_RN, MORE_ERRORS, classes, rng), a_RN)
        intervals: dict[tuple[str, str], Intervals] = defaultdict(list)
        for y_N, a_N, b_N in zip(y_RN, a_RN, b_RN, strict=True):
            intervals["one", "accuracy"].append(accuracy_interval(y_N == a_N, units))
            intervals["one", "macro F1"].append(macro_f1_interval(y_N, a_N, classes, units).ci95)
            intervals["two", "accuracy"].append(accuracy_difference(y_N, a_N, b_N, units).ci95)
            intervals["two", "macro F1"].append(macro_f1_difference(y_N, a_N, b_N, classes, units).ci95)
        truth = {"one": 1 - error, "two": (1 - error) * MORE_ERRORS}
        for (methods, score), found in intervals.items():
            name = f"{classes} classes, {images} images, {error:.0%} wrong"
            yield _row(name, methods, score, found, truth[methods])


def _replace(labels_RN: Labels, share: float, classes: int, rng: np.random.Generator) -> Labels:
    """Replace a share of labels by others, each as often; of classes of one size macro F1 then equals accuracy."""
    moved_RN: Labels = (rng.random(labels_RN.shape) < share) * rng.integers(1, classes, labels_RN.shape)
    return (labels_RN + moved_RN) % classes


def cover_groups(runs: int) -> Iterable[Row]:
    """Yield the coverage of accuracy, macro F1 and recall with groups as units, and as if images were independent."""
    for name, drawn in _draw_groups(runs):
        for kind in ("groups", "images"):
            intervals: dict[str, Intervals] = {"accuracy": [], "macro F1": []}
            recall: list[Intervals] = [[] for _ in range(CLASSES)]
            for y_N, predicted_N, group_N in zip(drawn.y_RN, drawn.predicted_RN, drawn.group_RN, strict=True):
                groups_N = group_N if kind == "groups" else None
                units = Units.of(len(y_N), groups_N)
                intervals["accuracy"].append(accuracy_interval(y_N == predicted_N, units))
                intervals["macro F1"].append(macro_f1_interval(y_N, predicted_N, CLASSES, units).ci95)
                _add_recalls(recall, recall_intervals(y_N, predicted_N, CLASSES, groups_N))
            truth = {"accuracy": true_accuracy(drawn.shares_CC), "macro F1": true_f1(drawn.shares_CC)}
            for score, found in intervals.items():
                yield _row(name, kind, score, found, truth[score])
            yield _recall_row(name, kind, recall, drawn.shares_CC)


def cover_group_differences(runs: int) -> Iterable[Row]:
    """Yield the coverage of paired differences of two equally good methods, with groups as units."""
    for name, drawn in _draw_groups(runs):
        intervals: dict[str, Intervals] = {"accuracy": [], "macro F1": []}
        for y_N, a_N, b_N, group_N in zip(
            drawn.y_RN, drawn.predicted_RN, drawn.other_RN, drawn.group_RN, strict=True
        ):
            units = Units.of(len(y_N), group_N)
            intervals["accuracy"].append(accuracy_difference(y_N, a_N, b_N, units).ci95)
            intervals["macro F1"].append(macro_f1_difference(y_N, a_N, b_N, CLASSES, units).ci95)
        for score, found in intervals.items():
            yield _row(name, "groups", score, found, 0.0)


def _draw_groups(runs: int) -> Iterable[tuple[str, Grouped]]:
    for scenario, spread, groups, even in CASES:
        name = f"{scenario}, {groups} {'even' if even else 'uneven'}, spread {spread:g}"
        yield name, draw_grouped(scenario, groups, spread, runs, np.random.default_rng(3), even=even)


def _add_recalls(recall: list[Intervals], found: list[tuple[float, float] | None]) -> None:
    for intervals, interval in zip(recall, found, strict=True):
        if interval is not None:
            intervals.append(interval)


def _recall_row(scenario: str, model: str, recall: list[Intervals], shares_CC: Floats) -> Row:
    """Return the mean over classes with a true recall between 0 and 1."""
    truth_C = np.diagonal(shares_CC)
    rows = [
        _row(scenario, model, "recall", intervals, truth)
        for intervals, truth in zip(recall, truth_C, strict=True)
        if 0 < truth < 1
    ]
    values = np.mean([(row.covered, row.above, row.below, row.width) for row in rows], axis=0)
    return Row(scenario, model, "recall", *map(float, values))


def _row(scenario: str, model: str, score: str, intervals: Intervals, truth: float) -> Row:
    low_R, high_R = np.array(intervals).T
    above, below = float((low_R > truth + 1e-12).mean()), float((high_R < truth - 1e-12).mean())
    return Row(scenario, model, score, 1 - above - below, above, below, float((high_R - low_R).mean()))


def _table(title: str, rows: list[Row]) -> Table:
    columns, lines = ["scenario", "class counts, methods or unit"], []
    for score in dict.fromkeys(row.score for row in rows):
        columns += [f" {score}: covered", " above/below", " width"]
    for scenario, model in dict.fromkeys((row.scenario, row.model) for row in rows):
        cells = []
        for row in rows:
            if (row.scenario, row.model) == (scenario, model):
                cells += [f"{row.covered:.1%}", f"{row.above:.1%}/{row.below:.1%}", f"{row.width:.3f}"]
        lines.append([scenario, model, *cells])
    return Table(title, columns, lines)


def _alarm_table(rates: Rates) -> Table:
    rows = [
        [rule, score, str(alarms), f"{alarms / rates.comparisons:.1%}"]
        for (rule, score), alarms in sorted(rates.alarms.items())
    ]
    title = f"False alarms in {rates.comparisons} comparisons of equal methods"
    return Table(title, ["rule", "score", " alarms", " rate"], rows)


if __name__ == "__main__":
    sys.exit(exit_status(main))
