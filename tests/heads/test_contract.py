"""What every head and every method of the registry must keep."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from transfer import heads
from transfer.config import RunConfig
from transfer.heads.base import GridSearch
from transfer.heads.registry import HEADS, METHODS

EVERY = [getattr(heads, name) for name in HEADS]
CLASSIFIERS = [
    heads.FineTune(lr=0.1, epochs=30),
    heads.SVM(),
    heads.SVM(kernel="rbf", n_landmarks=100),
    heads.RidgeHead(),
    heads.LogisticRegressionHead(),
    heads.KNN(),
    heads.NearestMean(),
]
CONFIG = RunConfig(data="x", epochs=10, device="cpu")


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return made_data()


def made_data() -> dict[str, Any]:
    """Features and labels of three splits, five classes."""
    x, y = make_classification(
        400, 30, n_informative=10, n_classes=5, n_clusters_per_class=1, class_sep=2, random_state=0
    )
    x = x.astype(np.float32)
    return {"train": (x[:200], y[:200]), "valid": (x[200:300], y[200:300]), "test": (x[300:], y[300:])}


@parametrize_with_checks(CLASSIFIERS)
def test_scikit_learns_own_checks(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


def test_every_head_is_checked() -> None:
    assert {type(head) for head in CLASSIFIERS} == {
        head for head in EVERY if not issubclass(head, GridSearch)
    }


@pytest.mark.parametrize("head", EVERY)
def test_parameters_are_keyword_only_and_only_stored(head: type) -> None:
    parameters = list(inspect.signature(head).parameters.values())
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters)
    made = head()
    assert made.get_params() == {parameter.name: parameter.default for parameter in parameters}
    assert vars(clone(made)) == vars(made)


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: type(head).__name__)
class TestHead:
    def test_works_in_a_pipeline_and_in_cross_validation(
        self, head: BaseEstimator, data: dict[str, Any]
    ) -> None:
        x, y = data["train"]
        names = np.array(["ant", "bee", "cat", "dog", "eel"])[y]
        pipeline = make_pipeline(PCA(20), head)
        assert cross_val_score(pipeline, x, names, cv=3).mean() > 0.5
        assert set(pipeline.fit(x, names).predict(x)) <= set(names)

    def test_what_it_cannot_use_is_refused_as_scikit_learn_does(
        self, head: BaseEstimator, data: dict[str, Any]
    ) -> None:
        x, y = data["train"]
        broken = x.copy()
        broken[3, 4] = np.nan
        with pytest.raises(ValueError, match="contains NaN"):
            clone(head).fit(broken, y)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            clone(head).fit(x, y[:-1])
        with pytest.raises(NotFittedError):
            clone(head).predict(x)
        with pytest.raises(ValueError, match="29 features, but .* is expecting 30"):
            clone(head).fit(x, y).predict(x[:, 1:])

    @pytest.mark.parametrize("rows", [1, 10])
    def test_one_class_is_refused_or_predicted(
        self, head: BaseEstimator, data: dict[str, Any], rows: int
    ) -> None:
        x, names, alone = data["train"][0], ["ant"] * rows, clone(head)
        if isinstance(head, heads.FineTune | heads.KNN):
            assert set(alone.fit(x[:rows], names).predict(x)) == {"ant"}
        else:
            with pytest.raises(ValueError, match="one class only, 'ant';"):
                alone.fit(x[:rows], names)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
class TestMethod:
    def test_chooses_on_the_validation_split(self, name: str, data: dict[str, Any]) -> None:
        search = METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"])
        x, y = data["valid"]
        each = search.predict_each(x)
        np.testing.assert_array_equal(search.valid_predictions_, each)
        assert len(each) == len(search.cv_results_)
        for row, predicted in zip(search.cv_results_, each, strict=True):
            assert set(row) - {"curve"} == {"params", "same_as", "accuracy", "macro_f1", "fit_s"}
            assert row["accuracy"] == pytest.approx((predicted == y).mean())
            assert row["fit_s"] > 0
        best = max(row["macro_f1"] for row in _complete(search))
        chosen = next(row for row in search.cv_results_ if row["params"] == search.best_params_)
        assert chosen["macro_f1"] == best

    def test_predicts_what_its_chosen_setting_predicts(self, name: str, data: dict[str, Any]) -> None:
        search = METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"])
        assert search.cv_results_[search.best_index_]["params"] == search.best_params_
        x, y = data["test"]
        np.testing.assert_array_equal(search.predict(x), search.predict_each(x)[search.best_index_])
        np.testing.assert_array_equal(search.predict(x), search.best_estimator_.predict(x))
        assert (search.predict(x) == y).mean() > 0.3  # five classes: better than guessing

    def test_features_far_from_zero_are_predicted_alike(self, name: str, data: dict[str, Any]) -> None:
        parts = [(x + np.float32(1e6), y) for x, y in (data["train"], data["valid"])]
        search = METHODS[name].build(CONFIG).fit(*parts[0], *parts[1])
        x = np.concatenate([data["test"][0] + np.float32(1e6 + shift) for shift in np.linspace(-1, 1, 9)])
        for i, row in enumerate(search.cv_results_):
            own = search._estimator(i).predict(x)
            np.testing.assert_array_equal(search.predict_each(x)[i], own, str(row["params"]))

    def test_is_deterministic(self, name: str, data: dict[str, Any]) -> None:
        one, two = (METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"]) for _ in range(2))
        np.testing.assert_array_equal(one.predict_each(data["test"][0]), two.predict_each(data["test"][0]))

    def test_takes_torch_tensors(self, name: str, data: dict[str, Any]) -> None:
        as_tensors = [torch.from_numpy(part) for part in (*data["train"], *data["valid"])]
        one = METHODS[name].build(CONFIG).fit(*data["train"], *data["valid"])
        two = METHODS[name].build(CONFIG).fit(*as_tensors)
        x = data["test"][0]
        np.testing.assert_array_equal(one.predict(x), two.predict(torch.from_numpy(x)))

    def test_takes_bfloat16_and_labels_as_a_column(self, name: str, data: dict[str, Any]) -> None:
        (x, y), (x_valid, y_valid) = data["train"], data["valid"]
        half, half_valid = torch.from_numpy(x).bfloat16(), torch.from_numpy(x_valid).bfloat16()
        one = METHODS[name].build(CONFIG).fit(half.float(), y, half_valid.float(), y_valid)
        with pytest.warns(DataConversionWarning):
            two = METHODS[name].build(CONFIG).fit(half, y[:, None], half_valid, y_valid[:, None])
        np.testing.assert_array_equal(one.predict(half_valid), two.predict(half_valid))

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (lambda y: y[:-1], "X_valid has 100 rows, y_valid has 99"),
            (lambda y: np.append(y, 0), "y_valid has 101"),
            (lambda y: y[:0], "y_valid has 0"),
            (lambda y: y.astype(str), "y has labels such as 0, y_valid such as '"),
            (lambda y: np.array(["ant", "bee", "cat", "dog", "eel"], object)[y], "give both in one type"),
            (lambda y: y + 0.5, "continuous"),
        ],
    )
    def test_validation_labels_that_fit_no_rows_are_refused(
        self, name: str, data: dict[str, Any], labels: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            METHODS[name].build(CONFIG).fit(*data["train"], data["valid"][0], labels(data["valid"][1]))

    def test_few_validation_rows_of_many_classes_warn_of_nothing(self, name: str) -> None:
        rng = np.random.default_rng(0)
        y = np.repeat(np.arange(24), 5)
        x = (rng.normal(size=(120, 8)) + y[:, None]).astype(np.float32)
        METHODS[name].build(CONFIG).fit(x, y, x[::5], y[::5])  # a warning fails the test

    def test_keeps_class_names(self, name: str, data: dict[str, Any]) -> None:
        names = np.array(["ant", "bee", "cat", "dog", "eel"])
        (x, y), (x_valid, y_valid) = data["train"], data["valid"]
        search = METHODS[name].build(CONFIG).fit(x, names[y], x_valid, names[y_valid])
        assert set(search.predict(x_valid)) <= set(names)

    def test_selects_by_the_score_asked_for(self, name: str, data: dict[str, Any]) -> None:
        config = RunConfig(data="x", epochs=3, device="cpu", select="accuracy")
        search = METHODS[name].build(config).fit(*data["train"], *data["valid"])
        chosen = next(row for row in search.cv_results_ if row["params"] == search.best_params_)
        assert chosen["accuracy"] == max(row["accuracy"] for row in _complete(search))

    def test_repeated_splits_choose_what_a_fit_on_each_chooses(self, name: str, data: dict[str, Any]) -> None:
        x, y = (np.concatenate([data[split][i] for split in ("train", "valid")]) for i in (0, 1))
        rows = [np.random.default_rng(seed).permutation(len(x)) for seed in range(3)]
        splits = [(order[:180], order[180:260]) for order in rows]
        search = METHODS[name].build(CONFIG)
        for own, (train, valid) in zip(search.fit_splits(x, y, splits), splits, strict=True):
            alone = clone(search).fit(x[train], y[train], x[valid], y[valid])
            assert own.best_params_ == alone.best_params_
            np.testing.assert_array_equal(own.valid_predictions_, alone.valid_predictions_)
            np.testing.assert_array_equal(own.predict(data["test"][0]), alone.predict(data["test"][0]))

    @pytest.mark.parametrize(
        "odd", ["one image of a class", "a class without validation", "features all alike"]
    )
    def test_odd_data_are_fitted_all_the_same(self, name: str, data: dict[str, Any], odd: str) -> None:
        (x, y), (x_valid, y_valid) = data["train"], data["valid"]
        if odd == "one image of a class":
            kept = (y != 4) | (np.arange(len(y)) == np.flatnonzero(y == 4)[0])
            x, y = x[kept], y[kept]
        elif odd == "a class without validation":
            x_valid, y_valid = x_valid[y_valid != 4], y_valid[y_valid != 4]
        else:
            x, x_valid = np.full_like(x, 0.5), np.full_like(x_valid, 0.5)
        predicted = METHODS[name].build(CONFIG).fit(x, y, x_valid, y_valid).predict(data["test"][0])
        assert set(predicted) <= set(y)


def _complete(search: GridSearch) -> list[dict[str, Any]]:
    """The rows of settings that were trained to the end."""
    steps = [row["params"].get("steps") for row in search.cv_results_]
    return [row for row, n in zip(search.cv_results_, steps, strict=True) if n is None or n == max(steps)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fc", "svm", "ridge", "logreg"])
def test_settings_whose_classes_weigh_alike_are_solved_once(
    name: str, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = data["train"]
    equal_N = np.concatenate([np.flatnonzero(y == label)[: np.bincount(y).min()] for label in np.unique(y)])
    search = METHODS[name].build(CONFIG)
    assert None in search.class_weight
    assert "balanced" in search.class_weight
    solved: list[Any] = []
    solve = type(search)._solve
    monkeypatch.setattr(
        type(search),
        "_solve",
        lambda self, rows, settings, valid: solved.extend(settings) or solve(self, rows, settings, valid),
    )
    search.fit(x[equal_N], y[equal_N], *data["valid"])
    assert {setting["class_weight"] for setting in solved} == {None}
    for row in search.cv_results_:
        weights = [own["class_weight"] for own in (row["params"], *row["same_as"])]
        assert weights.count(None) >= 1
    assert any("balanced" in (own["class_weight"] for own in row["same_as"]) for row in search.cv_results_)
    uneven_N = np.append(equal_N, np.setdiff1d(np.arange(len(y)), equal_N)[:1])
    unequal = METHODS[name].build(CONFIG).fit(x[uneven_N], y[uneven_N], *data["valid"])
    assert {row["params"]["class_weight"] for row in unequal.cv_results_} == {None, "balanced"}
