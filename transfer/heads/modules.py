"""Fitted heads as PyTorch modules, from features to calibrated probabilities: what an exported network ends in.

N: rows. D: features. V: support vectors. P: pairs of classes. C: classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transfer.heads.calibration import Calibration
from transfer.heads.one_vs_one import PairMachines
from transfer.heads.ridge import RidgeHead
from transfer.heads.svm_classifier import LARGEST_LAYER, SVM
from transfer.heads.transforms import Affine, Step, TransformedHead
from transfer.system.errors import UserError

Array = npt.NDArray[Any]


class _Steps(nn.Module):
    """The steps of a `TransformedHead`, in float64."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.affine = [isinstance(step, Affine) for step in steps]
        for i, step in enumerate(steps):
            if isinstance(step, Affine):
                self.register_buffer(f"mean_{i}", torch.from_numpy(step.mean_D).double())
                self.register_buffer(f"matrix_{i}", torch.from_numpy(step.matrix_DK).contiguous())

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        x_ND = x_ND.double()
        for i, affine in enumerate(self.affine):
            if affine:
                x_ND = (x_ND - self.get_buffer(f"mean_{i}")) @ self.get_buffer(f"matrix_{i}")
            else:  # a row of zeros stays
                length_N1 = x_ND.square().sum(1, keepdim=True).sqrt()
                x_ND = x_ND / torch.where(length_N1 > 0, length_N1, 1.0)
        return x_ND


