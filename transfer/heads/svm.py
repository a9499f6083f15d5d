"""Support vector machines: one Gram matrix shared by a whole grid, solved by scikit-learn's libsvm.

M: rows to predict. D: features. V: support vectors. C: classes. P: pairs of classes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.config import check_choice
from transfer.environment import usable_cores
from transfer.heads.gram import KERNELS, Gram, check_memory, kernel_values
from transfer.heads.pairs import Machines, solve, vote
from transfer.heads.selection import GridSearch
from transfer.heads.standardize import to_numpy

Array = npt.NDArray[Any]


class SVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A support vector machine: what `sklearn.svm.SVC` predicts with the same settings, linear ones by one product.

    Parameters: `kernel`, `C`, `gamma` and `class_weight` as in `SVC`; `standardize` fits on features of mean 0
    and deviation 1; `memory_gb` bounds the Gram matrix (None: a quarter of the machine's memory).

    Fitted: `classes_`, `intercept_` (P,), and for a linear kernel `coef_` (P, D) on raw features, for pairs of
    classes in the order of `itertools.combinations`; else `support_vectors_` (V, D) and `dual_coef_` (P, V).
    """

    def __init__(
        self,
        *,
        kernel: str = "linear",
        C: float = 1.0,
        gamma: float | str = "scale",
        class_weight: Any = None,
        standardize: bool = True,
        memory_gb: float | None = None,
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.standardize = standardize
        self.memory_gb = memory_gb

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, y = _checked(self, X, y)
        check_choice("kernel", self.kernel, KERNELS)
        check_memory(len(X), self.memory_gb)
        self.classes_ = np.unique(y)
        gram = Gram.of(X, self.standardize)
        kernel_NN = kernel_values(
            self.kernel, gram.gamma(self.gamma), gram.products(gram.x_ND), gram.x_ND, gram.x_ND
        )
        machines, _ = solve(kernel_NN, y, self.C, self.class_weight)
        return self._take(gram, machines)

    def decision_function(self, X: Any) -> Array:
        """Votes and, within equal votes, confidence: (n_samples, C); of two classes (n_samples,).

        The transformation from pairs to classes is that of `SVC` with `decision_function_shape="ovr"`.
        """
        values_MP = self._decide(X)
        if len(self.classes_) == 2:
            signed: Array = -values_MP[:, 0]
            return signed
        sums_MC = np.zeros((len(values_MP), len(self.classes_)))
        for p, (i, j) in enumerate(itertools.combinations(range(len(self.classes_)), 2)):
            sums_MC[:, i] += values_MP[:, p]
            sums_MC[:, j] -= values_MP[:, p]
        confidence: Array = vote(values_MP, len(self.classes_)) + sums_MC / (3 * (np.abs(sums_MC) + 1))
        return confidence

    def predict(self, X: Any) -> Array:
        """The class with most votes (n_samples,); the first of equal ones, as libsvm has it."""
        values_MP = self._decide(X)
        labels: Array = self.classes_[vote(values_MP, len(self.classes_)).argmax(1)]
        return labels

    def _decide(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        if self.kernel == "linear":
            values: Array = X @ self.coef_.T + self.intercept_
            return values
        x_MD = (X - self._shift_D) / self._scale_D
        kernel_MV = kernel_values(
            "rbf", self._gamma, x_MD @ self.support_vectors_.T, x_MD, self.support_vectors_
        )
        decided: Array = kernel_MV @ self.dual_coef_.T + self.intercept_
        return decided

    def _take(self, gram: Gram, machines: Machines) -> Self:
        """Become the fitted estimator of these machines."""
        support_VD = gram.x_ND[machines.support_V]
        self.intercept_ = machines.intercept_P
        if self.kernel == "linear":
            # dual . (x - shift) / scale + intercept, written as weights for x itself.
            coef_PD = machines.dual_PV @ support_VD / gram.scale_D
            self.intercept_ = (self.intercept_ - coef_PD @ gram.shift_D).astype(np.float32)
            self.coef_ = coef_PD.astype(np.float32)
        else:
            self.support_vectors_, self.dual_coef_ = support_VD, machines.dual_PV
            self._shift_D, self._scale_D, self._gamma = gram.shift_D, gram.scale_D, gram.gamma(self.gamma)
        return self


class SVMSearch(GridSearch):
    """`SVM` over a grid of kernels, C, gamma and class weights, chosen on validation data.

    The Gram matrix is computed once. Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a
    list of `{params, accuracy, macro_f1, fit_s}` on the validation data, where `fit_s` is the setting's own
    seconds in the solver plus its equal share of the products. Nothing is drawn; `seed` is there for the sake
    of a contract common to all searches.
    """

    def __init__(
        self,
        *,
        kernels: Sequence[str] = KERNELS,
        C: Sequence[float] = (0.01, 0.1, 1, 10, 100),
        gamma: Sequence[float | str] = ("scale",),
        class_weight: Sequence[Any] = (None,),
        standardize: bool = True,
        select: str = "macro_f1",
        memory_gb: float | None = None,
        seed: int = 0,
    ) -> None:
        self.kernels = kernels
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.standardize = standardize
        self.select = select
        self.memory_gb = memory_gb
        self.seed = seed

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Fit every setting to `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        X, y = _checked(self, X, y)
        for kernel in self.kernels:
            check_choice("kernel", kernel, KERNELS)
        check_memory(len(X), self.memory_gb)
        self.classes_ = np.unique(y)
        self._gram = gram = Gram.of(X, self.standardize)
        products_NN = gram.products(gram.x_ND)
        shared_s = time.perf_counter() - start
        self._settings, self._machines, seconds = [], [], []
        with ThreadPoolExecutor(usable_cores()) as pool:  # libsvm lets go of the interpreter while it solves
            for kernel, gamma in self._kernels():
                kernel_NN = kernel_values(kernel, gram.gamma(gamma), products_NN, gram.x_ND, gram.x_ND)
                rest = list(itertools.product(self.C, self.class_weight))
                solved = pool.map(lambda setting, K=kernel_NN: solve(K, y, *setting), rest)
                for (C, class_weight), (machines, solve_s) in zip(rest, solved, strict=True):
                    self._settings.append(
                        {"kernel": kernel, "C": C, "gamma": gamma, "class_weight": class_weight}
                    )
                    self._machines.append(machines)
                    seconds.append(solve_s)
        fit_s = [solve_s + shared_s / len(seconds) for solve_s in seconds]
        return self._choose([_told(params) for params in self._settings], fit_s, X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        x_MD = self._gram.prepare(X)
        products_MN = self._gram.products(x_MD)
        kernels = {
            (kernel, gamma): kernel_values(
                kernel, self._gram.gamma(gamma), products_MN, x_MD, self._gram.x_ND
            )
            for kernel, gamma in self._kernels()
        }
        predicted = []
        for params, machines in zip(self._settings, self._machines, strict=True):
            kernel_MN = kernels[params["kernel"], params["gamma"]]
            votes_MC = vote(machines.decide(kernel_MN[:, machines.support_V]), machines.n_classes)
            predicted.append(self.classes_[votes_MC.argmax(1)])
        return np.stack(predicted)

    def _kernels(self) -> list[tuple[str, float | str]]:
        """Kernels with their gammas; the linear kernel has none and comes once."""
        first = self.gamma[0]
        return [(k, g) for k in self.kernels for g in (self.gamma if k == "rbf" else (first,))]

    def _estimator(self, index: int) -> SVM:
        estimator = SVM(**self._settings[index], standardize=self.standardize, memory_gb=self.memory_gb)
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        return estimator._take(self._gram, self._machines[index])


def _told(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters that mean something: a linear kernel has no gamma."""
    return {k: v for k, v in params.items() if k != "gamma" or params["kernel"] != "linear"}


def _checked(estimator: BaseEstimator, X: Any, y: Any) -> tuple[Array, Array]:
    X, y = validate_data(estimator, to_numpy(X), to_numpy(y), dtype=np.float32)
    check_classification_targets(y)
    if len(np.unique(y)) < 2:
        raise ValueError(f"y has one class only, {np.unique(y)[0]!r}; an SVM needs at least two classes")
    return X, y
