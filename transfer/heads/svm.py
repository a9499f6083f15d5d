"""Search over settings of support vector machines: one Gram matrix shared by a whole grid.

M: rows to predict. S: settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy.typing as npt

from transfer.heads.base import GridSearch
from transfer.heads.grid import Setting
from transfer.heads.kernels import KERNELS, Gram, rows_that_fit
from transfer.heads.nystrom import choose_landmarks
from transfer.heads.solutions import Solution
from transfer.heads.svm_classifier import SVM
from transfer.heads.svm_rows import KernelRows, ManyRows
from transfer.system.errors import check_choice

Array = npt.NDArray[Any]


class SVMSearch(GridSearch):
    """A search over kernels, C, gamma and class weights of `SVM`, which share one Gram matrix.

    If there are more rows than `memory_gb` allows for a Gram matrix, settings are fitted as `SVM` describes, those of
    one kernel together, each with an equal share of the seconds; `params` of RBF ones then have `n_landmarks`. Where
    RBF has no approximation, its settings are left out, with a logged warning; a grid of RBF alone is refused.

    Parameters
    ----------
    kernels, C, gamma, class_weight : sequence
        Values to try, as `SVM` takes them.
    standardize, n_landmarks, memory_gb, device
        As in `SVM`.
    select : {"macro_f1", "accuracy"}
        The score on the validation data by which a setting is chosen.
    extend : bool
        Whether values of C are added while the best one is an outermost one.
    seed : int
        Of the draw of landmarks.

    Attributes
    ----------
    classes_, cv_results_, best_params_, best_estimator_, extended_, at_edge_
        As in `GridSearch`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import SVMSearch
    >>> X, y = load_iris(return_X_y=True)
    >>> search = SVMSearch(kernels=["linear"], C=[0.1, 1.0]).fit(X[::2], y[::2], X[1::2], y[1::2])
    >>> search.best_params_["kernel"]
    'linear'
    """

    AXES: ClassVar = {"kernels": "kernel", "gamma": "gamma", "class_weight": "class_weight", "C": "C"}
    SCALES = ("C",)

    def __init__(
        self,
        *,
        kernels: Sequence[str] = KERNELS,
        C: Sequence[float] = (0.01, 0.1, 1, 10, 100),
        gamma: Sequence[float | str] = ("scale",),
        class_weight: Sequence[Any] = (None,),
        standardize: bool = True,
        select: str = "macro_f1",
        extend: bool = True,
        n_landmarks: int | None = None,
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
        self.extend = extend
        self.n_landmarks = n_landmarks
        self.memory_gb = memory_gb
        self.seed = seed
        self.device = device

    def _settings(self, rows: KernelRows | ManyRows) -> list[Setting]:
        """Return all combinations: a linear kernel once, without gamma; RBF only if it can be solved."""
        settings: list[Setting] = []
        for setting in super()._settings(rows):
            if setting["kernel"] == "linear":
                del setting["gamma"]
            if setting not in settings and setting["kernel"] in rows.KERNELS:
                settings.append(setting)
        return settings

    def _prepare(self, X: Array, codes_N: Array) -> KernelRows | ManyRows:
        y_N = self.classes_[codes_N]
        for kernel in self.kernels:
            check_choice("kernel", kernel, KERNELS)
        if self.n_landmarks or len(X) > rows_that_fit(self.memory_gb):
            n_landmarks = choose_landmarks(self.kernels, len(X), self.n_landmarks, self.memory_gb)
            return ManyRows(X, y_N, self.standardize, self.device, n_landmarks, self.seed)
        return KernelRows(Gram.of(X, y_N, self.standardize))

    def _solve(
        self, rows: KernelRows | ManyRows, settings: Sequence[Setting], valid: tuple[Array, Array]
    ) -> list[Solution]:
        solutions = rows.solve(settings)
        if isinstance(rows, KernelRows) and not self.extend:  # no settings follow
            rows.release()
        return solutions

    def _predict(self, rows: KernelRows | ManyRows, models: Sequence[Any], X: Array) -> Array:
        return rows.predict(models, X)

    def _make(self, rows: KernelRows | ManyRows, params: Setting, model: Any) -> SVM:
        own: Setting = {"n_landmarks": self.n_landmarks, **params}
        estimator = SVM(
            **own,
            standardize=self.standardize,
            memory_gb=self.memory_gb,
            seed=self.seed,
            device=self.device,
        )
        if isinstance(rows, ManyRows):
            return estimator._take_layer(model)
        rows.release()  # all settings are solved
        return estimator._take(rows.gram, model.machines.whole())

    def _n_workers(self, n_rows: int) -> int:
        """Return the number of splits with room for their Gram matrices."""
        return max(1, min(super()._n_workers(n_rows), int((rows_that_fit(self.memory_gb) / n_rows) ** 2)))
