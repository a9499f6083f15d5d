from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC

from transfer.heads import SVM, FineTune, LogisticRegressionHead, NearestMean, RidgeHead
from transfer.heads.calibration import Calibration, outputs
from transfer.heads.knn import KNN
from transfer.heads.transforms import FeatureTransform, TransformedHead, find_components, on_raw_features
from transfer.system.errors import UserError

LINEAR = [FineTune(epochs=3, device="cpu"), SVM(), RidgeHead(), LogisticRegressionHead(), NearestMean()]
OTHERS = [SVM(kernel="rbf"), KNN()]
STEPS = [
    ("l2",),
    ("pca:5",),
    ("pca:5", "whiten"),
    ("l2", "pca:5", "whiten"),
    ("pca:9", "l2", "pca:3"),
    ("pca:9", "pca:4"),
]


def rows(n: int, n_features: int, seed: int = 0) -> np.ndarray:
    """Correlated features far from zero, in units of their own."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, n_features)) @ np.random.default_rng(9).normal(size=(n_features, n_features))
    return (mixed * np.linspace(0.5, 4, n_features) + 20).astype(np.float32)


def labels(x_ND: np.ndarray) -> np.ndarray:
    """Three classes of rows, some of them wrong."""
    y_N = np.digitize(x_ND[:, :4].sum(1), [70, 90])
    return np.where(np.arange(len(y_N)) % 9, y_N, 2 - y_N)


def of_scikit_learn(steps: tuple[str, ...]) -> Any:
    made = []
    for step in steps:
        if step == "whiten":
            made[-1].whiten = True
        else:
            made.append(Normalizer() if step == "l2" else PCA(int(step.partition(":")[2]), svd_solver="full"))
    return make_pipeline(*made)


@pytest.mark.parametrize("shape", [(80, 12), (12, 80)])
@pytest.mark.parametrize("steps", STEPS)
def test_rows_are_those_of_a_pipeline_of_scikit_learn(steps: tuple[str, ...], shape: tuple[int, int]) -> None:
    x_ND, x_MD = rows(*shape), rows(30, shape[1], seed=1)
    expected_MK = of_scikit_learn(steps).fit(x_ND.astype(np.float64)).transform(x_MD.astype(np.float64))
    found_MK = FeatureTransform(steps=steps).fit(x_ND).transform(x_MD)
    assert found_MK.dtype == np.float32
    sign_K = np.sign((found_MK * expected_MK).sum(0))  # a component and its opposite are the same
    np.testing.assert_allclose(found_MK * sign_K, expected_MK, atol=2e-3 * np.abs(expected_MK).max())


@pytest.mark.parametrize("head", [SVM(), SVM(kernel="rbf")], ids=["linear", "rbf"])
def test_labels_are_those_of_a_pipeline_of_scikit_learn(head: SVM) -> None:
    x_ND, x_MD = rows(80, 12), rows(60, 12, seed=1)
    steps = ("l2", "pca:5", "whiten")
    transform = FeatureTransform(steps=steps).fit(x_ND)
    svm = clone(head).set_params(standardize=False).fit(transform.transform(x_ND), labels(x_ND))
    expected = make_pipeline(of_scikit_learn(steps), SVC(kernel=head.kernel)).fit(
        x_ND.astype(np.float64), labels(x_ND)
    )
    found_M = on_raw_features(svm, transform.steps_).predict(x_MD)
    np.testing.assert_array_equal(found_M, expected.predict(x_MD.astype(np.float64)))


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("head", [*LINEAR, *OTHERS], ids=lambda head: f"{head}")
def test_a_head_on_raw_features_answers_as_on_transformed_ones(head: Any, steps: tuple[str, ...]) -> None:
    x_ND, x_MD = rows(80, 12), rows(40, 12, seed=1)
    transform = FeatureTransform(steps=steps).fit(x_ND)
    own = clone(head).fit(transform.transform(x_ND), labels(x_ND))
    raw = on_raw_features(own, transform.steps_)
    assert raw.n_features_in_ == 12
    codes_M, values_MC = outputs(own, transform.transform(x_MD))
    raw_M, raw_MC = outputs(raw, x_MD)
    np.testing.assert_array_equal(raw_M, codes_M)
    np.testing.assert_allclose(raw_MC, values_MC, atol=1e-3 * np.abs(values_MC).max())
    calibration = Calibration.fit(own, transform.transform(x_ND), labels(x_ND))
    expected_MC = calibration.predict_proba(own, transform.transform(x_MD))
    np.testing.assert_allclose(calibration.predict_proba(raw, x_MD), expected_MC, atol=1e-3)


@pytest.mark.parametrize("head", LINEAR, ids=lambda head: f"{head}")
def test_what_is_affine_becomes_part_of_a_linear_head(head: Any) -> None:
    x_ND = rows(80, 12)

    def fitted(*steps: str) -> Any:
        transform = FeatureTransform(steps=steps).fit(x_ND)
        return on_raw_features(clone(head).fit(transform.transform(x_ND), labels(x_ND)), transform.steps_)

    folded = fitted("pca:9", "pca:5", "whiten")
    assert type(folded) is type(head)
    assert folded.coef_.shape[1] == 12
    assert folded.coef_.dtype == np.float64
    unit = fitted("l2", "pca:5")
    assert isinstance(unit, TransformedHead)
    assert len(unit.steps) == 1
    assert type(unit.head) is type(head)


@pytest.mark.parametrize("head", [SVM(kernel="rbf"), NearestMean()], ids=["rbf", "ncm"])
def test_to_standardise_components_is_to_whiten_them(head: Any) -> None:
    x_ND, x_MD = rows(80, 12), rows(60, 12, seed=1)
    found = []
    for steps in (("pca:5",), ("pca:5", "whiten")):
        transform = FeatureTransform(steps=steps).fit(x_ND)
        own = clone(head).fit(transform.transform(x_ND), labels(x_ND))
        found.append(own.predict(transform.transform(x_MD)))
    np.testing.assert_array_equal(*found)


def test_a_layer_that_would_be_too_large_stays_behind_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transfer.heads.transforms.LARGEST_LAYER", 3 * 12 - 1)
    x_ND = rows(80, 12)
    transform = FeatureTransform(steps=("pca:5",)).fit(x_ND)
    head = RidgeHead().fit(transform.transform(x_ND), labels(x_ND))
    assert isinstance(on_raw_features(head, transform.steps_), TransformedHead)


def test_without_steps_nothing_changes() -> None:
    x_ND = rows(20, 6)
    head = KNN().fit(x_ND, labels(x_ND))
    assert on_raw_features(head, ()) is head
    np.testing.assert_array_equal(FeatureTransform().fit_transform(x_ND), x_ND)


@pytest.mark.parametrize("shape", [(80, 12), (12, 80)])
def test_components_have_a_sign_of_their_own(shape: tuple[int, int]) -> None:
    matrix_DK = find_components(rows(*shape), 5).matrix_DK
    largest_K = np.take_along_axis(matrix_DK, np.abs(matrix_DK).argmax(0)[None], 0)
    assert (largest_K > 0).all()
    np.testing.assert_allclose(matrix_DK.T @ matrix_DK, np.eye(5), atol=1e-9)


def test_features_far_from_zero_keep_their_components() -> None:
    x_ND = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32) * np.arange(
        1, 7, dtype=np.float32
    )
    near, far = (find_components(x_ND + shift, 3).matrix_DK for shift in (np.float32(0), np.float32(1e4)))
    np.testing.assert_allclose(far, near, atol=1e-2)


def test_constant_and_repeated_features_are_not_scaled_up() -> None:
    x_ND = np.repeat(rows(40, 3), 4, axis=1)
    x_ND[:, 5] = 7
    found_NK = FeatureTransform(steps=("pca:12", "whiten")).fit_transform(x_ND)
    assert np.abs(found_NK[:, :3].std(0, ddof=1) - 1).max() < 1e-3
    assert np.abs(found_NK[:, 3:]).max() < 1e-2
    zeros = FeatureTransform(steps=("l2", "pca:2", "whiten")).fit_transform(np.zeros((5, 4), np.float32))
    np.testing.assert_array_equal(zeros, 0)


@pytest.mark.parametrize(
    ("shape", "steps", "message"),
    [
        ((20, 6), ("pca:7",), "pca:7, but 20 training images with 6 features have 6 components"),
        ((5, 6), ("pca:5",), "pca:5, but 5 training images with 6 features have 4 components"),
        (
            (20, 6),
            ("pca:3", "l2", "pca:4"),
            "pca:4, but 20 training images with 3 features have 3 components",
        ),
    ],
)
def test_more_components_than_there_are_are_refused(
    shape: tuple[int, int], steps: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        FeatureTransform(steps=steps).fit(rows(*shape))


@pytest.mark.parametrize(("n", "kept"), [(1, 1), (2, 1), (4, 3), (20, 6)])
def test_few_rows_may_give_fewer_components(n: int, kept: int) -> None:
    transform = FeatureTransform(steps=("pca:7", "whiten")).fit(rows(n, 6), fewer=True)
    found_NK = transform.transform(rows(9, 6, seed=1))
    assert found_NK.shape == (9, kept)
    assert np.isfinite(found_NK).all()


def test_only_components_depend_on_other_rows() -> None:
    assert FeatureTransform(steps=("l2", "pca:2")).learns
    assert not FeatureTransform(steps=("l2",)).learns


def test_copies_among_few_rows_give_finite_components() -> None:
    x_ND = np.concatenate([rows(15, 50), rows(5, 50)])
    for steps in (("pca:19",), ("pca:19", "whiten")):
        found_NK = FeatureTransform(steps=steps).fit_transform(x_ND)
        expected = PCA(19, svd_solver="full", whiten="whiten" in steps).fit_transform(x_ND)
        np.testing.assert_allclose(np.abs(found_NK[:, :13]), np.abs(expected[:, :13]), rtol=1e-3, atol=1e-3)
        assert np.isfinite(found_NK).all()
        assert np.abs(found_NK[:, 14:]).max() < 1e-3
