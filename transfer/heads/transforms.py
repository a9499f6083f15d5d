"""Transforms of features, fitted on training rows, before any head.

N: training rows. B: rows of a part. M: rows to transform. D: features. K: features after a step. C: classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from transfer.config import check_transform, n_components
from transfer.heads.checks import validate_rows
from transfer.heads.linear import compute_moments
from transfer.heads.products import multiply_rows
from transfer.heads.svm_classifier import LARGEST_LAYER
from transfer.system.errors import UserError

Array = npt.NDArray[Any]

# Rows taken to float64 at a time.
CHUNK = 4096
# Components whose variance is a smaller share of the largest are rounding errors of float32, and are not scaled up.
LEAST_VARIANCE = 1e-10


@dataclass(frozen=True)
class Affine:
    """A step that is (x - mean) matrix, with a mean in float32 and a matrix in float64."""

    mean_D: Array
    matrix_DK: Array

    def __call__(self, x_MD: Array) -> Array:
        """Return the rows of the step (M, K), float32."""
        # The mean is taken off before the product, so that features far from zero keep their digits.
        return multiply_rows(x_MD - self.mean_D, self.matrix_DK.T.astype(np.float32))

    def fold(self, coef_CK: Array, intercept_C: Array) -> tuple[Array, Array]:
        """Return a layer on rows of the step as one on the rows before it, in float64."""
        coef_CD = coef_CK @ self.matrix_DK.T
        return coef_CD, intercept_C - coef_CD @ self.mean_D.astype(np.float64)


def to_unit_length(x_MD: Array) -> Array:
    """Divide rows by their Euclidean length; a row of zeros stays."""
    length_M1 = np.linalg.norm(x_MD, axis=1, keepdims=True)
    scaled_MD: Array = x_MD / np.where(length_M1 > 0, length_M1, 1)
    return scaled_MD


Step = Callable[[Array], Array]
"""`to_unit_length` or an `Affine`."""


def apply(steps: Sequence[Step], x_MD: Array) -> Array:
    """Return what fitted steps make of rows, one step after the other."""
    for step in steps:
        x_MD = step(x_MD)
    return x_MD


class FeatureTransform(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Steps in the order given, as a pipeline of scikit-learn's `Normalizer` and `PCA`.

    Parameters
    ----------
    steps : sequence of str
        `l2`: rows to unit length. `pca:N`: the N components of the largest variance; the largest weight of each is
        positive, so that its sign does not depend on a library. `whiten`, right after that: components to variance 1.

    Attributes
    ----------
    steps_ : list of callable
        What transforms rows: `to_unit_length` and `Affine`; whitening is a part of the step before it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads.transforms import FeatureTransform
    >>> X, y = load_iris(return_X_y=True)
    >>> FeatureTransform(steps=["l2", "pca:2"]).fit_transform(X).shape
    (150, 2)
    """

    def __init__(self, *, steps: Sequence[str] = ()) -> None:
        self.steps = steps

    @property
    def learns(self) -> bool:
        """Whether it depends on the rows that it is fitted to."""
        return any(map(n_components, self.steps))

    def check(self, n_rows: int, n_features: int) -> None:
        """Raise `UserError` for more components than so many training rows of so many features have."""
        for count in filter(None, map(n_components, self.steps)):
            if count > (most := min(n_features, n_rows - 1)):
                raise UserError(
                    f"`transform` has pca:{count}, but {n_rows:,} training images with {n_features:,} features have "
                    f"{most:,} components; give at most so many"
                )
            n_features = count

    def fit(self, X: Any, y: Any = None, *, fewer: bool = False) -> Self:
        """Fit every step to what those before it make of the rows.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)
            Training rows, and no others.
        y : None
            Not used.
        fewer : bool
            Whether rows that have fewer components than a step names give all they have.

        Returns
        -------
        self

        Raises
        ------
        UserError
            For unknown steps, and for more components than these rows have.
        """
        check_transform(self.steps)
        x_ND = validate_rows(self, X, reset=True)
        if not fewer:
            self.check(*x_ND.shape)
        self.steps_: list[Step] = []
        for name in self.steps:
            if name == "whiten":  # a part of the step before it
                before, deviation_K = self.steps_.pop(), _deviations(x_ND)
                assert isinstance(before, Affine), "check_transform"
                self.steps_.append(Affine(before.mean_D, before.matrix_DK / deviation_K))
                x_ND = x_ND / deviation_K.astype(np.float32)
                continue
            count = n_components(name)
            step = find_components(x_ND, count) if count else to_unit_length
            self.steps_.append(step)
            x_ND = step(x_ND)
        return self

    def transform(self, X: Any) -> Array:
        """Transform rows.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            float32.
        """
        check_is_fitted(self)
        return apply(self.steps_, validate_rows(self, X))


