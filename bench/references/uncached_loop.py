"""The last layer trained as tutorials do it: the frozen backbone runs again in every epoch.

After https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, "ConvNet as fixed feature extractor".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def epoch(
    body: nn.Module,
    layer: nn.Linear,
    adam: torch.optim.Optimizer,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """One pass over images `(N, 3, H, W)` and labels; of the weights only the layer's move."""
    for x_N3HW, y_N in batches:
        adam.zero_grad()
        with torch.no_grad():
            x_ND = body(x_N3HW).flatten(1)
        nn.functional.cross_entropy(layer(x_ND), y_N).backward()  # type: ignore[no-untyped-call]
        adam.step()
