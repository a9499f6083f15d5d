"""Logistic regression over five C against scikit-learn's, with objectives: `python -m bench.studies.logistic`.

The sets are made up: one like the lab's, and two of many classes. scikit-learn's default tolerance ends far above the
optimum where the penalty is weak, so objectives stand beside the seconds. scikit-learn is timed with float32 features
at its default tolerance, and with float64 features at a smaller one, where float32 would stop early.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from typing import Any

import numpy as np
from rich.console import Console
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench import features, grids
from bench.busy import OtherCores, report_busy
from bench.references import one_by_one
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.report.rendering import Table, draw
from transfer.system import hardware

# Rows, features and classes of each set, and the side of the matrices that measure the processor's rate.
SETS = {"lab": (3474, 2048, 16), "300": (9000, 512, 300), "1000": (10000, 512, 1000)}
SIDE = 2048
TIGHT = 1e-7


def main() -> None:
    """Measure in turn, print a table for each set."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.logistic", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="sets of features (all)")
    parser.add_argument("--rounds", type=int, default=3, help="of each way (3)")
    parser.add_argument("--tight", action="store_true", help="time the smaller tolerance too, once: minutes")
    args = parser.parse_args()
    hardware.sleep_at_barriers()
    warnings.simplefilter("ignore")
    console, others = Console(highlight=False), OtherCores()
    for name in args.sets:
        measure(name, args.rounds, args.tight, console)
    report_busy(others.mean(), hardware.usable_cores())


def measure(name: str, rounds: int, tight: bool, console: Console) -> None:
    """Measure one set and print what was found."""
    n_rows, width, classes = SETS[name]
    rows = features.synthetic(n_rows, classes, classes, width=width, classes=classes)
    x_ND = StandardScaler().fit_transform(rows.x_train)
    y_N = np.unique(rows.y_train, return_inverse=True)[1]
    product = np.ones((SIDE, SIDE), np.float32)
    fitted: dict[str, list[Any]] = {}

    def ours() -> None:
        search = grids.search("logreg").fit(x_ND, y_N, x_ND[:classes], y_N[:classes])
        fitted["logreg"] = [search._estimator(s) for s in range(len(one_by_one.C))]

    def loop(label: str, x: Any, tol: float) -> None:
        fitted[label] = [LogisticRegression(C=C, tol=tol, max_iter=10_000).fit(x, y_N) for C in one_by_one.C]

    default, tighter = "LogisticRegression", f"LogisticRegression, float64, tol={TIGHT:g}"
    ways = {
        "logreg": Way(call=ours),
        default: Way(call=lambda: loop(default, x_ND, 1e-4), warm_up=lambda: None),
        "product": Way(call=lambda: product @ product),
    }
    seconds = time_in_turn(ways, rounds)
    if tight:
        way = Way(call=lambda: loop(tighter, x_ND.astype(np.float64), TIGHT))
        seconds |= time_in_turn({tighter: way}, 1, warm_up=False)
    median = {label: statistics.median(raw) for label, raw in seconds.items()}
    values = {
        label: [objective(x_ND, y_N, one, C) for one, C in zip(heads, one_by_one.C, strict=True)]
        for label, heads in fitted.items()
    }
    best = np.min(list(values.values()), axis=0)
    table = []
    for label, heads in fitted.items():
        ratio = f"{median[label]:.2f} s, {median[label] / median['logreg']:.1f}x"
        for i, (head, C) in enumerate(zip(heads, one_by_one.C, strict=True)):
            above = f"{values[label][i] / best[i] - 1:.1e}"
            table.append(
                [label if i == 0 else "", ratio if i == 0 else "", f"{C:g}", f"{steps(head)}", above]
            )
    title = f"{len(x_ND):,} x {width:,} features, {classes:,} classes, five C"
    draw(
        Table(title, ["way", "seconds, of ours", " C", " steps", " above the least objective"], table),
        console,
    )
    flop = 4 * x_ND.size * classes * sum(steps(head) for head in fitted["logreg"])
    share = flop / median["logreg"] / (2 * SIDE**3 / median["product"])
    console.print(
        f"logreg: values and slopes are {share:.2f} of the rate of a product of {SIDE}x{SIDE} matrices"
    )


def steps(head: Any) -> int:
    """Return the number of iterations of a fitted layer."""
    return int(np.max(head.n_iter_))


def objective(x_ND: Any, y_N: Any, head: Any, C: float) -> float:
    """Return in float64 what both minimise."""
    coef_CD = head.coef_.astype(np.float64)
    logits_NC = x_ND @ coef_CD.T + head.intercept_
    loss_N = logsumexp(logits_NC, axis=1) - logits_NC[np.arange(len(y_N)), y_N]
    return float(C * loss_N.sum() + (coef_CD**2).sum() / 2)


if __name__ == "__main__":
    sys.exit(exit_status(main))
