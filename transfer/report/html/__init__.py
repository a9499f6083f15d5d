"""A result as one self-contained page of HTML."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from transfer.config import BUILT_IN
from transfer.evaluation.results import Result
from transfer.report.answers import Answers
from transfer.report.html import charts, pictures
from transfer.report.html.advice import advise
from transfer.report.html.curves import curves
from transfer.report.html.templates import environment
from transfer.report.notes import describe_suspects, notes
from transfer.report.tables import tables
from transfer.report.verdict import champions, sentences
from transfer.report.wording import SCORES
from transfer.system.text import printable

# A matrix of more classes is a list of its largest entries.
MATRIX_CLASSES = 40


def render(
    result: Result,
    heading: str,
    answers: Answers | None = None,
    thumbnail: Callable[[str], bytes | None] = lambda file: None,
) -> str:
    """Write the page of a result.

    Parameters
    ----------
    result : Result
    heading : str
        What was run on what, in one line.
    answers : Answers, optional
        What every method says about every test image; without them no pictures are shown.
    thumbnail : callable
        Given the file of an image as the answers name it, the bytes of a small JPEG, or None where there is none.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.
    """
    first, second = [*(method["name"] for method in champions(result)), None][:2]
    answers = answers or Answers()
    chosen = pictures.lists(answers, first, second) if answers.files else []
    near = pictures.near_duplicates(result)
    suspects = pictures.suspects(result)
    wanted = pictures.files_to_embed(answers, chosen, suspects, near, _order(first, second, answers))
    thumbnails = pictures.embed(wanted, thumbnail)
    page: str = (
        environment()
        .get_template("template.html")
        .render(
            result=result,
            heading=heading,
            sentences=sentences(result),
            notes=notes(result),
            advice=advise(result),
            differences=charts.differences(result),
            lab="; hollow: the lab report, other data" if result.data["name"] == BUILT_IN else "",
            methods=[(SCORES[score], charts.score_against_time(result, score)) for score in SCORES],
            splits=[(SCORES[score], drawn) for score in SCORES if (drawn := charts.splits(result, score))],
            ladder=charts.ladder(result),
            searches=_searches(result),
            time=charts.time(result),
            totals=charts.cold_and_warm(result),
            engines=charts.engines(result),
            speed=describe_speed(result),
            tables=tables(result),
            answers=answers,
            lists=chosen,
            suspects=suspects,
            suspects_note=describe_suspects(result),
            near=near,
            thumbnails=thumbnails,
            data=_data(result, answers, thumbnails),
            settings=json.dumps({"config": result.config, "environment": result.environment}, indent=1),
        )
    )
    return page


def _searches(result: Result) -> list[tuple[str, Markup | None, Markup | None]]:
    """Return the methods with a drawing of their settings or of their learning curves, and these."""
    drawn, learned = dict(charts.sweeps(result)), curves(result)
    names = [method["name"] for method in result.methods]
    return [(name, drawn.get(name), learned.get(name)) for name in names if name in drawn or name in learned]


def describe_speed(result: Result) -> str | None:
    """Compare the rate of the extraction with the largest rate of matrix products that was measured in the same run."""
    features, engine = result.features, result.engine
    flops, limit, speed = (
        features.get(key) for key in ("flops_per_image", "matmul_flops_per_s", "images_per_s")
    )
    if not flops or not speed:
        return None
    words = (
        f"{speed:.1f} images/s, from files to kept features, at {flops / 1e9:.1f} GFLOP an image are "
        f"{speed * flops / 1e12:.2f} TFLOP/s"
    )
    if limit:
        more = ""
        if speed * flops > limit:
            more = "; above 100 %: convolutions can take fewer operations, and the machine may have been busier then"
        words += (
            f": {speed * flops / limit:.0%} of the largest rate of matrix products measured in this run "
            f"({limit / 1e12:.2f} TFLOP/s in {engine['precision']} on {engine['device']}, {engine['threads']} "
            f"threads{more})"
        )
    return f"{words}. An addition and a multiplication are two operations."


def _order(first: str, second: str | None, answers: Answers) -> list[str]:
    """Return the methods whose mistakes get pictures, in turn."""
    return list(
        dict.fromkeys(name for name in (first, second, *answers.predicted) if name in answers.predicted)
    )


def _data(result: Result, answers: Answers, thumbnails: dict[str, str]) -> Markup:
    """Return what the script of the page reads, as JSON that is safe inside a script element."""
    classes = {name: i for i, name in enumerate(result.data["classes"])}
    content: dict[str, Any] = {
        "classes": [printable(name) for name in classes],
        "confusion": {method["name"]: method["test"].get("confusion") for method in result.methods},
        "matrix_classes": MATRIX_CLASSES,
        "files": [printable(file) for file in answers.files],
        "labels": [classes[label] for label in answers.labels],
        "predicted": {
            name: [classes[label] for label in labels] for name, labels in answers.predicted.items()
        },
        "thumbnails": {i: thumbnails[file] for i, file in enumerate(answers.files) if file in thumbnails},
    }
    text = json.dumps(content, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
