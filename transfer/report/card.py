"""A model card: what an exported model was made from, how good it is, and how its file was checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from transfer.config import SCORE_NAMES
from transfer.evaluation.results import Result
from transfer.report.rendering import Table, markdown
from transfer.report.wording import DECODED, RESIZED, describe_weights, format_score, format_share
from transfer.system.text import escape

Row = tuple[str, str]


def card(metadata: Mapping[str, str], facts: Sequence[Row], result: Result | None) -> str:
    """Return a model card as Markdown.

    Parameters
    ----------
    metadata : mapping of str to str
        As the exported file has it.
    facts : sequence of (str, str)
        Further rows of the first table: a name, and what is known.
    result : Result, optional
        Of the run that made the model: its images and scores.

    Returns
    -------
    str
    """
    classes = json.loads(metadata["classes"])
    size, steps = metadata["input_size"], metadata.get("transform")
    layers = f", layers {names}" if (names := metadata.get("layers")) else ""
    resized = f"{RESIZED[metadata.get('resize', 'stretch')]} to"
    size = (
        f"{resized} {size}" if metadata["any_size"] == "true" else f"{size} (others: {resized} it beforehand)"
    )
    rows = [
        ("input", f"images (N, 3, height, width) uint8, RGB, {size}"),
        ("output", "label (N,) int64, an index into the classes; probabilities (N, classes) float32"),
        ("network", f"{metadata['backbone']}, {describe_weights(metadata)}, frozen{layers}"),
        ("head", metadata["method"] + (f" on features by {steps}" if steps else "")),
        ("precision", f"fp32; the features that the head was fitted on: {metadata['precision']}"),
        ("decoder", f"of those features: {DECODED[metadata.get('decoder', 'pillow')]}"),
        *facts,
    ]
    parts = [
        f"# Model card: {escape(metadata['data'] or 'exported model')}",
        markdown(Table("File", ("what", "value"), rows)),
        f"**Classes**, in their order: {escape(', '.join(classes))}",
    ]
    if result:
        parts += [_data(result), _scores(result, metadata["method"])]
    return "\n\n".join(parts) + "\n"


def _data(result: Result) -> str:
    data = result.data
    counts = ", ".join(f"{part['images']:,} {split}" for split, part in data["splits"].items())
    mark = f"; fingerprint {data['fingerprint']}" if "fingerprint" in data else ""
    return "**Data**: " + escape(f"{data['name']}, {counts} images{mark}; run on {result.created}")


def _scores(result: Result, method: str) -> str:
    """Return the scores of the method, of all classes together and of each."""
    own = result.method(method)
    rows = [
        (split, *(format_score(own[split], score) for score in SCORE_NAMES)) for split in ("valid", "test")
    ]
    title = "Scores with 95 % intervals"
    text = markdown(Table(title, ("split", " accuracy", " macro F1"), rows))
    names = result.data["classes"]
    by_class = [
        (
            str(one.get("class", name)),
            f"{one['support']}",
            *(format_share(one[key]) for key in ("recall", "precision", "f1")),
        )
        for name, one in zip(names, own["test"].get("per_class") or [], strict=False)
    ]
    if by_class:
        columns = ("class", " images", " recall", " precision", " F1")
        text += "\n\n" + markdown(Table("Test split by class", columns, by_class))
    return text
