"""Training rows of a search of support vector machines: their Gram matrix, or too many rows for one.

N: rows. M: rows to predict. S: settings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import gen_batches

from transfer.heads import primal_svm
from transfer.heads.grid import Setting
from transfer.heads.kernels import KERNELS, Gram
from transfer.heads.nystrom import Landmarks, NystromRows
from transfer.heads.one_vs_one import PackedMachines, PairMachines, in_blocks, vote
from transfer.heads.pair_solver import solve_settings
from transfer.heads.products import BLOCK_ROWS, multiply_rows
from transfer.heads.solutions import Solution

Array = npt.NDArray[Any]
Kernel = tuple[str, float | str]

LINEAR: Kernel = "linear", "scale"
# Of a larger matrix no second one is held: a kernel takes the place of the products.
KEPT_BYTES = 1 << 29
# Products of the rows to predict that are held at a time, by multiples of a block: the same bits as all at once.
PREDICTED_BYTES = 1 << 27


@dataclass(frozen=True)
class KernelModel:
    """The machines of a setting, and their kernel."""

    kernel: Kernel
    machines: PairMachines | PackedMachines


class KernelRows:
    """Training rows with the Gram matrix for all settings of a search."""

    KERNELS = KERNELS

    def __init__(self, gram: Gram) -> None:
        self.gram = gram
        self._held: Kernel = LINEAR
        self._values_NN: Array | None = gram.products(gram.x_ND)
        # Of each kernel, the solutions that come near no bound: those of all larger C.
        self._free: dict[Kernel, list[PairMachines]] = {}
        self._models: dict[int, KernelModel] = {}

    def solve(self, settings: Sequence[Setting]) -> list[Solution]:
        """Return solutions of the settings, one kernel after the other: two at once may take too much memory."""
        solved: dict[int, Solution] = {}
        for kernel in dict.fromkeys(map(_kernel, settings)):
            own = [i for i, setting in enumerate(settings) if _kernel(setting) == kernel]
            costs = [(settings[i]["C"], settings[i]["class_weight"]) for i in own]
            results = solve_settings(
                self._kernel_NN(kernel), self.gram.y_N, costs, self._free.setdefault(kernel, [])
            )
            for i, (machines, fit_s) in zip(own, results, strict=True):
                model = self._models.setdefault(id(machines), KernelModel(kernel, machines))
                solved[i] = Solution(settings[i], model, fit_s)
        return [solved[i] for i in range(len(settings))]

    def _kernel_NN(self, kernel: Kernel) -> Array:
        """Return the kernel values of the training rows (N, N)."""
        if self._values_NN is None or self._held not in (LINEAR, kernel):
            self.release()  # before there is another one
            self._held, self._values_NN = LINEAR, self.gram.products(self.gram.x_ND)
        out = None
        if self._values_NN.nbytes > KEPT_BYTES:
            if self._held == kernel != LINEAR:
                return self._values_NN
            self._held, out = kernel, self._values_NN
        return self.gram.kernel(*kernel, self.gram.x_ND, self._values_NN, out)

    def release(self) -> None:
        """Free the matrix; `solve` computes it again if it has to."""
        self._values_NN = None

    def predict(self, models: Sequence[KernelModel], X: Array) -> Array:
        """Return class indices (S, M) predicted by each of the models."""
        codes_SM = np.empty((len(models), len(X)), int)
        n_rows = BLOCK_ROWS * max(1, PREDICTED_BYTES // (8 * BLOCK_ROWS * len(self.gram.x_ND)))
        for rows in gen_batches(len(X), n_rows):
            x_MD = self.gram.prepare(X[rows])
            products_MN = self.gram.products(x_MD)
            kernels = list(dict.fromkeys(model.kernel for model in models))
            for kernel in kernels:
                out = products_MN if kernel == kernels[-1] else None  # which no other kernel needs
                kernel_MN = self.gram.kernel(*kernel, x_MD, products_MN, out)
                codes: dict[int, Array] = {}  # settings may have the same coefficients
                for s, model in enumerate(models):
                    if model.kernel == kernel:
                        key, n_classes = id(model.machines.intercept_P), len(model.machines.counts_C)
                        if key not in codes:  # no name holds the whole machines while the next ones are made
                            votes_MC = in_blocks(model.machines.whole().decide, kernel_MN, n_classes, vote)
                            codes[key] = votes_MC.argmax(1)
                        codes_SM[s, rows] = codes[key]
        return codes_SM


@dataclass(frozen=True, eq=False)
class SVMLayer:
    """The machines of a setting, one class against the rest: of features, or of kernel values with landmarks."""

    coef: Array
    intercept: Array
    landmarks: Landmarks | None = None


class ManyRows:
    """Training rows without a Gram matrix: settings are solved together by `primal_svm`, RBF ones by Nyström.

    Parameters
    ----------
    X, y_N : (N, D) float32 and (N,)
    standardize, device
        As `SVM` takes them.
    n_landmarks : int
        0: linear settings only.
    seed : int
    """

    def __init__(
        self, X: Array, y_N: Array, standardize: bool, device: str, n_landmarks: int, seed: int
    ) -> None:
        self.X, self.y_N, self.standardize, self.device = X, y_N, standardize, device
        self.n_landmarks, self.seed = n_landmarks, seed
        self.KERNELS = KERNELS if n_landmarks else ("linear",)

    @cached_property
    def _nystrom(self) -> NystromRows:
        return NystromRows(self.X, self.y_N, self.n_landmarks, self.standardize, self.seed)

    def solve(self, settings: Sequence[Setting]) -> list[Solution]:
        """Return the layers of the settings; those of one kernel have an equal share of its seconds."""
        solved: dict[int, Solution] = {}
        for kernel in dict.fromkeys(map(_kernel, settings)):
            own = [i for i, setting in enumerate(settings) if _kernel(setting) == kernel]
            start = time.perf_counter()
            layers = self._layers(kernel, [(settings[i]["C"], settings[i]["class_weight"]) for i in own])
            share_s = (time.perf_counter() - start) / len(own)
            found = {} if kernel == LINEAR else {"n_landmarks": self.n_landmarks}
            for i, layer in zip(own, layers, strict=True):
                solved[i] = Solution(settings[i], layer, share_s, found)
        return [solved[i] for i in range(len(settings))]

    def _layers(self, kernel: Kernel, costs: Sequence[tuple[float, Any]]) -> list[SVMLayer]:
        if kernel == LINEAR:
            return [
                SVMLayer(*own)
                for own in primal_svm.fit(self.X, self.y_N, costs, self.standardize, self.device)
            ]
        landmarks, z_NL, root_LL = self._nystrom.features(kernel[1])
        layers = primal_svm.fit(z_NL, self.y_N, costs, False, self.device)
        return [
            SVMLayer(coef.astype(np.float64) @ root_LL, intercept, landmarks) for coef, intercept in layers
        ]

    def predict(self, models: Sequence[SVMLayer], X: Array) -> Array:
        """Return class indices (S, M) predicted by each of the layers."""
        codes_SM = np.empty((len(models), len(X)), int)
        for landmarks in {id(model.landmarks): model.landmarks for model in models}.values():
            own = [s for s, model in enumerate(models) if model.landmarks is landmarks]
            layers = [(models[s].coef, models[s].intercept) for s in own]
            if landmarks is None:
                values = [multiply_rows(X, coef) + intercept for coef, intercept in layers]
            else:
                values = landmarks.decide(X, layers)
            # Two classes are one pair, whose first class a value above zero prefers.
            codes_SM[own] = [
                each.argmax(1) if each.shape[1] > 1 else (each[:, 0] <= 0).astype(int) for each in values
            ]
        return codes_SM


def _kernel(setting: Setting) -> Kernel:
    return setting["kernel"], setting.get("gamma", "scale")
