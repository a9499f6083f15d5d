"""Predictions of every method for every image, as `predictions.csv`.

N: images. C: classes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.system import files


def score_labels(
    head: Any, x_ND: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return a head's label for every row, and its score.

    Parameters
    ----------
    head : classifier
        A fitted head.
    x_ND : ndarray of shape (n_images, n_features)

    Returns
    -------
    labels_N : ndarray of int
    scores_N : ndarray of float
        The largest probability of a head that has `predict_proba`, else its largest value of `decision_function`
        (for two classes its absolute value): comparable within a method only.
    """
    if hasattr(head, "predict_proba"):
        return head.predict(x_ND), head.predict_proba(x_ND).max(1).astype(np.float64)
    if hasattr(head, "predict_with_values"):
        labels_N, values = head.predict_with_values(x_ND)
    else:
        labels_N, values = head.predict(x_ND), np.asarray(head.decision_function(x_ND), np.float64)
    return labels_N, np.abs(values) if values.ndim == 1 else values.max(1)


def write(
    path: Path,
    splits: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    heads: Mapping[str, Any],
) -> None:
    """Write one line for every image: `split,file,group,label`, then for each method its label and score.

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
    heads : mapping of str to classifier
        Fitted heads by method.

    Raises
    ------
    UserError
        If the file can't be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    columns = [column for name in heads for column in (name, f"{name}:score")]
    table.writerow(["split", "file", "group", "label", *columns])
    for split, part in splits.items():
        answers: list[Sequence[str]] = []
        for head in heads.values():
            labels_N, scores_N = score_labels(head, part.x_ND)
            answers += [[classes[label] for label in labels_N], [f"{score:.6g}" for score in scores_N]]
        labels = [classes[label] for label in part.y_N]
        own = [[split] * len(labels), names[split], groups[split], labels]
        table.writerows(zip(*own, *answers, strict=True))
    files.write(path, text.getvalue().encode("utf-8", "surrogateescape"))
