"""A grid search in the usual loop: one fit of a scikit-learn pipeline after the other, the best kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.features import Rows

ALPHA, C, NEIGHBORS = (1, 10, 100, 1000, 10000), (0.01, 0.1, 1, 10, 100), (1, 5, 20)
GRIDS = {
    "ridge": [RidgeClassifier(alpha=alpha) for alpha in ALPHA],
    "logreg": [LogisticRegression(C=c, max_iter=1000) for c in C],
    "knn": [KNeighborsClassifier(k) for k in NEIGHBORS],
}


def search(rows: Rows, classifiers: Iterable[Any]) -> Any:
    """Return the fitted pipeline with the best macro F1 on the validation rows."""
    pipelines = [make_pipeline(StandardScaler(), clone(one)) for one in classifiers]
    fitted = [pipeline.fit(rows.x_train, rows.y_train) for pipeline in pipelines]
    return max(
        fitted,
        key=lambda one: f1_score(rows.y_valid, one.predict(rows.x_valid), average="macro", zero_division=0),
    )
