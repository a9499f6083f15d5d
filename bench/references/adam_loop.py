"""The last layer trained on features in the usual loop: `DataLoader`, `torch.optim.Adam`, rate after rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def fit(
    x_ND: torch.Tensor,
    y_N: torch.Tensor,
    n_classes: int,
    *,
    lr: Sequence[float],
    epochs: int,
    batch_size: int,
) -> list[nn.Linear]:
    """One linear layer for each learning rate."""
    layers = []
    for rate in lr:
        torch.manual_seed(0)
        layer = nn.Linear(x_ND.shape[1], n_classes)
        adam = torch.optim.Adam(layer.parameters(), lr=rate)
        loader = DataLoader(TensorDataset(x_ND, y_N), batch_size=batch_size, shuffle=True)
        for _ in range(epochs):
            for x_BD, y_B in loader:
                adam.zero_grad()
                nn.functional.cross_entropy(layer(x_BD), y_B).backward()  # type: ignore[no-untyped-call]
                adam.step()
        layers.append(layer)
    return layers
