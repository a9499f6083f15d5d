"""Predictions of every method for every image, as `predictions.csv`.

N: images.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from transfer.system import files

Predict = Callable[[str, npt.NDArray[Any]], tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def write(
    path: Path,
    splits: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    methods: Mapping[str, Predict],
) -> None:
    """Write one line for every image: `split,file,group,label`, then for each method its label and how sure it is.

    Parameters
    ----------
    path : Path
        The file, replaced as a whole.
    splits : mapping of str to Split
        Features and labels by split.
    names, groups : mapping of str to sequence of str
        By split, the file of every image relative to the data, and its group ("" without groups).
    classes : sequence of str
        Names of the classes.
    methods : mapping of str to callable
        By method, a function of a split and its features that returns labels, and how sure the method is of each.

    Raises
    ------
    UserError
        If the file can't be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    columns = [column for name in methods for column in (name, f"{name}:score")]
    table.writerow(["split", "file", "group", "label", *columns])
    for split, part in splits.items():
        answers: list[Sequence[str]] = []
        for predict in methods.values():
            labels_N, scores_N = predict(split, part.x_ND)
            answers += [[classes[label] for label in labels_N], [f"{score:.6g}" for score in scores_N]]
        labels = [classes[label] for label in part.y_N]
        own = [[split] * len(labels), names[split], groups[split], labels]
        table.writerows(zip(*own, *answers, strict=True))
    files.write(path, text.getvalue().encode("utf-8", "surrogateescape"))
