"""Notes that a reader needs to read the tables correctly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from transfer.config import BUILT_IN, UNCACHED
from transfer.evaluation.results import Result, are_given, skipped_count
from transfer.report.feature_notes import list_feature_notes
from transfer.report.lab import describe_lab
from transfer.report.verdict import find_pair
from transfer.report.wording import describe_groups_option, format_params, format_points
from transfer.system.text import list_first

# Classes with fewer test images than this say next to nothing: one image is 20 points of recall.
FEW_IMAGES = 5
FEW_TEST_IMAGES = 50
ADJECTIVES = {"train": "training", "valid": "validation", "test": "test"}
MEANING_OF_COPIES = {
    "train-valid": "what is chosen on them is chosen by memory",
    "train-test": "the scores flatter every method",
    "valid-test": "the choice has seen them",
}


def notes(result: Result) -> list[str]:
    """Return all notes, those on the data first.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of str
        A line each, with commands in backquotes.
    """
    return [
        *_on_data(result),
        *_on_groups(result),
        *_on_methods(result),
        *list_feature_notes(result),
        _on_reading(result),
    ]


def describe_suspects(result: Result) -> str | None:
    """Say for how many images a model contradicts the label; None where the result does not know."""
    found = result.comparison.get("suspects")
    if not found:
        return None
    if not found["images"]:
        return f"not checked: {found['of']:,} images take too long, or no class has images in two folds"
    first = found["first"][0] if found["first"] else None
    most = f", most of all {first['file']} ({first['label']}, or {first['other']}?)" if first else ""
    look = "looks" if found["contradicted"] == 1 else "look"
    return (
        f"of {found['images']:,} images checked, {found['contradicted']:,} {look} more like another class "
        f"to ridge regression fitted to the other images{most}; that may be a wrong label, or a hard image"
    )


def _on_data(result: Result) -> Iterator[str]:
    data = result.data
    if data["drawn"]:
        yield f"splits that the data does not have were drawn, stratified and seeded: {', '.join(data['drawn'])}"
    if empty := data.get("empty_classes"):
        yield f"class folders without an image are no classes here: {list_first(empty)}"
    support = data["splits"]["test"]["per_class"]
    if (images := sum(support)) < FEW_TEST_IMAGES:
        yield f"{images} test images are few: only large differences between methods can show"
    few = [
        f"{name} {count}" for name, count in zip(data["classes"], support, strict=True) if count < FEW_IMAGES
    ]
    if few:
        yield (
            f"too few test images to say anything about a class by itself (under {FEW_IMAGES}): {list_first(few)}"
        )
    yield from _on_copies(data)
    others = data["others"]
    if others["count"]:
        files = "other file was" if others["count"] == 1 else "other files were"
        more = " ..." if others["count"] > len(others["first"]) else ""
        yield f"{others['count']} {files} left alone: {', '.join(others['first'])}{more}"
    if data["skipped"]:
        first_bad, more_bad = data["skipped"][0], skipped_count(result) - 1
        rest = f" and {more_bad} more" if more_bad else ""
        yield f"images were skipped: {first_bad['name']} ({first_bad['reason']}){rest}"


def _on_copies(data: dict[str, Any]) -> Iterator[str]:
    """Yield what files of the same bytes mean for the scores."""
    of_another_class = data.get("copies_of_another_class") or {}
    for pair, count in (data.get("copies") or {"train-test": data["test_in_train"]}).items():
        first, second = pair.split("-")
        wrong = of_another_class.get(pair, 0)
        if count > wrong:
            yield f"{_are_too(count - wrong, second, first)} too: {MEANING_OF_COPIES[pair]}"
        if wrong:
            yield (
                f"{_are_too(wrong, second, first)} of another class: one of the two labels is wrong, and "
                + ("the scores suffer" if second == "test" else "the choice of settings suffers")
            )
    mixed = data.get("in_two_classes") or {"images": 0}
    if count := mixed["images"]:
        lie = "image lies" if count == 1 else "images lie"
        yield f"{count} {lie} in two classes: {list_first(mixed['classes'])}; one of the labels is wrong"
    elif data.get("contradictions") and "in_two_classes" not in data:
        yield f"{data['contradictions']} training images lie in the folders of two classes, byte for byte"
    for split, count in (data.get("copies_within") or {}).items():
        if count:
            are, their = ("image is a copy", "its") if count == 1 else ("images are copies", "their")
            weigh = "score" if split == "test" else "choice" if split == "valid" else "training"
            yield (
                f"{count} {ADJECTIVES[split]} {are} of another one of {their} class: in the {weigh} such images count "
                "more than once"
            )


def _are_too(count: int, second: str, first: str) -> str:
    """State how many images of one split are in another too."""
    if count == 1:
        return f"1 {ADJECTIVES[second]} image is a {ADJECTIVES[first]} image"
    return f"{count} {ADJECTIVES[second]} images are {ADJECTIVES[first]} images"


def _on_groups(result: Result) -> Iterator[str]:
    groups = result.data.get("groups") or {"suggestion": None, "across_splits": []}
    near = [one for one in result.data.get("near_duplicates") or [] if one["found"] and one["pairs"]]
    suggestion = groups["suggestion"]
    for one in near:
        first, second = one["pairs"][0]
        keep = f"`{describe_groups_option(groups, moves=one['second'] in result.data['drawn'])}` keeps"
        if groups.get("count"):
            keep = "`--repeats groups` keeps" if groups["across_splits"] else "wider groups keep"
        elif are_given(result) and not suggestion:  # REGEX is for names of files
            keep = "groups of rows (an array, or a column that `--groups` names) keep"
        yield (
            f"{one['found']} of {one['compared']} {one['second']} images have a near-duplicate among the "
            f"{one['first']} images by their features (nearest: {first} and {second}): scores may flatter; "
            f"{keep} such images together"
        )
    if suggestion and not near:
        yield (
            f"the names look like moments in time or frames ({suggestion['count']} groups): whether the answer holds "
            f"on another one is shown by `{describe_groups_option(groups, moves=False)}`"
        )
    if groups.get("count") and result.methods[0]["test"]["independent"]["unit"] == "image":
        yield (
            "all test images are of one group: their intervals and tests take images as independent, and say "
            "nothing about another group"
        )
    for overlap in groups["across_splits"]:
        yield (
            f"{overlap['groups']} groups lie in both {overlap['first']} and {overlap['second']} "
            f"({overlap['images']} {overlap['second']} images): the split is the folder's own and was kept; "
            "`--repeats groups` compares on splits that keep groups apart"
        )


def _on_methods(result: Result) -> Iterator[str]:
    unasked = result.config.get("repeats", 0) is None
    repeated = result.comparison.get("repeats") or result.comparison.get("not_repeated")
    if unasked and "test" in result.data["drawn"] and not repeated:
        yield (
            "the comparison is made on one split alone: `--repeats 10` shows how much the split decides, in about ten "
            "times the time"
        )
    yield from _on_one_split(result)
    for name, reason in result.comparison.get("left_out", {}).items():
        yield f"{name} is left out: {reason}"
    if reason := result.comparison.get("not_repeated"):
        yield f"nothing is repeated on other splits: {reason}"
    for name, reason in (result.comparison.get("repeats") or {}).get("left_out", {}).items():
        yield f"{name} is left out of the other splits: {reason}"
    yield from _on_untrained(result)
    yield from _on_batch_norm(result)
    missed = []
    for method in result.methods:
        present = [row for row in method["test"]["per_class"] if row["support"]]
        if count := sum(row["recall"] == 0 for row in present):
            missed.append(f"{method['name']} {count}")
    if missed:
        yield f"classes, of {len(present)} in the test split, of which a method finds no image: {', '.join(missed)}"
    for method in result.methods:
        steps = [row["params"].get("steps") for row in method["sweep"]]
        if dropped := sum(n < max(steps) for n in steps if n is not None):
            yield (
                f"{method['name']}: {dropped} of {len(steps)} settings were dropped on the way by their validation "
                "loss (those of fewer steps); among the others the score chooses"
            )
        for axis, values in (method.get("extended") or {}).items():
            if values:
                numbers = ", ".join(f"{value:g}" for value in values)
                yield f"{method['name']}: the best {axis} was at an edge of its grid; tried beyond it too: {numbers}"
        if edges := method.get("at_edge"):
            yield (
                f"{method['name']}: the best {' and '.join(edges)} is at an end of its grid "
                f"({format_params(method['best_params'])}); its optimum may lie beyond"
            )


def _on_one_split(result: Result) -> Iterator[str]:
    """Yield which methods take too long for the repeats that are made unasked."""
    repeated = result.comparison.get("repeats")
    if not repeated or result.config.get("repeats", 0) is not None:
        return
    tried = {one["name"] for one in repeated["methods"]} | repeated.get("left_out", {}).keys()
    if lone := [one for one in result.methods if one["name"] not in tried]:
        minutes = math.ceil(repeated["n"] * sum(one["fit_s"] for one in lone) / 60)
        yield (
            f"{', '.join(one['name'] for one in lone)}: compared on this split alone; `--repeats {repeated['n']}` "
            f"trains on other splits too, which takes about {minutes:,} min"
        )


def _on_untrained(result: Result) -> Iterator[str]:
    """Yield which groups have images of classes that no other group has."""
    repeated = result.comparison.get("repeats") or {}
    names = repeated.get("names", [])  # of groups that are left out; other splits have none
    counts = zip(names, repeated.get("untrained", []), strict=False)
    if alone := [f"{name} ({count:,} images)" for name, count in counts if count]:
        yield (
            "groups with all training images of a class, which no method can recognise while the group is left out: "
            f"{list_first(alone)}; the scores and differences on these splits count them as wrong"
        )


def _on_batch_norm(result: Result) -> Iterator[str]:
    """Yield how `fc-lab-uncached` differs from `fc-lab`."""
    pair = find_pair(result.comparison["pairs"], UNCACHED, "fc-lab")
    if result.config.get("bn") == "train":
        difference = pair and format_points(pair["macro_f1"]["difference"], pair["macro_f1"]["ci95"])
        yield (
            f"{UNCACHED} is fc-lab with the network in train mode: while the layer is trained, batch norm "
            "normalises by the statistics of each batch, and predictions use the running averages of these instead of "
            "those in the weights"
            + (f" ({difference} points of macro F1 against fc-lab)" if difference else "")
        )


def _on_reading(result: Result) -> str:
    unit = (result.methods[0]["test"].get("independent") or {}).get("unit", "image")
    lab = f"; {describe_lab()}, on other data" if result.data["name"] == BUILT_IN else ""
    return f"settings are chosen on the validation split; intervals are 95 %, over test {unit}s{lab}"
