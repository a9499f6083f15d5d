"""What every head and every method of the registry must keep."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.utils.estimator_checks import parametrize_with_checks

from transfer.config import RunConfig
from transfer.heads import METHODS, SVM, FineTune, FineTuneSearch, SVMSearch

CLASSIFIERS = [FineTune(lr=0.1, epochs=30), SVM()]
CONFIG = RunConfig(data="x", epochs=10, device="cpu")


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    x, y = make_classification(
        400, 30, n_informative=10, n_classes=5, n_clusters_per_class=1, class_sep=2, random_state=0
    )
    x = x.astype(np.float32)
    return {"train": (x[:200], y[:200]), "valid": (x[200:300], y[200:300]), "test": (x[300:], y[300:])}


@parametrize_with_checks(CLASSIFIERS)
def test_scikit_learns_own_checks(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("head", [FineTune, FineTuneSearch, SVM, SVMSearch])
def test_parameters_are_keyword_only_and_only_stored(head: type) -> None:
    parameters = list(inspect.signature(head).parameters.values())
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters)
    made = head()
    assert made.get_params() == {parameter.name: parameter.default for parameter in parameters}
    assert vars(clone(made)) == vars(made)


@pytest.mark.parametrize("name", METHODS)
class TestMethod:
    def test_chooses_on_the_validation_split(self, name: str, data: dict[str, Any]) -> None:
        search = METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"])
        x, y = data["valid"]
        each = search.predict_each(x)
        assert len(each) == len(search.cv_results_)
        for row, predicted in zip(search.cv_results_, each, strict=True):
            assert set(row) == {"params", "accuracy", "macro_f1", "fit_s"}
            assert row["accuracy"] == pytest.approx((predicted == y).mean())
            assert row["fit_s"] > 0
        best = max(row["macro_f1"] for row in search.cv_results_)
        chosen = next(row for row in search.cv_results_ if row["params"] == search.best_params_)
        assert chosen["macro_f1"] == best

    def test_predicts_what_its_chosen_setting_predicts(self, name: str, data: dict[str, Any]) -> None:
        search = METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"])
        index = [row["params"] for row in search.cv_results_].index(search.best_params_)
        x, y = data["test"]
        np.testing.assert_array_equal(search.predict(x), search.predict_each(x)[index])
        np.testing.assert_array_equal(search.predict(x), search.best_estimator_.predict(x))
        assert (search.predict(x) == y).mean() > 0.3  # five classes: better than guessing

    def test_is_deterministic(self, name: str, data: dict[str, Any]) -> None:
        one, two = (METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"]) for _ in range(2))
        np.testing.assert_array_equal(one.predict_each(data["test"][0]), two.predict_each(data["test"][0]))

    def test_takes_torch_tensors(self, name: str, data: dict[str, Any]) -> None:
        as_tensors = [torch.from_numpy(part) for part in (*data["train"], *data["valid"])]
        one = METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"])
        two = METHODS[name].build(CONFIG).fit(*as_tensors)
        x = data["test"][0]
        np.testing.assert_array_equal(one.predict(x), two.predict(torch.from_numpy(x)))

    def test_keeps_class_names(self, name: str, data: dict[str, Any]) -> None:
        names = np.array(["ant", "bee", "cat", "dog", "eel"])
        (x, y), (x_valid, y_valid) = data["train"], data["valid"]
        search = METHODS[name].build(CONFIG).fit(x, names[y], x_valid, names[y_valid])
        assert set(search.predict(x_valid)) <= set(names)

    def test_selects_by_the_score_asked_for(self, name: str, data: dict[str, Any]) -> None:
        config = RunConfig(data="x", epochs=3, device="cpu", select="accuracy")
        search = METHODS[name].build(config).fit(*data["train"], *data["valid"])
        chosen = next(row for row in search.cv_results_ if row["params"] == search.best_params_)
        assert chosen["accuracy"] == max(row["accuracy"] for row in search.cv_results_)
