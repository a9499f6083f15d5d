from __future__ import annotations

import copy
import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.samples import EXAMPLE
from transfer import metrics
from transfer.evaluation import results
from transfer.evaluation.results import Result

METHODS = ("fc", "svm", "fc-lab")
Made = tuple[Result, str]
Make = Callable[..., Made]


def scores(labels_N: Any, said_N: Any, n_classes: int) -> dict[str, Any]:
    counts_CC = metrics.confusion(labels_N, said_N, n_classes)
    accuracy, macro_f1 = float(metrics.accuracy(counts_CC)), float(metrics.macro_f1(counts_CC))
    return {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "accuracy_ci95": [max(0, accuracy - 0.05), min(1, accuracy + 0.05)],
        "macro_f1_ci95": [max(0, macro_f1 - 0.08), min(1, macro_f1 + 0.08)],
        "confusion": counts_CC.tolist(),
    }


@pytest.fixture
def make() -> Make:
    """A function that makes a result with repeats and a ladder, and its `predictions.csv`."""

    def make(classes: Sequence[str], support: Sequence[int], **parts: Any) -> Made:
        rng, n = np.random.default_rng(parts.pop("seed", 0)), len(classes)
        example = copy.deepcopy(results.load(EXAMPLE))
        labels_N = np.repeat(np.arange(n), support)
        files = [f"test/{classes[label]}/image {i}.jpg" for i, label in enumerate(labels_N)]
        said = {
            name: np.where(rng.random(len(labels_N)) < right, labels_N, rng.integers(0, n, len(labels_N)))
            for name, right in zip(METHODS, (0.5, 0.7, 0.6), strict=True)
        }
        methods = []
        for name in METHODS:
            own = copy.deepcopy(next(one for one in example.methods if one["name"] == name))
            found = scores(labels_N, said[name], n)
            recall_C = [
                float((said[name][labels_N == c] == c).mean()) if count else None
                for c, count in enumerate(support)
            ]
            found["per_class"] = [
                {
                    "class": classes[c],
                    "support": support[c],
                    "recall": recall_C[c],
                    "precision": 0.5,
                    "f1": 0.5,
                }
                for c in range(n)
            ]
            for row in own["sweep"]:
                for split in ("valid", "test"):  # tables are of the classes of the example
                    row[split] = {k: v for k, v in row[split].items() if k not in ("per_class", "confusion")}
            own |= {"test": found, "valid": found, "fit_seconds": [own["fit_s"]]}
            methods.append(own)
        entry = {"difference": 0.1, "ci95": [-0.02, 0.22], "p": 0.1, "p_holm": 0.2, "detectable": 0.1}
        split = {"mean": 0.1, "ci95": [0.0, 0.2], "p": 0.04, "won": 3, "lost": 1, "tied": 0}
        names = [("fc", "svm"), ("fc", "fc-lab"), ("svm", "fc-lab")]
        comparison = {
            "select": "macro_f1",
            "best": "svm",
            "best_of_kind": {"SVM": "svm", "fine-tuning": "fc"},
            "pairs": [
                {"a": a, "b": b, "mcnemar_p": 0.1, "accuracy": entry, "macro_f1": entry} for a, b in names
            ],
            "ladder": [
                {"step": step, "accuracy": score, "macro_f1": score, "fit_s": 0.1, "change": change}
                for step, score, change in (
                    ("fc-lab", 0.4, None),
                    ("standardise", 0.5, {"accuracy": entry, "macro_f1": entry}),
                )
            ],
            "repeats": {
                "n": 4,
                "scheme": "stratified",
                "names": [],
                "test_share": 0.3,
                "test_images": [10] * 4,
                "methods": [
                    {"name": name, "accuracy": [0.5, 0.6, 0.55, 0.7], "macro_f1": [0.4, 0.5, 0.45, 0.6]}
                    for name in METHODS
                ],
                "pairs": [{"a": a, "b": b, "accuracy": split, "macro_f1": split} for a, b in names],
            },
        }
        data = {
            **example.data,
            "classes": list(classes),
            "splits": {
                part: {"images": sum(support), "per_class": list(support)}
                for part in ("train", "valid", "test")
            },
            **parts.pop("data", {}),
        }
        engine = {
            **example.engine,
            "reason": "measured",
            "trials": [
                {
                    "engine": example.engine["name"],
                    "precision": example.engine["precision"],
                    "setup_s": 1.0,
                    "images_per_s": 1234.5,
                    "cosine": 1.0,
                }
            ],
        }
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(["split", "file", "group", "label", *(c for m in METHODS for c in (m, f"{m}:score"))])
        for i, label in enumerate(labels_N):
            answers = [cell for m in METHODS for cell in (classes[said[m][i]], f"{rng.random():.3f}")]
            table.writerow(["test", files[i], "", classes[label], *answers])
        result = dataclasses.replace(
            example,
            data=data,
            engine=engine,
            methods=methods,
            comparison=comparison,
            schema_version=2,
            **parts,
        )
        return result, text.getvalue()

    return make


@pytest.fixture
def jpeg() -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 9), (200, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()
