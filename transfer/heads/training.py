"""Rows for fine-tuning: standardised on the device that computes, trained on, folded back.

N: training rows. M: rows to predict. D: features. C: classes. S: settings. P: S * C rows of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight

from transfer.heads.batched_adam import LayerStack
from transfer.heads.grid import Setting
from transfer.heads.halving import Point, Validate
from transfer.heads.linear import Layer, compute_moments, fold_scale
from transfer.heads.mapped import MappedRows, parts
from transfer.heads.solutions import validation_scores
from transfer.system.gpus import resolve_device
from transfer.system.row_storage import is_mapped

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TrainingRows:
    """Rows and labels that layers of several settings are trained on."""

    x_ND: torch.Tensor | MappedRows
    codes_N: Array
    classes: Array
    mean_D: Array
    deviation_D: Array
    batch_size: int
    device: str
    """`cpu` or `cuda`."""

    @classmethod
    def prepare(
        cls, X: Array, codes_N: Array, classes: Array, *, standardize: bool, batch_size: int, device: str
    ) -> Self:
        """Move rows to the device; mapped rows stay in their file, unless a GPU has room for them twice.

        Parameters
        ----------
        X : (N, D) float32
        codes_N : (N,) int
            Class indices.
        classes : (C,)
        standardize : bool
        batch_size : int
        device : {"auto", "cpu", "cuda"}
            `auto` is CUDA if there is any.
        """
        device = resolve_device(device)
        if device == "cuda" and is_mapped(X) and 2 * X.nbytes > torch.cuda.mem_get_info()[0]:
            device = "cpu"
        mean_D, deviation_D = np.zeros(X.shape[1], np.float32), np.ones(X.shape[1], np.float32)
        if standardize:
            mean_D, deviation_D = compute_moments(X)
        x_ND: torch.Tensor | MappedRows
        if device == "cpu" and is_mapped(X):
            x_ND = MappedRows(X, mean_D, deviation_D)
        elif standardize:
            x_ND = _standardized(X, mean_D, deviation_D, device)
        else:
            x_ND = as_tensor(X).to(device)
        return cls(x_ND, codes_N, classes, mean_D, deviation_D, batch_size, device)

    def stack(self, settings: Sequence[Setting], *, seed: int, cosine_steps: int | None) -> LayerStack:
        """Create untrained layers.

        Parameters
        ----------
        settings : sequence of dict
            `lr`, `weight_decay` and `class_weight` of each layer.
        seed : int
        cosine_steps : int or None
            As in `LayerStack`.

        Returns
        -------
        LayerStack
        """
        class_weight_SC = None
        if any(setting["class_weight"] is not None for setting in settings):
            y_N = self.classes[self.codes_N]
            weights = [compute_class_weight(s["class_weight"], classes=self.classes, y=y_N) for s in settings]
            class_weight_SC = torch.tensor(np.array(weights), dtype=torch.float32, device=self.device)
        return LayerStack(
            self.x_ND,
            torch.from_numpy(self.codes_N).to(self.device),
            len(self.classes),
            lr_S=[setting["lr"] for setting in settings],
            weight_decay_S=[setting["weight_decay"] for setting in settings],
            class_weight_SC=class_weight_SC,
            batch_size=self.batch_size,
            seed=seed,
            cosine_steps=cosine_steps,
        )

    def validation(self, valid: tuple[Array, Array], *, balanced: bool) -> Validate:
        """Return a function that scores layers on validation data.

        Rows of classes without a training row do not enter the loss: no layer gives them a probability.

        Parameters
        ----------
        valid : tuple
            Rows (M, D) and labels (M,).
        balanced : bool
            Average the cross entropy over classes instead of rows.

        Returns
        -------
        callable
            From weights (S, C, D) and biases (S, C) to `loss`, `accuracy` and `macro_f1` of each layer.
        """
        known_M = np.isin(valid[1], self.classes)
        # Of mapped rows no copy is kept.
        mapped = self.device == "cpu" and is_mapped(valid[0])
        x_MD = None if mapped else self._standardize(valid[0])
        codes_M = np.searchsorted(self.classes, np.where(known_M, valid[1], self.classes[0]))
        count_C = np.bincount(codes_M[known_M], minlength=len(self.classes)).clip(1)
        weight_M = known_M / count_C[codes_M] if balanced else known_M
        share_M = torch.from_numpy(weight_M / max(1, weight_M.sum())).float().to(self.device)
        index_M11 = torch.from_numpy(codes_M).to(self.device)[:, None, None]

        def validate(weights_SCD: torch.Tensor, biases_SC: torch.Tensor) -> list[Point]:
            loss_S, predicted = torch.zeros(len(biases_SC), device=self.device), []
            for part in parts(*valid[0].shape):
                x_BD = self._standardize(valid[0][part]) if x_MD is None else x_MD[part]
                logits_BP = torch.addmm(biases_SC.flatten(), x_BD, weights_SCD.flatten(0, 1).T)
                logits_BSC = logits_BP.view(len(x_BD), *biases_SC.shape)
                index_BS1 = index_M11[part].expand(-1, len(biases_SC), 1)
                loss_S -= share_M[part] @ logits_BSC.log_softmax(2).gather(2, index_BS1)[..., 0]
                predicted.append(self.classes[logits_BSC.argmax(2).cpu().numpy()])
            return [
                {"loss": loss, **validation_scores(valid[1], predicted_M)}
                for loss, predicted_M in zip(loss_S.tolist(), np.concatenate(predicted).T, strict=True)
            ]

        return validate

    def _standardize(self, X: Array) -> torch.Tensor:
        return _standardized(X, self.mean_D, self.deviation_D, self.device)

    def fold(self, weights_CD: torch.Tensor, biases_C: torch.Tensor) -> Layer:
        """Return the layer for raw features."""
        return fold_scale(weights_CD.cpu().numpy(), biases_C.cpu().numpy(), self.mean_D, self.deviation_D)


def _standardized(X: Array, mean_D: Array, deviation_D: Array, device: str) -> torch.Tensor:
    x_ND = as_tensor(X).to(device) - as_tensor(mean_D).to(device)
    return x_ND.div_(as_tensor(deviation_D).to(device))


def as_tensor(values: Array) -> torch.Tensor:
    """Convert an array to a tensor; it is copied only if it is read-only or strided."""
    return torch.from_numpy(np.require(values, requirements=("C", "W")))
