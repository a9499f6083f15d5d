"""A support vector machine, solved by scikit-learn's libsvm on a Gram matrix.

Those on more rows than a Gram matrix may have are solved by `primal_svm` instead, RBF ones by way of `nystrom`.

M: rows to predict. D: features. V: support vectors. C: classes. P: pairs of classes. K: C - 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from transfer.heads.checks import validate_rows, validate_training
from transfer.heads.kernels import KERNELS, Gram, kernel_values, rows_that_fit
from transfer.heads.nystrom import Landmarks, choose_landmarks
from transfer.heads.one_vs_one import (
    PairMachines,
    confidence,
    in_blocks,
    pairs_by_first_class,
    vote,
)
from transfer.heads.pair_solver import solve
from transfer.heads.products import multiply_rows
from transfer.heads.svm_rows import ManyRows, SVMLayer
from transfer.system.errors import check_choice

Array = npt.NDArray[Any]
# Weights that a linear SVM may have: 256 MB.
LARGEST_LAYER = 32_000_000
FITTED = {"coef_", "support_vectors_", "dual_coef_", "n_support_", "_shift_D", "_scale_D", "_gamma"}


class SVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A support vector machine with the predictions of `sklearn.svm.SVC`; a linear one predicts by one product.

    The predictions are those of `SVC` on the features that `StandardScaler` gives, or with `standardize=False` on the
    features as they are. By default the kernel is linear, that of `SVC` is RBF.

    If there are more rows than a Gram matrix has memory for, a linear SVM is that of `sklearn.svm.LinearSVC` (squared
    hinge loss, one class against the rest), which needs no such matrix, and an RBF one is that of the features that
    `sklearn.kernel_approximation.Nystroem` gives.

    Parameters
    ----------
    kernel : {"linear", "rbf"}
    C, gamma, class_weight
        As in `SVC`.
    standardize : bool
        Fit on features of mean 0 and deviation 1.
    n_landmarks : int, optional
        Rows by which Nyström's approximation of RBF is made; more than there are: all. None takes 1,000, or as many as
        memory has room for, where there are too many rows for a Gram matrix; 0 refuses RBF there. With any other number
        SVMs are fitted as if there were too many rows.
    memory_gb : float, optional
        Memory that the Gram matrix, or the features of the approximation, may take, in GB; None is a quarter of the
        machine's, or of what is free.
    seed : int
        Of the draw of landmarks.
    device : {"auto", "cpu", "cuda"}
        Where an SVM on too many rows for a Gram matrix is fitted.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    one_vs_rest_ : bool
        Whether each class is set against the rest, not against each other class.
    coef_, intercept_ : float64 ndarrays of shapes (P, D) and (P,), with `one_vs_rest_` (C, D) and (C,)
        The linear SVM for raw features. A value above zero prefers the first class of a pair; pairs are in the order of
        `itertools.combinations`. Two classes are always one pair. If `coef_` would take more than 256 MB (178 classes
        at 2,048 features), support vectors are kept instead.
    support_vectors_ : ndarray of shape (V, D)
        Of an SVM without `coef_`, class after class; of an approximation the landmarks.
    dual_coef_, intercept_ : ndarrays of shapes (K, V) and (P,), with `one_vs_rest_` (C, V) and (C,)
        Of an SVM without `coef_`, as in `SVC`; with `one_vs_rest_` weights of kernel values for each class.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import SVM
    >>> X, y = load_iris(return_X_y=True)
    >>> SVM(kernel="rbf", C=10.0).fit(X, y).predict(X[:2])
    array([0, 0])
    """

    def __init__(
        self,
        *,
        kernel: str = "linear",
        C: float = 1.0,
        gamma: float | str = "scale",
        class_weight: Any = None,
        standardize: bool = True,
        n_landmarks: int | None = None,
        memory_gb: float | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.standardize = standardize
        self.n_landmarks = n_landmarks
        self.memory_gb = memory_gb
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the machines.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)
        y : array of shape (n_samples,)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used, and for an RBF kernel on too many rows.
        """
        X, self.classes_, codes_N = validate_training(self, X, y)
        y = self.classes_[codes_N]
        check_choice("kernel", self.kernel, KERNELS)
        for name in FITTED & vars(self).keys():  # of another kernel, from a fit before this one
            delattr(self, name)
        if self.n_landmarks or len(X) > rows_that_fit(self.memory_gb):
            n_landmarks = choose_landmarks([self.kernel], len(X), self.n_landmarks, self.memory_gb)
            rows = ManyRows(X, y, self.standardize, self.device, n_landmarks, self.seed)
            setting = {name: getattr(self, name) for name in ("kernel", "gamma", "class_weight", "C")}
            return self._take_layer(rows.solve([setting])[0].model)
        gram = Gram.of(X, y, self.standardize)
        products_NN = gram.products(gram.x_ND)
        kernel_NN = gram.kernel(self.kernel, self.gamma, gram.x_ND, products_NN, products_NN)
        machines, _ = solve(kernel_NN, gram.y_N, self.C, self.class_weight)
        return self._take(gram, machines)

    def decision_function(self, X: Any) -> Array:
        """Return votes and, within equal votes, confidence, as `SVC` with `decision_function_shape="ovr"`.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            For two classes (n_samples,), positive for the second. With `one_vs_rest_`, the value of each class.
        """
        x_MD, n_classes = self._checked(X), len(self.classes_)
        if self.one_vs_rest_:
            return self._decide_layer(x_MD)
        if n_classes == 2:
            signed_M: Array = -next(self._decide_pairs(x_MD))[0]
            return signed_M
        return in_blocks(self._decide_pairs, x_MD, n_classes, confidence)

    def predict(self, X: Any) -> Array:
        """Predict the class with most votes, the first among equals, as libsvm; one-vs-rest, that of the largest value.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        x_MD, n_classes = self._checked(X), len(self.classes_)
        votes_MC = (
            self._decide_layer(x_MD)
            if self.one_vs_rest_
            else in_blocks(self._decide_pairs, x_MD, n_classes, vote)
        )
        labels: Array = self.classes_[votes_MC.argmax(1)]
        return labels

    def predict_with_sums(self, X: Any) -> tuple[Array, Array]:
        """Return `predict`, and for each class the sum of the values of its pairs, from one pass over the pairs.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        values : ndarray of shape (n_samples, n_classes), for two classes (n_samples,)
            With `one_vs_rest_` and for two classes `decision_function`.
        """
        values_MC = self.decision_function(X)
        if self.one_vs_rest_:
            return self.classes_[values_MC.argmax(1)], values_MC
        if len(self.classes_) == 2:
            return self.classes_[(values_MC >= 0).astype(int)], values_MC
        # To a number of votes less than a third is added, in which the sum of the pairs' values is hidden:
        # sum / (3 (|sum| + 1)), as scikit-learn's `_ovr_decision_function` has it.
        votes_MC = np.rint(values_MC)
        parts_MC = 3 * (values_MC - votes_MC)
        return self.classes_[votes_MC.argmax(1)], parts_MC / np.maximum(1 - np.abs(parts_MC), 1e-12)

    def _checked(self, X: Any) -> Array:
        check_is_fitted(self)
        x_MD: Array = validate_rows(self, X)
        return x_MD

    def _decide_layer(self, x_MD: Array) -> Array:
        """Return the values of the classes (M, C), each against the rest."""
        if hasattr(self, "coef_"):
            return multiply_rows(x_MD.astype(self.coef_.dtype, copy=False), self.coef_) + self.intercept_
        landmarks = Landmarks(
            self.support_vectors_, self.n_support_, self._shift_D, self._scale_D, self._gamma
        )
        return landmarks.decide(x_MD, [(self.dual_coef_, self.intercept_)])[0]

    def _decide_pairs(self, x_MD: Array) -> Iterator[Array]:
        """Yield the values of the pairs, as `PairMachines.decide` does."""
        if hasattr(self, "coef_"):
            x_DM = x_MD.astype(self.coef_.dtype, copy=False).T
            for _, pairs in pairs_by_first_class(len(self.classes_)):
                yield self.coef_[pairs] @ x_DM + self.intercept_[pairs, None]
            return
        x_MD = (x_MD - self._shift_D) / self._scale_D
        products_MV = multiply_rows(x_MD, self.support_vectors_)
        kernel_MV = kernel_values(self.kernel, self._gamma, products_MV, x_MD, self.support_vectors_)
        yield from PairMachines(self.dual_coef_, self.intercept_, self.n_support_).decide(kernel_MV)

    def _take(self, gram: Gram, machines: PairMachines) -> Self:
        """Set the fitted attributes from these machines."""
        support_N, machines = machines.supported()
        support_VD = gram.x_ND[support_N]
        self.intercept_, self.one_vs_rest_ = machines.intercept_P, False
        if self.kernel == "linear" and len(self.intercept_) * support_VD.shape[1] <= LARGEST_LAYER:
            # dual . (x - shift) / scale + intercept, written as weights for x itself; in float64, since those of raw
            # features far from zero cancel.
            self.coef_ = machines.coefficients(support_VD) / gram.scale_D
            self.intercept_ = self.intercept_ - self.coef_ @ gram.shift_D
        else:
            self.support_vectors_, self.dual_coef_ = support_VD, machines.dual_KN
            self.n_support_ = machines.counts_C
            self._shift_D, self._scale_D, self._gamma = gram.shift_D, gram.scale_D, gram.gamma(self.gamma)
        return self

    def _take_layer(self, layer: SVMLayer) -> Self:
        """Set the fitted attributes from a layer that `primal_svm` solved."""
        self.intercept_, self.one_vs_rest_ = layer.intercept, len(layer.coef) > 1
        if layer.landmarks is None:
            self.coef_ = layer.coef
        else:
            own, self.dual_coef_ = layer.landmarks, layer.coef
            self.support_vectors_, self.n_support_ = own.x_LD, own.counts_C
            self._shift_D, self._scale_D, self._gamma = own.shift_D, own.scale_D, own.gamma
        return self
