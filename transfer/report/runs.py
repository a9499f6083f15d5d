"""Several runs that are reported together: what each is called, and what they have in common."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.evaluation import results
from transfer.evaluation.results import Result, are_given
from transfer.report.answers import Answers, read_answers
from transfer.report.wording import (
    SCORES,
    describe_decoder,
    describe_layers,
    describe_resize,
    describe_transform,
    describe_weights,
)
from transfer.system.errors import UserError
from transfer.system.run_files import PREDICTIONS, RESULT

# The first version of result files, of a time when grids and training were others.
OLD_VERSION = 1
# What its results hold where a user chose nothing; later ones hold None.
OLD_DEFAULTS = {"lr": [1e-5, 1e-4, 1e-3, 1e-2], "epochs": 10}


@dataclass(frozen=True)
class Run:
    """A result among several.

    Parameters
    ----------
    name : str
        What the reports call it.
    result : Result
    answers : Answers, optional
        What its methods say about every test image.
    fault : str, optional
        Why there are no answers, though there is a file of predictions.
    """

    name: str
    result: Result
    answers: Answers | None = None
    fault: str | None = None

    @property
    def best(self) -> dict[str, Any]:
        """The entry of the method that did best on the validation split."""
        return self.result.method(self.result.comparison["best"])

    def shown_methods(self) -> list[dict[str, Any]]:
        """Return the best fine-tuning, the best SVM and the best of all, in the order of the result."""
        kinds = self.result.comparison["best_of_kind"]
        names = {self.result.comparison["best"], kinds.get("fine-tuning"), kinds.get("SVM")}
        return [method for method in self.result.methods if method["name"] in names]


def read_runs(files: Sequence[Path]) -> list[Run]:
    """Read result files and the predictions beside them.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    list of Run
        Predictions that can't be read, or are of another result, are left out, with the reason.

    Raises
    ------
    UserError
        If a result can't be read.
    """
    found = []
    for name, file in zip(name_runs(files), files, strict=True):
        result, predictions = results.load(file), file.parent / PREDICTIONS
        answers, fault = None, None
        if predictions.is_file():  # a pipe would be waited for
            try:
                answers = read_answers(predictions, result)
                _check_scores(answers, result, predictions)
            except UserError as error:
                answers, fault = None, str(error)
        found.append(Run(name, result, answers, fault))
    return found


def name_runs(files: Sequence[Path]) -> list[str]:
    """Name result files by their folder, or by the file if that has a name of its own, with as much path as it takes.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    list of str
        All different; the same file twice is numbered.
    """
    parts = []
    for file in files:
        path = file.absolute()
        parts.append((path.parent if path.name == RESULT else path.with_suffix("")).parts[1:])
    lengths = dict.fromkeys(parts, 1)
    while True:
        counts = Counter(own[-length:] for own, length in lengths.items())
        longer = {own: min(length + (counts[own[-length:]] > 1), len(own)) for own, length in lengths.items()}
        if longer == lengths:
            break
        lengths = longer
    names, seen = [], Counter[tuple[str, ...]]()
    for own in parts:
        seen[own] += 1
        name = "/".join(own[-lengths[own] :]) or "/"
        names.append(name if seen[own] == 1 else f"{name} ({seen[own]})")
    return names


def _check_scores(answers: Answers, result: Result, path: Path) -> None:
    """Raise `UserError` if the predictions do not have the accuracy that the result states."""
    n_images = len(answers.labels)
    for method in result.methods:
        predicted = answers.predicted[method["name"]]
        right = sum(label == own for label, own in zip(answers.labels, predicted, strict=True))
        expected = method["test"]["accuracy"]
        if n_images != result.data["splits"]["test"]["images"] or not math.isclose(
            right, expected * n_images, abs_tol=1e-3
        ):
            raise UserError(f"{path} is of another result: its scores differ")


def common_and_different(runs: Sequence[Run]) -> tuple[list[str], dict[str, list[str]]]:
    """Return what holds for all runs, and what differs between them.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    common : list of str
    different : dict of str to list of str
        By name of a property, its value for every run.
    """
    common, different = [], {}
    for name, describe, always in _PROPERTIES:
        values = [describe(run.result) for run in runs]
        if name == "weights":
            values = _tell_weights_apart(runs, values)
        if len(set(values)) > 1:
            different[name] = values
        elif always and values[0]:
            common.append(values[0])
    return common, different


def _tell_weights_apart(runs: Sequence[Run], values: list[str]) -> list[str]:
    """Add the beginning of the checksum to weights of one name and one network that are not the same."""
    found: dict[tuple[str, str], set[str]] = {}
    keys = [(run.result.backbone["name"], value) for run, value in zip(runs, values, strict=True)]
    sums = [str(run.result.backbone.get("weights_sha256")) for run in runs]
    for key, sha256 in zip(keys, sums, strict=True):
        found.setdefault(key, set()).add(sha256)
    return [
        f"{key[1]} {sha256[:8]}" if len(found[key]) > 1 else key[1]
        for key, sha256 in zip(keys, sums, strict=True)
    ]


def _images(result: Result) -> str:
    return (
        ", ".join(f"{part['images']:,} {split}" for split, part in result.data["splits"].items()) + " images"
    )


def _weights(result: Result) -> str:
    backbone = result.backbone
    return f"features {backbone['weights_sha256'][:8]}" if are_given(result) else describe_weights(backbone)


def _size(result: Result) -> str:
    return "" if are_given(result) else "x".join(map(str, result.backbone["input_size"]))


def _machine(result: Result) -> str:
    gpus = [gpu["name"] for gpu in result.environment["gpus"]] if result.engine["device"] != "cpu" else []
    return ", ".join([*gpus, result.environment["processor"]])


def _setting(key: str, words: str) -> Callable[[Result], str]:
    def describe(result: Result) -> str:
        value = result.config.get(key)
        old = result.schema_version == OLD_VERSION and value == OLD_DEFAULTS.get(key)
        numbers = (
            ", ".join(one if isinstance(one, str) else f"{one:g}" for one in value)
            if isinstance(value, list)
            else value
        )
        return "" if value is None or old else words.format(numbers)

    return describe


# Name, description of a result, and whether it is said where it is the same in all.
_PROPERTIES: list[tuple[str, Callable[[Result], str], bool]] = [
    ("protocol", lambda r: "old protocol" if r.schema_version == OLD_VERSION else "", True),
    ("data", lambda r: r.data["name"], True),
    ("classes", lambda r: f"{len(r.data['classes']):,} classes", True),
    ("images", _images, True),
    ("backbone", lambda r: r.backbone["name"], True),
    ("weights", _weights, True),
    ("size", _size, True),
    ("resize", lambda r: describe_resize(r.backbone), True),
    ("decoder", lambda r: describe_decoder(r.engine), True),
    ("layers", lambda r: describe_layers(r.backbone), True),
    ("transform", lambda r: describe_transform(r.config), True),
    ("engine", lambda r: f"{r.engine['name']} on {r.engine['device']}", True),
    ("precision", lambda r: r.engine["precision"], True),
    ("machine", _machine, True),
    ("threads", lambda r: f"{r.engine['threads']} threads", True),
    ("chosen by", lambda r: f"chosen by {SCORES[r.comparison['select']]}", False),
    ("seed", _setting("seed", "seed {}"), False),
    ("groups", _setting("groups", "groups {}"), False),
    ("learning rates", _setting("lr", "learning rates {}"), False),
    ("adaptations", _setting("adapt", "adaptations {}"), False),
    ("rates of blocks", _setting("lr_blocks", "learning rates of blocks {}"), False),
    ("views", _setting("views", "{} views"), False),
    ("epochs", _setting("epochs", "{} epochs"), False),
    ("batch size", _setting("batch_size", "batches of {}"), False),
    ("date", lambda r: r.created[:10], False),
]
