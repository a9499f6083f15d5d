"""Which test images the page shows: what one of two methods got right, and what a method got wrong.

All is taken from `predictions.csv`.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transfer.evaluation.results import Result
from transfer.system.errors import UserError

# Bounds on the thumbnails of a page: of 3 to 6 KB each as JPEG, four thirds of it as text.
MOST_THUMBNAILS, MOST_BYTES = 320, 1_600_000
# Pictures that a list shows, and pairs of near-duplicates of two splits.
EACH, NEAR_PAIRS = 24, 8


@dataclass(frozen=True)
class Answers:
    """What every method says about every test image.

    Parameters
    ----------
    files, labels, groups : list of str
        By image; groups are empty where the run had none.
    said : dict of str to list of str
        By method, the label it gives to every image.
    scores : dict of str to list of float
        By method, how sure it is; comparable within a method.
    """

    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    said: dict[str, list[str]] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)

    def wrong(self, method: str) -> list[int]:
        """Return the images that a method gives another label than theirs, the surest first."""
        scores = self.scores[method]
        found = [i for i, label in enumerate(self.said[method]) if label != self.labels[i]]
        return sorted(found, key=lambda i: -scores[i])

    def only_right(self, right: str, wrong: str) -> list[int]:
        """Return the images that one method got right and another one wrong, where this was surest first."""
        return [i for i in self.wrong(wrong) if self.said[right][i] == self.labels[i]]


def read_answers(path: Path, result: Result) -> Answers:
    """Read the test images of a result's `predictions.csv`. Raises `UserError` for any other file."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        header, found = rows[0], Answers()
        if header[:4] != ["split", "file", "group", "label"]:
            raise ValueError("other columns")
        methods = header[4::2]
        for method in methods:
            found.said[method], found.scores[method] = [], []
        for row in rows[1:]:
            if row[0] != "test":
                continue
            found.files.append(row[1])
            found.groups.append(row[2])
            found.labels.append(row[3])
            for method, label, score in zip(methods, row[4::2], row[5::2], strict=True):
                found.said[method].append(label)
                found.scores[method].append(float(score))
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UserError(f"{path} can't be read as predictions ({error})") from error
    names = {method["name"] for method in result.methods}
    labels = {label for own in (found.labels, *found.said.values()) for label in own}
    if found.said.keys() != names or not labels <= set(result.data["classes"]):
        raise UserError(f"{path} is of another result: its methods or classes differ")
    return found


def lists(answers: Answers, first: str, second: str | None) -> list[dict[str, Any]]:
    """Return the lists of pictures that the page begins with: titles, images and how many were found."""
    found = []
    if second is not None:
        for right, wrong in ((first, second), (second, first)):
            found.append((f"{right} is right and {wrong} is wrong", answers.only_right(right, wrong)))
    found.append((f"The surest mistakes of {first}", answers.wrong(first)))
    return [{"title": title, "images": images[:EACH], "count": len(images)} for title, images in found]


def embed(files: Iterable[str], thumbnail: Callable[[str], bytes | None]) -> dict[str, str]:
    """Return thumbnails as data URLs by file, in the order given, within the bounds and without what can't be read."""
    embedded: dict[str, str] = {}
    size = 0
    for file in dict.fromkeys(files):
        if len(embedded) == MOST_THUMBNAILS or size >= MOST_BYTES:
            break
        jpeg = thumbnail(file)
        if jpeg is not None:
            embedded[file] = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
            size += len(embedded[file])
    return embedded


def files_to_embed(
    answers: Answers,
    chosen: Iterable[dict[str, Any]],
    suspects: Iterable[dict[str, Any]],
    near: Iterable[dict[str, Any]],
    methods: Iterable[str],
) -> Iterator[str]:
    """Return files in the order in which they get a thumbnail: those shown, then the mistakes of each method."""
    for one in chosen:
        yield from (answers.files[i] for i in one["images"])
    yield from (one["file"] for one in suspects)
    for one in near:
        yield from (file for pair in one["pairs"] for file in pair)
    for method in methods:
        yield from (answers.files[i] for i in answers.wrong(method))


def near_duplicates(result: Result) -> list[dict[str, Any]]:
    """Return near-duplicates across splits: which splits, how many were found, and the nearest pairs of files."""
    found = [one for one in result.data.get("near_duplicates") or [] if one["pairs"]]
    return [{**one, "pairs": one["pairs"][:NEAR_PAIRS]} for one in found]


def suspects(result: Result) -> list[dict[str, Any]]:
    """Return the labels to look at that the page shows, those contradicted most first."""
    found = result.comparison.get("suspects") or {"first": []}
    return list(found["first"][:EACH])
