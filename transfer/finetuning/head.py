"""The last layer while it is trained with blocks.

It begins at zero, and not as `fc` ends: there the training images are often classified so well that their loss is
nearly zero, and so are the gradients of the blocks.

N: images. D: features. C: classes.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transfer.heads.linear import compute_moments, fold_scale
from transfer.heads.linear_probe_classifier import FineTune


class Head(nn.Module):
    """A linear layer on standardised features, in float32.

    Means and deviations are constants of the features that the untrained blocks give: steps of the optimiser then have
    the same size in each feature.

    Parameters
    ----------
    classes : int
    x_ND : ndarray of shape (N, D), float32
        Training features.
    """

    mean_D: torch.Tensor
    scale_D: torch.Tensor

    def __init__(self, classes: int, x_ND: npt.NDArray[np.float32]) -> None:
        super().__init__()
        mean_D, scale_D = compute_moments(x_ND)  # by parts: rows may lie in a file
        self.linear = nn.Linear(x_ND.shape[1], classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean_D", torch.from_numpy(mean_D))
        self.register_buffer("scale_D", torch.from_numpy(scale_D))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, C)` of features."""
        logits_NC: torch.Tensor = self.linear((x_ND.float() - self.mean_D) / self.scale_D)
        return logits_NC

    def folded(self, fitted: FineTune) -> Any:
        """Return the layer for features that are not standardised, as a copy of one that was fitted to such."""
        tensors = self.linear.weight, self.linear.bias, self.mean_D, self.scale_D
        found = copy.deepcopy(fitted)
        found.coef_, found.intercept_ = fold_scale(*(one.detach().cpu().numpy() for one in tensors))
        return found
