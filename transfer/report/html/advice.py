"""What to do next, as it follows from a result: a reason and, where there is one, the option to add or the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transfer.config import BUILT_IN, RunConfig
from transfer.evaluation.results import Result, are_given
from transfer.report.notes import FEW_IMAGES
from transfer.report.wording import describe_groups_option
from transfer.system.text import list_first

# Classes with fewer training images, or found less often, are named as in want of images.
FEW_TRAINING_IMAGES, LOW_RECALL = 30, 0.5
# Below it with every method, another network is suggested.
LOW_SCORE = 0.5
NAMED = 5
# Learning rates are below it.
MOST_LR = 10

Step = tuple[str, str | None]
"""A reason, and an option of `transfer run` or a command."""


def advise(result: Result) -> list[Step]:
    """Return reasons to act, the most useful first, each with an option of `transfer run`, a command or None."""
    return [*_on_splits(result), *_on_images(result), *_on_ranges(result), *_on_network(result)]


def _on_splits(result: Result) -> Iterator[Step]:
    data, comparison = result.data, result.comparison
    groups = data.get("groups") or {}
    if groups.get("suggestion"):
        given = "test" not in data["drawn"]
        yield (
            "File names look like groups of one scene or moment: "
            + (
                "leave out one after the other to see what a new one costs."
                if given
                else "keep each group on one side of a split."
            ),
            describe_groups_option(groups, moves=not given),
        )
    elif groups.get("across_splits") and (comparison.get("repeats") or {}).get("scheme") != "groups":
        yield (
            "Groups lie on both sides of a split: leave out one group after the other to see what a new one costs.",
            "--repeats groups",
        )
    if not (comparison.get("repeats") or comparison.get("not_repeated")):
        yield "One split says little about the next one: compare on other splits as well.", "--repeats 10"


def _on_images(result: Result) -> Iterator[Step]:
    data, best = result.data, result.method(result.comparison["best"])
    rows = zip(data["splits"]["train"]["per_class"], best["test"]["per_class"], strict=True)
    poor = sorted(
        (row["recall"], row["class"], train)
        for train, row in rows
        if row["recall"] is not None and row["recall"] < LOW_RECALL and train < FEW_TRAINING_IMAGES
    )
    if poor:
        names = list_first([f"{name} ({train})" for _, name, train in poor], NAMED)
        yield (
            f"Label more images of classes that {best['name']} finds least, with few training images: {names}. "
            "What more labels give is measured on fewer of them.",
            _curve_command(result),
        )
    few = sum(count < FEW_IMAGES for count in data["splits"]["test"]["per_class"])
    if few:
        yield (
            f"{few} classes have fewer than {FEW_IMAGES} test images: a larger test split would say more about them.",
            None,
        )


def _on_ranges(result: Result) -> Iterator[Step]:
    for method in result.methods:
        if method.get("at_edge"):
            option = _wider_rates(method) if "lr" in method["at_edge"] else None
            yield (
                f"{method['name']} chose a value at the end of its range ({', '.join(method['at_edge'])}): "
                f"wider ranges may do better{_and_others(method, result) if option else ''}.",
                option,
            )


def _on_network(result: Result) -> Iterator[Step]:
    if result.backbone["weights"] == "random":
        yield (
            "The network is untrained: trained weights may separate the classes better.",
            "--weights pretrained",
        )
    elif all(method["test"]["macro_f1"] < LOW_SCORE for method in result.methods):
        yield (
            f"No method reaches {LOW_SCORE} in macro F1: another network may separate the classes better.",
            None if are_given(result) else "--backbone NAME",
        )


def _curve_command(result: Result) -> str:
    """Return the command that measures a learning curve with the network and the settings of the run.

    A result does not hold where its data and a file of weights lay.
    """
    config, backbone, settings = result.config, result.backbone, dict[str, Any]()
    data = BUILT_IN if result.data["name"] == BUILT_IN else "DATA"
    if not are_given(result):
        # Of a store nothing is asked: the user may have no home folder.
        usual = RunConfig(data=data, backbone=backbone["name"], store=Path()).weights_or_default
        settings = {
            "backbone": backbone["name"],
            "weights": None if backbone["weights"] == usual else backbone["weights"],
            "size": "x".join(map(str, config.get("size") or ())),
            "resize": backbone.get("resize"),
            "layers": backbone.get("layers"),
            "decoder": result.engine.get("decoder"),
        }
    names = ("transform", "groups", "seed", "select", "epochs", "batch_size")
    settings |= {name: config.get(name) for name in names}
    settings["lr"] = [f"{lr:g}" for lr in config.get("lr") or ()]
    settings["columns"] = [f"{role}={name}" for role, name in (config.get("columns") or {}).items()]
    words = ["transfer", "curve", data]
    for name, value in settings.items():
        if value and value != getattr(RunConfig, name, None):
            words += [
                f"--{name.replace('_', '-')}",
                ",".join(value) if isinstance(value, list) else str(value),
            ]
    return shlex.join(words)


def _and_others(method: dict[str, Any], result: Result) -> str:
    """Name the other methods whose learning rates the same option replaces."""
    option = _rates_option(method)
    others = [
        other["name"]
        for other in result.methods
        if other is not method and _rates_option(other) == option and "lr" in other["best_params"]
    ]
    return f" ({option} sets the rates of {', '.join(others)} too)" if others else ""


def _rates_option(method: dict[str, Any]) -> str:
    return "--lr-blocks" if ":" in method["name"] else "--lr"


def _wider_rates(method: dict[str, Any]) -> str | None:
    """Return the option with the learning rates that were tried and one beyond the best, where it is allowed."""
    tried, best = sorted({row["params"]["lr"] for row in method["sweep"]}), method["best_params"]["lr"]
    beyond = best / 10 if best == tried[0] else best * 10
    return (
        f"{_rates_option(method)} {','.join(f'{lr:g}' for lr in sorted([*tried, beyond]))}"
        if beyond < MOST_LR
        else None
    )
