"""The last layer trained on features in the usual loop: `DataLoader`, `torch.optim.Adam`, one rate after the other.

N: training rows. B: rows of a batch. D: features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bench.features import Rows

# The lab's protocol, which the method `fc-lab` follows.
LAB: dict[str, Any] = {"lr": (1e-5, 1e-4, 1e-3, 1e-2), "epochs": 10, "batch_size": 128}


def fit(
    x_ND: torch.Tensor,
    y_N: torch.Tensor,
    n_classes: int,
    *,
    lr: Sequence[float],
    epochs: int,
    batch_size: int,
    device: str = "cpu",
) -> list[nn.Linear]:
    """Train one linear layer for each learning rate, on `device`."""
    layers = []
    for rate in lr:
        torch.manual_seed(0)
        layer = nn.Linear(x_ND.shape[1], n_classes).to(device)
        adam = torch.optim.Adam(layer.parameters(), lr=rate)
        loader = DataLoader(TensorDataset(x_ND, y_N), batch_size=batch_size, shuffle=True)
        for _ in range(epochs):
            for x_BD, y_B in loader:
                adam.zero_grad()
                x_BD, y_B = x_BD.to(device), y_B.to(device)
                nn.functional.cross_entropy(layer(x_BD), y_B).backward()  # type: ignore[no-untyped-call]
                adam.step()
        layers.append(layer)
    return layers


def search(rows: Rows, **settings: Any) -> nn.Linear:
    """Return the layer with the best macro F1 on the validation rows; `settings` are those of `fit`."""
    x_ND, y_N = torch.from_numpy(rows.x_train), torch.from_numpy(rows.y_train)
    layers = fit(x_ND, y_N, int(y_N.max()) + 1, **settings)
    return max(
        layers,
        key=lambda layer: f1_score(
            rows.y_valid, predict(layer, rows.x_valid), average="macro", zero_division=0
        ),
    )


def predict(layer: nn.Linear, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return class indices (N,)."""
    with torch.inference_mode():
        predicted_N: npt.NDArray[np.int64] = (
            layer(torch.from_numpy(x_ND).to(layer.weight.device)).argmax(1).cpu().numpy()
        )
    return predicted_N
