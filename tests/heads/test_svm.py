from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from transfer.heads import kernels, one_vs_one, pair_solver, svm_classifier, svm_rows
from transfer.heads.svm import SVMSearch
from transfer.heads.svm_classifier import SVM

Array = np.ndarray


def blobs(rows: int, width: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Overlapping classes of unequal size, far from the origin, features of unequal spread."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    x = rng.normal(size=(classes, width))[y] + rng.normal(size=(rows, width)) * 1.5
    return (x * rng.uniform(0.2, 5, width) + 10).astype(np.float32), y


def reference(params: dict[str, Any], x: Array, y: Array, x_test: Array, standardize: bool) -> SVC:
    scaler = StandardScaler().fit(x.astype(np.float64)) if standardize else None
    prepared, prepared_test = (
        scaler.transform(part) if scaler else part.astype(np.float64) for part in (x, x_test)
    )
    svc = SVC(**params).fit(prepared, y)
    return svc.predict(prepared_test), svc.decision_function(prepared_test)


def settings_of(search: SVMSearch, x: Array) -> Iterator[tuple[frozenset[tuple[str, Any]], Array]]:
    """Every setting that was tried, with its predictions, also where several share one row."""
    for row, predicted in zip(search.cv_results_, search.predict_each(x), strict=True):
        for params in (row["params"], *row["same_as"]):
            yield frozenset(params.items()), predicted


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("classes", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 9))])
def test_every_setting_predicts_what_scikit_learn_predicts(standardize: bool, classes: int) -> None:
    x, y = blobs(600, 40, classes)
    search = SVMSearch(
        C=(0.01, 1, 100),
        gamma=("scale", 0.003),
        class_weight=(None, "balanced"),
        standardize=standardize,
        extend=False,
    ).fit(x[:300], y[:300], x[300:400], y[300:400])
    settings = dict(settings_of(search, x[400:]))
    for kernel, gamma in (("linear", None), ("rbf", "scale"), ("rbf", 0.003)):
        for C, weight in itertools.product((0.01, 1, 100), (None, "balanced")):
            params = {"kernel": kernel, "C": C, "class_weight": weight, **({"gamma": gamma} if gamma else {})}
            assert frozenset(params.items()) in settings
    for items, predicted in settings.items():
        params = dict(items)
        expected, expected_values = reference(params, x[:300], y[:300], x[400:], standardize)
        np.testing.assert_array_equal(predicted, expected)
        alone = SVM(**params, standardize=standardize).fit(x[:300], y[:300])
        np.testing.assert_array_equal(alone.predict(x[400:]), expected)
        # Where a pair is undecided to the last digit its vote may go to the other class, and moves two values by 1.
        apart = np.abs(alone.decision_function(x[400:]) - expected_values)
        assert (apart > 5e-3).sum() <= 4
        assert apart.max() < 1.01


@pytest.mark.exhaustive
def test_on_the_lab_features_every_setting_predicts_what_scikit_learn_predicts(
    boat_features: dict[str, Array],
) -> None:
    x, y, x_test = (boat_features[name] for name in ("x_train", "y_train", "x_test"))
    search = SVMSearch(C=(0.1, 10)).fit(x, y, boat_features["x_valid"], boat_features["y_valid"])
    for row, predicted in zip(search.cv_results_, search.predict_each(x_test), strict=True):
        expected, _ = reference(row["params"], x, y, x_test, standardize=True)
        np.testing.assert_array_equal(predicted, expected)
    best, _ = reference(search.best_params_, x, y, x_test, standardize=True)
    np.testing.assert_array_equal(search.predict(x_test), best)


@pytest.mark.parametrize(
    ("name", "standardize"),
    [
        *((name, standardize) for name in ("iris", "wine") for standardize in (False, True)),
        *(pytest.param("digits", standardize, marks=pytest.mark.slow) for standardize in (False, True)),
        ("breast_cancer", True),
        # libsvm itself takes half a minute
        pytest.param("breast_cancer", False, marks=pytest.mark.exhaustive),
    ],
)
def test_on_scikit_learns_sets_every_setting_predicts_what_it_predicts(name: str, standardize: bool) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        x.astype(np.float32), y, test_size=0.4, random_state=0, stratify=y
    )
    search = SVMSearch(C=(0.01, 0.1, 1, 10, 100), standardize=standardize, extend=False)
    tried = dict(settings_of(search.fit(x, y, x_test, y_test), x_test))
    assert len(tried) == 10
    for items, predicted in tried.items():
        expected, _ = reference(dict(items), x, y, x_test, standardize)
        np.testing.assert_array_equal(predicted, expected)


