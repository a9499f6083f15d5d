"""Support vector machines: one Gram matrix shared by a whole grid, solved by scikit-learn's libsvm.

Linear ones on more rows than a Gram matrix may have are solved by `primal` instead.

M: rows to predict. D: features. V: support vectors. C: classes. P: pairs of classes. K: C - 1. S: settings.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.config import UserError, check_choice
from transfer.environment import usable_cores
from transfer.heads import primal
from transfer.heads.gram import KERNELS, Gram, kernel_values, rows_that_fit
from transfer.heads.linear import checked
from transfer.heads.pairs import Machines, bounds, solve, vote
from transfer.heads.selection import GridSearch
from transfer.heads.standardize import to_numpy

Array = npt.NDArray[Any]
Solved = tuple[Machines, float]
FITTED = {"coef_", "support_vectors_", "dual_coef_", "n_support_", "_shift_D", "_scale_D", "_gamma"}

log = logging.getLogger(__name__)


class SVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A support vector machine: what `sklearn.svm.SVC` predicts with the same settings, linear ones by one product.

    Parameters: `kernel`, `C`, `gamma` and `class_weight` as in `SVC`; `standardize` fits on features of mean 0
    and deviation 1; `memory_gb` bounds the Gram matrix (None: a quarter of the machine's memory). On more rows
    than that allows, a linear SVM is `sklearn.svm.LinearSVC`'s (squared hinge loss, one class against the rest),
    which needs no such matrix, on `device` (`auto`, `cpu` or `cuda`); an RBF one is refused.

    Fitted: `classes_`, `one_vs_rest_`, and for a linear kernel, on raw features, `coef_` and `intercept_`: (C, D) and
    (C,) with `one_vs_rest_`, else (P, D) and (P,), for pairs of classes in the order of `itertools.combinations`,
    above zero where the first is preferred (two classes are always one such pair). For RBF `support_vectors_`
    (V, D), class after class, `dual_coef_` (K, V), as in `SVC`, and `intercept_` (P,).
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
        device: str = "auto",
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.standardize = standardize
        self.memory_gb = memory_gb
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, self.classes_, codes_N = checked(self, X, y)
        y = self.classes_[codes_N]
        check_choice("kernel", self.kernel, KERNELS)
        for name in FITTED & vars(self).keys():  # of another kernel, from a fit before this one
            delattr(self, name)
        if len(X) > rows_that_fit(self.memory_gb):
            _refuse([self.kernel], len(X), self.memory_gb)
            layers = primal.fit(X, y, [(self.C, self.class_weight)], self.standardize, self.device)
            return self._take_layer(*layers[0])
        gram = Gram.of(X, y, self.standardize)
        products_NN = gram.products(gram.x_ND)
        kernel_NN = kernel_values(self.kernel, gram.gamma(self.gamma), products_NN, gram.x_ND, gram.x_ND)
        machines, _ = solve(kernel_NN, gram.y_N, self.C, self.class_weight)
        return self._take(gram, machines)

    def decision_function(self, X: Any) -> Array:
        """Votes and, within equal votes, confidence: (n_samples, C); of two classes (n_samples,).

        The transformation from pairs to classes is that of `SVC` with `decision_function_shape="ovr"`.
        """
        values = self._decide(X)
        if len(self.classes_) == 2:
            signed: Array = -values[:, 0]
            return signed
        if self.one_vs_rest_:
            return values
        first_P, second_P = np.triu_indices(len(self.classes_), 1)
        one_CC = np.eye(len(self.classes_))
        sums_MC = values @ (one_CC[first_P] - one_CC[second_P])
        confidence: Array = vote(values, len(self.classes_)) + sums_MC / (3 * (np.abs(sums_MC) + 1))
        return confidence

    def predict(self, X: Any) -> Array:
        """The class with most votes, the first of equal ones, as libsvm has it; one-vs-rest, the class of the largest
        value (n_samples,)."""
        values = self._decide(X)
        labels: Array = self.classes_[_preferred(values, len(self.classes_), self.one_vs_rest_)]
        return labels

    def _decide(self, X: Any) -> Array:
        """Values of the pairs (M, P), or of the classes (M, C)."""
        check_is_fitted(self)
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        if self.kernel == "linear":
            values: Array = X @ self.coef_.T + self.intercept_
            return values
        x_MD = (X - self._shift_D) / self._scale_D
        kernel_MV = kernel_values(
            "rbf", self._gamma, x_MD @ self.support_vectors_.T, x_MD, self.support_vectors_
        )
        return Machines(self.dual_coef_, self.intercept_, self.n_support_).decide(kernel_MV)

    def _take(self, gram: Gram, machines: Machines) -> Self:
        """Become the fitted estimator of these machines."""
        support_N, machines = machines.supported()
        support_VD = gram.x_ND[support_N]
        self.intercept_, self.one_vs_rest_ = machines.intercept_P, False
        if self.kernel == "linear":
            # dual . (x - shift) / scale + intercept, written as weights for x itself.
            coef_PD = machines.coefficients(support_VD) / gram.scale_D
            self.intercept_ = (self.intercept_ - coef_PD @ gram.shift_D).astype(np.float32)
            self.coef_ = coef_PD.astype(np.float32)
        else:
            self.support_vectors_, self.dual_coef_ = support_VD, machines.dual_KN
            self.n_support_ = machines.counts_C
            self._shift_D, self._scale_D, self._gamma = gram.shift_D, gram.scale_D, gram.gamma(self.gamma)
        return self

    def _take_layer(self, coef: Array, intercept: Array) -> Self:
        """Become the fitted estimator of one layer that `primal` solved."""
        self.coef_, self.intercept_, self.one_vs_rest_ = coef, intercept, len(coef) > 1
        return self


class SVMSearch(GridSearch):
    """`SVM` over a grid of kernels, C, gamma and class weights, chosen on validation data.

    The Gram matrix is computed once. Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a
    list of `{params, accuracy, macro_f1, fit_s}` on the validation data, where `fit_s` is the setting's own
    seconds in the solver plus its equal share of the products. Settings that have one solution share its
    seconds. Nothing is drawn; `seed` is there for the sake of a contract common to all searches.

    On more rows than `memory_gb` allows a Gram matrix for, linear settings are fitted together as `SVM` says, each
    with an equal share of the seconds, and RBF ones are left out, which a logged warning says; a grid of RBF alone
    is refused.
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
        device: str = "auto",
    ) -> None:
        self.kernels = kernels
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.standardize = standardize
        self.select = select
        self.memory_gb = memory_gb
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Fit every setting to `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        X, self.classes_, codes_N = checked(self, X, y)
        y = self.classes_[codes_N]
        for kernel in self.kernels:
            check_choice("kernel", kernel, KERNELS)
        rest = list(itertools.product(self.C, self.class_weight))
        if len(X) > rows_that_fit(self.memory_gb):
            _refuse(self.kernels, len(X), self.memory_gb)
            self._gram, kernels = None, [("linear", self.gamma[0])]
            self._layers = primal.fit(X, y, rest, self.standardize, self.device)
            fit_s = [(time.perf_counter() - start) / len(rest)] * len(rest)
        else:
            self._gram, kernels = Gram.of(X, y, self.standardize), self._kernels()
            products_NN = self._gram.products(self._gram.x_ND)
            share_s = (time.perf_counter() - start) / (len(kernels) * len(rest))
            solved = self._solve(self._gram, products_NN, rest)
            self._machines = [machines for machines, _ in solved]
            fit_s = [solve_s + share_s for _, solve_s in solved]
        self._settings = [
            {"kernel": kernel, "C": C, "gamma": gamma, "class_weight": weight}
            for (kernel, gamma), (C, weight) in itertools.product(kernels, rest)
        ]
        return self._choose([_told(params) for params in self._settings], fit_s, X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        n_classes = len(self.classes_)
        if self._gram is None:
            values_SMC = [X @ coef.T + intercept for coef, intercept in self._layers]
            return np.stack([self.classes_[_preferred(v, n_classes, v.shape[1] > 1)] for v in values_SMC])
        x_MD, predicted = self._gram.prepare(X), {}
        products_MN = self._gram.products(x_MD)
        each = len(self._machines) // len(self._kernels())
        for k, (kernel, gamma) in enumerate(self._kernels()):
            kernel_MN = kernel_values(kernel, self._gram.gamma(gamma), products_MN, x_MD, self._gram.x_ND)
            for machines in {id(own): own for own in self._machines[k * each : (k + 1) * each]}.values():
                best_M = _preferred(machines.decide(kernel_MN), n_classes, one_vs_rest=False)
                predicted[id(machines)] = self.classes_[best_M]
        return np.stack([predicted[id(machines)] for machines in self._machines])

    def _solve(self, gram: Gram, products_NN: Array, rest: Sequence[tuple[float, Any]]) -> list[Solved]:
        """The machines of all kernels with all other settings, and their seconds.

        A solution that comes near no bound that C sets is the solution of all settings whose bounds are wider
        still, so the widest goes first, beside the narrowest, which shares it least.
        """
        solved: list[Future[Solved]] = []
        bounds_RC = np.stack([bounds(gram.y_N, *setting) for setting in rest])
        narrowest, widest = int(bounds_RC.min(1).argmin()), int(bounds_RC.min(1).argmax())
        # One kernel after the other in the same place: where rows are many, memory is dear.
        kernel_NN = np.empty(products_NN.shape)
        with ThreadPoolExecutor(usable_cores()) as pool:  # libsvm lets go of the interpreter while it solves
            for kernel, gamma in self._kernels():
                kernel_values(kernel, gram.gamma(gamma), products_NN, gram.x_ND, gram.x_ND, kernel_NN)
                own = {r: pool.submit(solve, kernel_NN, gram.y_N, *rest[r]) for r in {widest, narrowest}}
                machines, _ = own[widest].result()
                free = machines.within(bounds_RC[widest])
                for r, bounds_C in enumerate(bounds_RC):
                    if r not in own:
                        shared = free and machines.within(bounds_C)
                        own[r] = own[widest] if shared else pool.submit(solve, kernel_NN, gram.y_N, *rest[r])
                wait(own.values())
                solved += [own[r] for r in range(len(rest))]
        return [(one.result()[0], one.result()[1] / solved.count(one)) for one in solved]

    def _kernels(self) -> list[tuple[str, float | str]]:
        """Kernels with their gammas; the linear kernel has none and comes once."""
        first = self.gamma[0]
        return [(k, g) for k in self.kernels for g in (self.gamma if k == "rbf" else (first,))]

    def _estimator(self, index: int) -> SVM:
        estimator = SVM(
            **self._settings[index],
            standardize=self.standardize,
            memory_gb=self.memory_gb,
            device=self.device,
        )
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        if self._gram is None:
            return estimator._take_layer(*self._layers[index])
        return estimator._take(self._gram, self._machines[index])


def _preferred(values: Array, n_classes: int, one_vs_rest: bool) -> Array:
    """The class (M,) that values of pairs (M, P), or of classes (M, C), speak for."""
    best_M: Array = (values if one_vs_rest else vote(values, n_classes)).argmax(1)
    return best_M


def _refuse(kernels: Sequence[str], n_rows: int, memory_gb: float | None) -> None:
    """Refuse RBF, or leave it out where there are linear settings too: its Gram matrix does not fit."""
    if "rbf" not in kernels:
        return
    fits = rows_that_fit(memory_gb)
    why = f"{n_rows:,} training images are too many for an RBF kernel in memory; {fits:,} would fit"
    if "linear" not in kernels:
        raise UserError(f"{why}; a linear SVM takes any number")
    log.warning("%s: the RBF settings are left out, the linear ones are fitted", why)


def _told(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters that mean something: a linear kernel has no gamma."""
    return {k: v for k, v in params.items() if k != "gamma" or params["kernel"] != "linear"}
