"""A model card: what an exported model is, made from what, how good, and how its file was checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from transfer.evaluation.results import Result
from transfer.report.rendering import Table, markdown
from transfer.system.text import escaped


def card(
    metadata: Mapping[str, str],
    facts: Sequence[tuple[str, str]],
    scores: Mapping[str, Mapping[str, float]],
    result: Result | None,
) -> str:
    """Return a model card as Markdown.

    Parameters
    ----------
    metadata : mapping of str to str
        As the exported file has it.
    facts : sequence of (str, str)
        Further rows of the first table: what, and what of it.
    scores : mapping
        By split, `accuracy` and `macro_f1` of the method, for where there is no result.
    result : Result, optional
        Of the run that made the model.

    Returns
    -------
    str
    """
