"""The templates of the pages, with the style sheet, the script and the filters that all have."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from transfer.report.rendering import mark_commands
from transfer.report.wording import format_params, format_score, format_seconds, format_share
from transfer.system.text import printable


def charts_style() -> str:
    """Return the part of the style sheet that drawings need."""
    return (files("transfer.report.html") / "charts.css").read_text("utf-8")


def _sentence(text: str) -> Markup:
    """Return a sentence with its commands as code."""
    parts = [(Markup("<code>{}</code>" if own else "{}"), part) for own, part in mark_commands(text)]
    return Markup("").join(form.format(printable(part)) for form, part in parts)


@cache
def environment() -> Environment:
    """Return the environment of the templates in this folder; those of other folders may import its macros."""
    folder = files("transfer.report.html")
    made = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "sentence": _sentence,
        "printable": printable,
        "printable_lines": lambda text: "\n".join(map(printable, text.split("\n"))),
        "seconds": format_seconds,
        "share": format_share,
        "params": format_params,
    }
    made.globals |= {
        "format_score": format_score,
        "style": Markup(charts_style() + (folder / "style.css").read_text("utf-8")),
        "script": Markup((folder / "script.js").read_text("utf-8")),
    }
    return made