def find_components(x_ND: Array, count: int) -> Affine:
    """Find the principal components of rows, from the smaller of their two Gram matrices, in float64.

    Parameters
    ----------
    x_ND : (N, D) float32
    count : int
        Components; all there are, if there are fewer.

    Returns
    -------
    Affine
        Its matrix has the components as columns, that of the largest variance first.
    """
    mean_D, _ = compute_moments(x_ND)
    n_rows, n_features = x_ND.shape
    count = max(1, min(count, n_features, n_rows - 1))
    if n_rows < n_features:
        rows_ND = torch.from_numpy(x_ND - mean_D).double()
        square_K, vector_NK = torch.linalg.eigh(rows_ND @ rows_ND.T)
        # Rows that depend on each other, as copies do, have as many lengths of zero, or of rounding.
        least = torch.finfo(torch.float64).eps * square_K[-1] + torch.finfo(torch.float64).tiny
        length_K = square_K.clamp(min=least).sqrt()
        vector_DK = rows_ND.T @ vector_NK / length_K
    else:
        gram_DD = torch.zeros(n_features, n_features, dtype=torch.float64)
        for part in gen_batches(n_rows, CHUNK):
            rows_BD = torch.from_numpy(x_ND[part] - mean_D).double()
            gram_DD.addmm_(rows_BD.T, rows_BD)
        vector_DK = torch.linalg.eigh(gram_DD)[1]
    vector_DK = vector_DK[:, -count:].flip(1)
    sign_K = vector_DK.gather(0, vector_DK.abs().argmax(0, keepdim=True)).sign()
    return Affine(mean_D, (vector_DK * sign_K).numpy())


def _deviations(x_NK: Array) -> Array:
    """Return the standard deviations of components (K,), computed as in scikit-learn's `PCA`."""
    variance_K = x_NK.var(0, dtype=np.float64, ddof=1 if len(x_NK) > 1 else 0)
    scaled_K = variance_K > LEAST_VARIANCE * variance_K.max()
    deviations: Array = np.sqrt(np.where(scaled_K, variance_K, 1))
    return deviations


class TransformedHead:
    """A head behind steps that can't be folded into it.

    It has of `predict`, `decision_function`, `predict_proba` and `predict_with_sums` what the head has.

    Parameters
    ----------
    steps : sequence of callable
        Fitted.
    head : classifier
        Fitted to rows of the last step.
    """

    _METHODS = ("predict", "decision_function", "predict_proba", "predict_with_sums")

    def __init__(self, steps: Sequence[Step], head: Any) -> None:
        self.steps = tuple(steps)
        self.head = head
        self.classes_ = head.classes_
        first = next((step for step in self.steps if isinstance(step, Affine)), None)
        self.n_features_in_ = head.n_features_in_ if first is None else len(first.mean_D)

    def __getattr__(self, name: str) -> Any:
        if name not in self._METHODS:
            raise AttributeError(name)
        method = getattr(self.head, name)
        return lambda X: method(apply(self.steps, X))


def on_raw_features(head: Any, steps: Sequence[Step]) -> Any:
    """Return a head on transformed features as one on the features themselves.

    Parameters
    ----------
    head : classifier
        Fitted to rows that the steps made; it stays as it is.
    steps : sequence of callable
        Of a fitted `FeatureTransform`.

    Returns
    -------
    classifier
        A linear head with the last steps folded into its layer; where more is left, behind the other steps.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import RidgeHead
    >>> from transfer.heads.transforms import FeatureTransform, on_raw_features
    >>> X, y = load_iris(return_X_y=True)
    >>> transform = FeatureTransform(steps=["pca:2", "whiten"]).fit(X)
    >>> head = RidgeHead().fit(transform.transform(X), y)
    >>> on_raw_features(head, transform.steps_).coef_.shape
    (3, 4)
    """
    steps = list(steps)
    while steps and hasattr(head, "coef_"):
        last = steps[-1]
        if not isinstance(last, Affine) or len(head.coef_) * len(last.mean_D) > LARGEST_LAYER:
            break
        head = copy.copy(head)
        head.coef_, head.intercept_ = last.fold(head.coef_, head.intercept_)
        head.n_features_in_ = len(last.mean_D)
        steps.pop()
    return TransformedHead(steps, head) if steps else head
