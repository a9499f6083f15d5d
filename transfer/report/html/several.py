"""Several results as one self-contained page of HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from transfer.report import frontier, side_by_side
from transfer.report.differences import conclude, find_differences, label
from transfer.report.html import several_charts as charts
from transfer.report.html.templates import environment
from transfer.report.runs import Run
from transfer.report.same_images import notes
from transfer.report.wording import SCORES, format_share

# Results that the title of the page names.
NAMED = 4
# Columns of a table that may be as wide as it is.
WHOLE = 10_000


def render(runs: Sequence[Run], remarks: Sequence[str] = ()) -> str:
    """Write the page of several results.

    Parameters
    ----------
    runs : sequence of Run
    remarks : sequence of str
        On what was not compared.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.
    """
    select = runs[0].result.comparison["select"]
    found, points = find_differences(runs), frontier.find_frontier(runs)
    every = find_differences(runs, every=True) if points else []
    page: str = (
        environment()
        .get_template("several.html")
        .render(
            runs=runs,
            title=", ".join(run.name for run in runs) if len(runs) <= NAMED else f"{len(runs)} results",
            heading=side_by_side.heading(runs),
            sentences=conclude(runs, found),
            notes=[*notes(runs), *remarks],
            frontier=charts.frontier(runs, points, select) if points else None,
            frontier_table=side_by_side.frontier(points, WHOLE) if points else None,
            frontier_sentences=frontier.sentences(points),
            scores=side_by_side.scores_in_full(runs),
            times=[
                (words, drawn)
                for words, draw in (
                    ("the seconds that a run with an empty store takes", charts.score_against_time),
                    ("images per second", charts.score_against_speed),
                )
                if (drawn := draw(runs, select))
            ],
            select=SCORES[select],
            methods=[(words, charts.methods(runs, score)) for score, words in SCORES.items()],
            differences=[
                (words, charts.differences(found, score)) for score, words in SCORES.items() if found
            ],
            difference_table=side_by_side.differences(found, WHOLE) if found else None,
            pair_table=side_by_side.differences(every, WHOLE, "Each pair")
            if len(every) > len(found)
            else None,
            classes=class_rows(runs),
            columns=[label(run) for run in runs],
            settings=[
                (
                    run.name,
                    json.dumps(
                        {"config": run.result.config, "environment": run.result.environment}, indent=1
                    ),
                )
                for run in runs
            ],
        )
    )
    return page


def class_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the recall of every class by the best method of each run.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    list of dict
        `class`; `images`, of the test split, None where runs differ in that for any class; `recalls`, a list of
        `(text, value)`, with the number of images where they differ; `apart`, the largest minus the least, as text and
        value.
    """
    tables = [{row["class"]: row for row in run.best["test"]["per_class"]} for run in runs]
    classes = list(dict.fromkeys(name for table in tables for name in table))
    supports = [[table[name]["support"] if name in table else 0 for table in tables] for name in classes]
    differ = any(len(set(own)) > 1 for own in supports)
    rows = []
    for name, support in zip(classes, supports, strict=True):
        recalls = [table.get(name, {}).get("recall") for table in tables]
        known = [value for value in recalls if value is not None]
        apart = max(known) - min(known) if known else 0.0
        rows.append(
            {
                "class": name,
                "images": None if differ else support[0],
                "recalls": [
                    (
                        f"{format_share(value)} of {count:,}" if differ and count else format_share(value),
                        value,
                    )
                    for value, count in zip(recalls, support, strict=True)
                ],
                "apart": (format_share(apart), apart),
            }
        )
    return rows
