"""Coverage of the 95 % intervals: `python -m bench.studies.coverage`.

Predictions are drawn from a known truth (`simulated.py`) for the 256 test images of the built-in set, 4 to 59 a class.
Class counts are fixed, as in a stratified split, or drawn. The truth of macro F1 is its value at the expected counts.
The last table is exact: numbers of hits are whole, so that a share's coverage rises and falls with the truth, whatever
the interval (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286).
`false_alarms.py` counts how often two equally good methods are said to differ.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import binom

from bench.studies.false_alarms import Rates, count_false_alarms
from bench.studies.simulated import (
    CLASSES,
    SCENARIOS,
    SIZES,
    confusion_shares,
    draw_grouped,
    draw_labels,
    draw_predictions,
    true_accuracy,
    true_f1,
)
from transfer.evaluation.intervals import (
    NORMAL_QUANTILE,
    Units,
    accuracy_difference,
    jeffreys,
    recall_intervals,
    share_interval,
    wilson,
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
MODELS = {True: "fixed", False: "drawn"}
Intervals = dict[str, list[tuple[float, float]]]


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
        "Groups": cover_groups,
    }
    console, record = Console(width=120), {}
    for title, study in studies.items():
        record[title] = list(study(args.runs))
        draw(_table(title, record[title]), console)
    draw(_share_table(), console)
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
        recall_C = np.diagonal(shares_CC)
        for fixed, model in MODELS.items():
            rng = np.random.default_rng(1)
            y_RN = draw_labels(runs, fixed, rng)
            predicted_RN = draw_predictions(y_RN, shares_CC, rng)
            units = Units.of(y_RN.shape[1], None)
            accuracy, f1 = [], []
            recall: list[list[tuple[float, float]]] = [[] for _ in range(CLASSES)]
            for y_N, predicted_N in zip(y_RN, predicted_RN, strict=True):
                accuracy.append(share_interval(y_N == predicted_N, units))
                f1.append(macro_f1_interval(y_N, predicted_N, CLASSES, units).ci95)
                for c, interval in enumerate(recall_intervals(y_N, predicted_N, CLASSES, None)):
                    if interval is not None:
                        recall[c].append(interval)
            yield _row(scenario, model, "accuracy", accuracy, true_accuracy(shares_CC))
            yield _row(scenario, model, "macro F1", f1, true_f1(shares_CC))
            each = [
                _row(scenario, model, "recall", recall[c], recall_C[c])
                for c in range(CLASSES)
                if 0 < recall_C[c] < 1
            ]
            yield _mean(each)


def cover_shares(
    interval: Callable[[float, int], tuple[float, float]], n: int, truths: Iterable[float]
) -> list[float]:
    """Return the exact coverage of an interval of a share of `n` images, for each true share."""
    hits = np.arange(n + 1)
    low_N, high_N = np.array([interval(k / n, n) for k in hits]).T
    return [float(binom.pmf(hits, n, truth)[(low_N <= truth) & (truth <= high_N)].sum()) for truth in truths]


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


def cover_groups(runs: int) -> Iterable[Row]:
    """Yield the coverage of accuracy and macro F1 with groups as units, and as if images were independent."""
    for scenario in ("svm", "good"):
        for spread in (0.3, 1.0):
            for groups in (6, 10, 20):
                for even in (True, False):
                    rng = np.random.default_rng(3)
                    drawn = draw_grouped(scenario, groups, spread, runs, rng, even=even)
                    name = f"{scenario}, {groups} {'even' if even else 'uneven'}, spread {spread:g}"
                    yield from _cover_grouped(
                        name, drawn.y_RN, drawn.predicted_RN, drawn.group_RN, drawn.shares_CC
                    )


def _cover_grouped(
    name: str, y_RN: Labels, predicted_RN: Labels, group_RN: Labels, shares_CC: Floats
) -> Iterable[Row]:
    accuracy: Intervals = {"groups": [], "images": []}
    f1: Intervals = {"groups": [], "images": []}
    for y_N, predicted_N, group_N in zip(y_RN, predicted_RN, group_RN, strict=True):
        for kind, groups_N in (("groups", group_N), ("images", None)):
            units = Units.of(len(y_N), groups_N)
            accuracy[kind].append(share_interval(y_N == predicted_N, units))
            f1[kind].append(macro_f1_interval(y_N, predicted_N, CLASSES, units).ci95)
    for kind in accuracy:
        yield _row(name, kind, "accuracy", accuracy[kind], true_accuracy(shares_CC))
        yield _row(name, kind, "macro F1", f1[kind], true_f1(shares_CC))


def _row(scenario: str, model: str, score: str, intervals: list[tuple[float, float]], truth: float) -> Row:
    low_R, high_R = np.array(intervals).T
    above, below = float((low_R > truth + 1e-12).mean()), float((high_R < truth - 1e-12).mean())
    return Row(scenario, model, score, 1 - above - below, above, below, float((high_R - low_R).mean()))


def _mean(rows: list[Row]) -> Row:
    values = np.mean([(row.covered, row.above, row.below, row.width) for row in rows], axis=0)
    return Row(rows[0].scenario, rows[0].model, rows[0].score, *map(float, values))


def _table(title: str, rows: list[Row]) -> Table:
    columns, lines = ["scenario", "class counts or unit"], []
    for score in dict.fromkeys(row.score for row in rows):
        columns += [f" {score}: covered", " above/below", " width"]
    for scenario, model in dict.fromkeys((row.scenario, row.model) for row in rows):
        cells = []
        for row in rows:
            if (row.scenario, row.model) == (scenario, model):
                cells += [f"{row.covered:.1%}", f"{row.above:.1%}/{row.below:.1%}", f"{row.width:.3f}"]
        lines.append([scenario, model, *cells])
    return Table(title, columns, lines)


def _share_table() -> Table:
    lines = []
    for name, interval in (("Jeffreys", jeffreys), ("Wilson", partial(wilson, critical=NORMAL_QUANTILE))):
        for n in (4, 16, 60, int(SIZES.sum())):
            for low, high in ((0.5, 0.95), (0.95, 0.99)):
                covered = cover_shares(interval, n, np.linspace(low, high, 401))
                cells = [f"{value:.1%}" for value in (min(covered), np.mean(covered), max(covered))]
                lines.append([name, str(n), f"{low:g}-{high:g}", *cells])
    columns = ["interval", " images", "true share", " covered, least", " mean", " most"]
    return Table("A share, exactly", columns, lines)


def _alarm_table(rates: Rates) -> Table:
    rows = [
        [rule, score, str(alarms), f"{alarms / rates.comparisons:.1%}"]
        for (rule, score), alarms in sorted(rates.alarms.items())
    ]
    title = f"False alarms in {rates.comparisons} comparisons of equal methods"
    return Table(title, ["rule", "score", " alarms", " rate"], rows)


if __name__ == "__main__":
    main()