class CalibratedHead(nn.Module):
    """The labels and the probabilities of `Calibration.predict` and `predict_proba`.

    Parameters
    ----------
    outputs : nn.Module
        From features `(N, D)` to scores `(N, C)`, the largest of which is the label's, and outputs `(N, C)`, as
        `calibration.outputs` returns them.
    calibration : Calibration
    """

    def __init__(self, outputs: nn.Module, calibration: Calibration) -> None:
        super().__init__()
        self.outputs = outputs
        self.temperature = calibration.temperature
        self.offset = calibration.offset

    def forward(self, x_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return labels `(N,)` int64, as indices into the head's classes, and probabilities `(N, C)` float32."""
        score_NC, output_NC = self.outputs(x_ND)
        label_N = score_NC.argmax(1)
        is_label_NC = label_N[:, None] == torch.arange(output_NC.shape[1], device=output_NC.device)
        shifted_NC = output_NC / self.temperature + self.offset * is_label_NC.to(output_NC.dtype)
        return label_N, shifted_NC.softmax(1).float()


class _Layer(nn.Module):
    """One product with the features, in the precision of the layer."""

    coef: torch.Tensor
    intercept: torch.Tensor

    def __init__(self, coef: Array, intercept: Array) -> None:
        super().__init__()
        self.register_buffer("coef", torch.from_numpy(np.ascontiguousarray(coef.T)))
        self.register_buffer("intercept", torch.from_numpy(np.ascontiguousarray(intercept)))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = x_ND.to(self.coef.dtype) @ self.coef + self.intercept
        return values


class _ByClass(nn.Module):
    """A value for each class: the label is that of the largest."""

    def __init__(self, values: nn.Module, *, second_alone: bool) -> None:
        super().__init__()
        self.values = values
        self.second_alone = second_alone

    def forward(self, x_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value_NC = self.values(x_ND)
        if self.second_alone:
            return value_NC, nn.functional.pad(value_NC[:, 1:], (1, 0))
        return value_NC, value_NC


class _ByPair(nn.Module):
    """A value for each pair of classes, above zero for the first: they vote, and their sums are the outputs."""

    def __init__(self, values: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.values = values
        first, second = np.array(list(itertools.combinations(range(n_classes), 2))).T
        sign_PC = np.zeros((len(first), n_classes))
        sign_PC[np.arange(len(first)), first] = 1
        sign_PC[np.arange(len(first)), second] = -1
        self.register_buffer("vote_PC", torch.from_numpy(sign_PC))
        # Of two classes the value is that of the second one alone; the first one has 0.
        sum_PC = np.array([[0.0, -1.0]]) if n_classes == 2 else sign_PC
        self.register_buffer("sum_PC", torch.from_numpy(sum_PC))
        # Classes with equally many votes: the first one wins, whatever a library makes of equal values.
        self.register_buffer("later_C", torch.arange(n_classes, dtype=torch.float64) / n_classes)

    def forward(self, x_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value_NP = self.values(x_ND).double()
        # One for the winner and minus one for the loser: twice the votes, less a constant.
        won_NP = (value_NP > 0).to(value_NP.dtype) * 2 - 1
        return won_NP @ self.vote_PC - self.later_C, value_NP @ self.sum_PC


class _Kernel(nn.Module):
    """Kernel values of the features with the support vectors, as `kernel_values` computes them."""

    shift_D: torch.Tensor
    scale_D: torch.Tensor
    support_DV: torch.Tensor
    near_V: torch.Tensor

    def __init__(self, svm: SVM) -> None:
        super().__init__()
        support_VD = torch.from_numpy(svm.support_vectors_).double()
        self.is_linear, self.gamma = svm.kernel == "linear", float(svm._gamma)
        self.register_buffer("shift_D", torch.from_numpy(svm._shift_D).double())
        self.register_buffer("scale_D", torch.from_numpy(svm._scale_D).double())
        self.register_buffer("support_DV", support_VD.T.contiguous())
        self.register_buffer("near_V", support_VD.square().sum(1))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        x_ND = (x_ND.double() - self.shift_D) / self.scale_D
        product_NV: torch.Tensor = x_ND @ self.support_DV
        if self.is_linear:
            return product_NV
        distance_NV = x_ND.square().sum(1, keepdim=True) + self.near_V - 2 * product_NV
        return (-self.gamma * distance_NV.clamp(min=0)).exp()


def build_module(head: Any, calibration: Calibration) -> CalibratedHead:
    """Build the module of a fitted head.

    Linear heads become one matrix; an SVM with support vectors or landmarks becomes its kernel and a matrix over these.

    Parameters
    ----------
    head : classifier
        Fitted, one of `transfer.heads`.
    calibration : Calibration
        Fitted for that head.

    Returns
    -------
    CalibratedHead
        From features `(N, D)` float32 to labels `(N,)` int64 and probabilities `(N, C)` float32.

    Raises
    ------
    UserError
        For nearest neighbours, and for an SVM of so many classes that its matrix would take more than 256 MB.
    """
    if isinstance(head, TransformedHead):
        found = build_module(head.head, calibration)
        found.outputs = nn.Sequential(_Steps(head.steps), found.outputs)
        return found
    if isinstance(head, SVM) and not head.one_vs_rest_:
        return CalibratedHead(_ByPair(_pair_values(head), len(head.classes_)), calibration)
    if isinstance(head, SVM) and not hasattr(head, "coef_"):  # by Nyström's approximation
        values = nn.Sequential(_Kernel(head), _Layer(head.dual_coef_, head.intercept_.astype(float)))
        return CalibratedHead(_ByClass(values, second_alone=False), calibration)
    if not hasattr(head, "coef_"):
        raise UserError(
            f"{type(head).__name__} keeps all training features and is not exported; give another `method`"
        )
    # Of two classes ridge regression gives the value of the second one; others give their difference, as softmax does.
    second_alone = isinstance(head, RidgeHead) and len(head.classes_) == 2
    return CalibratedHead(
        _ByClass(_Layer(head.coef_, head.intercept_), second_alone=second_alone), calibration
    )


def _pair_values(svm: SVM) -> nn.Module:
    if hasattr(svm, "coef_"):
        return _Layer(svm.coef_, svm.intercept_)
    n_vectors, n_pairs = len(svm.support_vectors_), len(svm.intercept_)
    if n_vectors * n_pairs > LARGEST_LAYER:
        raise UserError(
            f"this SVM has {n_pairs:,} pairs of classes over {n_vectors:,} support vectors, too many to export; "
            "give another `method`"
        )
    machines = PairMachines(svm.dual_coef_, svm.intercept_, svm.n_support_)
    # The vectors as rows of an identity: what `coefficients` returns are then the weights of their kernel values.
    return nn.Sequential(_Kernel(svm), _Layer(machines.coefficients(np.eye(n_vectors)), svm.intercept_))
