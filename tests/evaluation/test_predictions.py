from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.evaluation.searches import Centroids
from transfer.evaluation import predictions
from transfer.heads import FineTune
from transfer.heads.calibration import Calibration

CLASSES = ("boat", "with, comma", "Müll")


def rows() -> tuple[np.ndarray, np.ndarray]:
    y_N = np.tile(np.arange(3), 5)
    return (np.random.default_rng(0).normal(size=(15, 4)) + 3 * np.eye(3, 4)[y_N]).astype(np.float32), y_N


def test_every_image_has_a_line_with_each_methods_label_and_score(tmp_path: Path) -> None:
    x_ND, y_N = rows()
    heads = {
        "near": Centroids().fit(x_ND, y_N, x_ND, y_N),
        "fc": FineTune(epochs=2, device="cpu").fit(x_ND, y_N),
    }
    splits = {
        "train": SimpleNamespace(x_ND=x_ND[:9], y_N=y_N[:9]),
        "test": SimpleNamespace(x_ND=x_ND[9:], y_N=y_N[9:]),
    }
    names = {"train": [f"a/{i}.jpg" for i in range(9)], "test": [f"b/{i}.jpg" for i in range(6)]}
    groups = {"train": ["g"] * 9, "test": [""] * 6}
    path = tmp_path / "predictions.csv"
    sure = {name: partial(Calibration.fit(head, x_ND, y_N).predict, head) for name, head in heads.items()}
    methods = {name: lambda split, x_ND, predict=predict: predict(x_ND) for name, predict in sure.items()}
    predictions.write(path, splits, names, groups, CLASSES, methods)
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["split", "file", "group", "label", "near", "near:score", "fc", "fc:score"]
    assert [row["file"] for row in found] == names["train"] + names["test"]
    assert [row["label"] for row in found] == [CLASSES[y] for y in y_N]
    assert {row["group"] for row in found if row["split"] == "train"} == {"g"}
    for name, head in heads.items():
        assert [row[name] for row in found] == [CLASSES[y] for y in head.predict(x_ND)]
        np.testing.assert_allclose(
            [float(row[f"{name}:score"]) for row in found], sure[name](x_ND)[1], rtol=1e-4
        )
