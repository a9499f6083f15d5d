"""Learning curves: the validation score of every setting of fine-tuning in the course of its training."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from transfer.evaluation.results import Result
from transfer.report.html.svg import (
    WIDTH,
    Axis,
    dot,
    drawing,
    horizontal_axis,
    path,
    span,
    text,
    vertical_axis,
)
from transfer.report.wording import SCORES, format_params


def curves(result: Result) -> dict[str, Markup]:
    """Draw the learning curves of each method, by name; methods without any are left out."""
    select = result.comparison["select"]
    return {
        method["name"]: drawn for method in result.methods if (drawn := _draw(method, select)) is not None
    }


def _draw(method: dict[str, Any], select: str) -> Markup | None:
    rows = [row for row in method["sweep"] if row.get("curve")]
    if not rows:
        return None
    chosen = [row for row in rows if row["params"] == method["best_params"]]
    low, high = span([score for row in rows for score in row["curve"][select]])
    x = Axis(0, max(row["curve"]["step"][-1] for row in rows), 60, WIDTH - 30)
    y = Axis(max(0, low), min(1, high), 190, 12)
    parts = [
        horizontal_axis(x, 12, 190, lambda v: f"{v:g}"),
        vertical_axis(y, 60, WIDTH - 30, lambda v: f"{v:.2f}"),
    ]
    for row in [*(row for row in rows if row not in chosen), *chosen]:
        own = "chosen" if row in chosen else "other"
        setting = format_params({k: v for k, v in row["params"].items() if k != "steps"})
        points = list(zip(row["curve"]["step"], row["curve"][select], row["curve"]["loss"], strict=True))
        parts.append(path([(x(step), y(score)) for step, score, _ in points], own))
        for step, score, loss in points:
            title = f"{setting}, step {step:g}: {score:.3f}"
            title += "" if loss is None else f", cross entropy {loss:.3g}"
            parts.append(dot(x(step), y(score), title, 4 if row in chosen else 2.5, class_=own))
    parts.append(text(WIDTH - 30, 222, "step", "end"))
    label = f"{SCORES[select]} of {method['name']} on validation in the course of training"
    return drawing(230, label, *parts)
