"""Which test images the page shows: what one of two methods got right, and what a method got wrong.

All is taken from `predictions.csv`.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from transfer.evaluation.results import Result
from transfer.report.answers import Answers
from transfer.system.hardware import usable_cores
from transfer.system.thread_pools import StartedPool

# Bounds on the thumbnails of a page: of 3 to 6 KB each as JPEG, four thirds of it as text.
MOST_THUMBNAILS, MOST_BYTES = 320, 1_600_000
# Pictures that a list shows, and pairs of near-duplicates of two splits.
EACH, NEAR_PAIRS = 24, 8
# Thumbnails that are made at once, in threads; at the bounds so many may be made in vain.
AT_ONCE = 16


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
    size, left = 0, iter(dict.fromkeys(files))
    with StartedPool(usable_cores()) as pool:
        while some := list(itertools.islice(left, AT_ONCE)):
            for file, jpeg in zip(some, pool.map(thumbnail, some), strict=True):
                if len(embedded) == MOST_THUMBNAILS or size >= MOST_BYTES:
                    return embedded
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