def test_one_gram_matrix_serves_the_whole_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    products = kernels.Gram.products

    def counted(self: kernels.Gram, x_MD: Array) -> Array:
        shapes.append(x_MD.shape)
        return products(self, x_MD)

    monkeypatch.setattr(kernels.Gram, "products", counted)
    x, y = blobs(300, 20, 4)
    SVMSearch(gamma=("scale", 0.1), extend=False).fit(x[:200], y[:200], x[200:], y[200:])
    assert shapes == [(200, 20), (100, 20)]  # training, validation


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_bounds_that_all_coefficients_reach_are_not_solved_for(
    class_weight: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    solved, solve = [], pair_solver.solve

    def counted(kernel_NN: Array, y: Array, C: float, class_weight: Any) -> Any:
        solved.append(C)
        return solve(kernel_NN, y, C, class_weight)

    monkeypatch.setattr(pair_solver, "solve", counted)
    for n_classes in (2, 12):
        x, y = blobs(1200, 40, n_classes)
        train = np.concatenate([np.flatnonzero(y == c)[:8] for c in range(n_classes)])
        search = SVMSearch(
            kernels=("rbf",), C=(0.001, 0.01, 0.1, 1), class_weight=(class_weight,), extend=False
        )
        search.fit(x[train], y[train], x[:100], y[:100])
        for params, predicted in settings_of(search, x):
            expected, _ = reference(dict(params), x[train], y[train], x, standardize=True)
            np.testing.assert_array_equal(predicted, expected)
    assert 1 in solved
    assert not {0.001, 0.01} & set(solved)


@pytest.mark.slow
def test_many_classes_take_no_array_of_pairs_by_rows() -> None:
    n_classes = 250
    x = np.random.default_rng(0).normal(size=(2 * n_classes, 10)).astype(np.float32)
    y = np.arange(len(x)) % n_classes
    tracemalloc.start()
    try:
        search = SVMSearch(kernels=("rbf",), C=(0.1, 10), extend=False).fit(x, y, x, y)
        search.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    pairs_by_rows = n_classes * (n_classes - 1) // 2 * len(x) * 8
    assert peak < pairs_by_rows / 2


def test_a_kernel_in_the_place_of_the_products_changes_no_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(300, 20, 4)

    def predicted() -> Array:
        search = SVMSearch(gamma=("scale", 0.1), C=(0.1, 10), extend=False)
        search.fit(x[:200], y[:200], x[200:], y[200:])
        search._rows.solve([{"kernel": "linear", "C": 1.0, "class_weight": None}])  # products once more
        return search.predict_each(x)

    expected = predicted()
    monkeypatch.setattr(svm_rows, "KEPT_BYTES", 0)
    np.testing.assert_array_equal(predicted(), expected)


@pytest.mark.parametrize("n_classes", [2, 5, 12, 49])
def test_every_pair_of_classes_is_in_one_group(n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_solver, "MANY_CLASSES", 2)
    groups = pair_solver.groups_of_classes(n_classes)
    pairs = [pair for group in groups for pair in itertools.combinations(group.tolist(), 2)]
    assert sorted(pairs) == list(itertools.combinations(range(n_classes), 2))


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("per_class", [None, 6])
def test_groups_of_classes_give_the_same_bits_as_all_at_once(
    class_weight: str | None, per_class: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs(600, 20, 12)
    order = np.argsort(y, kind="stable")
    if per_class:
        order = np.concatenate([order[y[order] == c][:per_class] for c in range(12)])
    kernel = x[order].astype(np.float64) @ x[order].T.astype(np.float64)
    whole, _ = pair_solver.solve(kernel, y[order], 0.01, class_weight)
    monkeypatch.setattr(pair_solver, "MANY_CLASSES", 2)
    assert pair_solver.solve(kernel, y[order], 0.01, class_weight)[0].equals(whole)


def test_a_fitted_search_holds_no_gram_matrix_and_packed_settings_predict_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = blobs(300, 20, 4)
    expected = SVMSearch(C=(0.01, 10)).fit(x[:200], y[:200], x[200:], y[200:]).predict_each(x)
    monkeypatch.setattr(one_vs_one, "LEAST_PACKED_BYTES", 0)
    monkeypatch.setattr(one_vs_one, "MOST_INSIDE", 1.0)
    monkeypatch.setattr(svm_rows, "PREDICTED_BYTES", 0)  # 512 rows at a time
    search = SVMSearch(C=(0.01, 10)).fit(x[:200], y[:200], x[200:], y[200:])
    assert search._rows._values_NN is None
    assert any(isinstance(own.machines, one_vs_one.PackedMachines) for own in search._models)
    x = np.concatenate([x, x])
    np.testing.assert_array_equal(search.predict_each(x), np.concatenate([expected, expected], axis=1))


def test_a_linear_winner_is_a_matrix_of_weights() -> None:
    x, y = blobs(200, 20, 4)
    search = SVMSearch(kernels=("linear",)).fit(x[:150], y[:150], x[150:], y[150:])
    best = search.best_estimator_
    assert best.coef_.shape == (6, 20)
    assert not hasattr(best, "support_vectors_")


def test_settings_whose_bounds_are_never_touched_are_solved_once_and_are_one_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solved = []

    def counted(kernel_NN: Array, y: Array, C: float, class_weight: Any) -> Any:
        solved.append(C)
        return solve(kernel_NN, y, C, class_weight)

    solve = pair_solver.solve
    monkeypatch.setattr(pair_solver, "solve", counted)
    x, y = blobs(300, 200, 4)  # separable
    search = SVMSearch(kernels=("linear",), C=(1e-6, 1, 10, 100), extend=False)
    search.fit(x[:200], y[:200], x[200:], y[200:])
    assert sorted(solved) == [1e-6, 100]
    assert [row["params"]["C"] for row in search.cv_results_] == [1e-6, 1]
    assert [[same["C"] for same in row["same_as"]] for row in search.cv_results_] == [[], [10, 100]]
    for params, predicted in settings_of(search, x[200:]):
        expected, _ = reference(dict(params), x[:200], y[:200], x[200:], standardize=True)
        np.testing.assert_array_equal(predicted, expected)
    assert all(row["fit_s"] > 0 for row in search.cv_results_)


def test_classes_of_one_image_and_weights_by_name() -> None:
    x, y = blobs(203, 20, 3)
    y[200:] = (3, 4, 5)
    weights = {c: 1.0 + c for c in range(6)}
    search = SVMSearch(C=(0.1, 10), class_weight=(weights, "balanced"), extend=False).fit(x, y, x, y)
    for row, predicted in zip(search.cv_results_, search.predict_each(x), strict=True):
        for params in (row["params"], *row["same_as"]):
            expected, _ = reference(params, x, y, x, standardize=True)
            np.testing.assert_array_equal(predicted, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_many_classes_are_decided_in_parts_with_the_same_outcome(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs(400, 20, 12)
    whole = SVM(kernel=kernel).fit(x[:200], y[:200])
    searched = SVMSearch(kernels=(kernel,), C=(0.1, 10), extend=False).fit(x[:200], y[:200], x[200:], y[200:])
    monkeypatch.setattr(one_vs_one, "BLOCK_VALUES", 7 * 12)  # seven rows at a time
    monkeypatch.setattr(svm_classifier, "LARGEST_LAYER", 0)
    parts = SVM(kernel=kernel).fit(x[:200], y[:200])
    assert hasattr(parts, "support_vectors_")
    assert not hasattr(parts, "coef_")
    np.testing.assert_array_equal(parts.predict(x), whole.predict(x))
    np.testing.assert_allclose(parts.decision_function(x), whole.decision_function(x), rtol=1e-9)
    again = SVMSearch(kernels=(kernel,), C=(0.1, 10), extend=False).fit(x[:200], y[:200], x[200:], y[200:])
    np.testing.assert_array_equal(again.predict_each(x), searched.predict_each(x))
