"""The lab report's three tables beside a result's: `python -m bench.reporting.lab RESULT docs/lab.md`.

Writes the tables between two markers of the page, and leaves the rest of it as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.reporting import status
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.heads.registry import FINE_TUNING, SVM_KIND
from transfer.report.lab import LAB_FIGURES, format_lab_seconds
from transfer.report.rendering import Table, markdown
from transfer.report.wording import format_params, format_seconds, format_share
from transfer.system.errors import UserError

BEGIN, END = "<!-- begin tables -->\n", "<!-- end tables -->\n"

# Accuracy and macro F1 by learning rate.
TABLE_1 = {1e-5: (0.53, 0.11), 1e-4: (0.73, 0.18), 1e-3: (0.78, 0.35), 1e-2: (0.71, 0.34)}
# Accuracy of each class: SVM, fine-tuning.
TABLE_3 = {
    "Alilaguna": (1.00, 0.43),
    "Ambulanza": (0.82, 0.51),
    "Barchino": (0.25, 0.30),
    "Gondola": (0.67, 0.00),
    "Lanciafino10m": (0.00, 0.00),
    "Motobarca": (0.31, 0.05),
    "Motopontonerettangolare": (1.00, 0.40),
    "MotoscafoACTV": (0.00, 0.00),
    "Mototopo": (0.99, 0.75),
    "Patanella": (0.84, 0.43),
    "Polizia": (0.13, 0.29),
    "Raccoltarifiuti": (0.74, 0.43),
    "Sandoloaremi": (0.00, 0.00),
    "Topa": (0.00, 0.00),
    "VaporettoACTV": (1.00, 0.98),
    "Water": (0.97, 0.94),
}


def tables(result: Result) -> str:
    """Return the three tables as Markdown, the report's figures beside the result's.

    Parameters
    ----------
    result : Result
        Of a run with the methods fc-lab, fc, svm-lab and svm.

    Raises
    ------
    UserError
        If one of these methods is not in the result.
    """
    wanted = ("fc-lab", "fc", "svm-lab", "svm")
    found = {method["name"]: method for method in result.methods}
    if missing := [name for name in wanted if name not in found]:
        raise UserError(f"the result has no {missing[0]}; the tables need the methods {', '.join(wanted)}")
    figures, shown = ("accuracy", "macro F1", "runtime"), ("svm-lab", "fc-lab", "svm", "fc")
    rates = {row["params"]["lr"]: row["valid"] for row in found["fc-lab"]["sweep"]}
    table_1 = [
        [f"{lr:g}", *_scores(*lab), *_scores(own["accuracy"], own["macro_f1"])]
        for lr, lab in TABLE_1.items()
        if (own := rates.get(lr))
    ]
    table_2 = [
        [title, *_lab(kind), *_method(found[name])]
        for title, kind, name in (
            ("fine-tuning, the lab's protocol", FINE_TUNING, "fc-lab"),
            ("fine-tuning, trained out", None, "fc"),
            ("SVM, the lab's protocol", SVM_KIND, "svm-lab"),
            ("SVM, searched", None, "svm"),
        )
    ]
    recalls = {
        name: {row["class"]: row["recall"] for row in found[name]["test"]["per_class"]} for name in wanted
    }
    support = {row["class"]: row["support"] for row in found["svm"]["test"]["per_class"]}
    table_3 = [
        [name, *_scores(*lab), str(support[name])] + [format_share(recalls[way][name]) for way in shown]
        for name, lab in TABLE_3.items()
        if name in support
    ]
    drawn = (
        Table(
            "Table 1: fine-tuning by learning rate, ten epochs (ours: on the validation split)",
            ["learning rate", " lab: accuracy", " macro F1", " ours: accuracy", " macro F1"],
            table_1,
        ),
        Table(
            "Table 2: both methods on the test split (runtime: ours of the whole search on cached features)",
            ["method", *(f" {who}: {name}" for who in ("lab", "ours") for name in figures), "ours: setting"],
            table_2,
        ),
        Table(
            "Table 3: accuracy of each class (recall) on the test split",
            [
                "class",
                " lab: SVM",
                " lab: fine-tuning",
                " ours: test images",
                *(f" ours: {name}" for name in shown),
            ],
            table_3,
        ),
    )
    machine = f"{result.environment['processor']}, {result.environment['usable_cores']} cores"
    heading = (
        f"Ours: `{result.data['name']}`, {result.data['splits']['test']['images']} test images, "
        f"{result.backbone['name']} with {result.backbone['weights']} weights, {result.engine['name']} "
        f"{result.engine['precision']}, {machine}, {result.created[:10]}."
    )
    return "\n\n".join([heading, *map(markdown, drawn)])


def replace(page: str, text: str) -> str:
    """Return a page with `text` between its markers; raises `UserError` if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"the page has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{text}\n\n{END}{after}"


def _lab(kind: str | None) -> list[str]:
    if kind is None:
        return ["-"] * 3
    own = LAB_FIGURES[kind]
    return [*_scores(own["accuracy"], own["macro_f1"]), format_lab_seconds(kind)]


def _method(method: dict[str, Any]) -> list[str]:
    test = method["test"]
    return [
        *_scores(test["accuracy"], test["macro_f1"]),
        format_seconds(method["fit_s"]),
        format_params(method["best_params"]),
    ]


def _scores(*scores: float) -> list[str]:
    return [f"{score:.2f}" for score in scores]


def main() -> int:
    """Write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.reporting.lab", description=__doc__)
    parser.add_argument("result", type=Path, metavar="RESULT", help="a result.json of `transfer run`")
    parser.add_argument("page", type=Path, metavar="PAGE", help="a page with the two markers")
    args = parser.parse_args()
    text = tables(results.load(args.result))
    args.page.write_text(replace(args.page.read_text("utf-8"), text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
