"""What every method says about every test image, from `predictions.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from transfer.evaluation.results import Result
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.text import as_written

# A larger file is refused: a million rows of ten methods have some 400 MB.
MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class Answers:
    """What every method says about every test image.

    Parameters
    ----------
    files, labels, groups : list of str
        By image; groups are empty where the run had none.
    predicted : dict of str to list of str
        By method, the label it gives to every image.
    scores : dict of str to list of float
        By method, how sure it is; comparable within a method.
    """

    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    predicted: dict[str, list[str]] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)

    def wrong(self, method: str) -> list[int]:
        """Return the images that a method gives another label than theirs, the surest first."""
        scores = self.scores[method]
        found = [i for i, label in enumerate(self.predicted[method]) if label != self.labels[i]]
        return sorted(found, key=lambda i: -scores[i])

    def only_right(self, right: str, wrong: str) -> list[int]:
        """Return the images that one method got right and another one wrong, where this was surest first."""
        return [i for i in self.wrong(wrong) if self.predicted[right][i] == self.labels[i]]


def read_answers(path: Path, result: Result) -> Answers:
    """Read the test images of a result's `predictions.csv`. Raises `UserError` for any other file."""
    try:
        text = files.read(path, MOST_BYTES).decode("utf-8", "surrogateescape")
        rows = csv.reader(io.StringIO(text, newline=""))
        header, found = next(rows, []), Answers()
        if header[:4] != ["split", "file", "group", "label"]:
            raise ValueError("other columns")
        methods = header[4::2]
        for method in methods:
            found.predicted[method], found.scores[method] = [], []
        classes = {as_written(name): name for name in result.data["classes"]}
        for row in rows:
            if row[0] != "test":
                continue
            found.files.append(row[1])
            found.groups.append(row[2])
            found.labels.append(classes.get(row[3], row[3]))
            for method, label, score in zip(methods, row[4::2], row[5::2], strict=True):
                found.predicted[method].append(classes.get(label, label))
                found.scores[method].append(float(score))
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UserError(f"{path} can't be read as predictions ({error})") from error
    names = {method["name"] for method in result.methods}
    labels = {label for own in (found.labels, *found.predicted.values()) for label in own}
    if found.predicted.keys() != names or not labels <= set(result.data["classes"]):
        raise UserError(f"{path} is of another result: its methods or classes differ")
    return found
