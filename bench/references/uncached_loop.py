"""The last layer trained as tutorials do it: the frozen backbone runs again in every epoch.

After https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, "ConvNet as fixed feature extractor".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn


def epoch(
    features: Callable[[torch.Tensor], torch.Tensor],
    layer: nn.Linear,
    adam: torch.optim.Optimizer,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """Train one epoch.

    Parameters
    ----------
    features
        The frozen backbone: images (N, 3, H, W) to features (N, D).
    layer
        The layer that is trained.
    adam
        Its optimizer.
    batches
        Images (N, 3, H, W) and labels (N,).
    """
    for x_N3HW, y_N in batches:
        x_ND = features(x_N3HW).clone()  # a tensor of inference mode can't take part in training
        adam.zero_grad()
        nn.functional.cross_entropy(layer(x_ND), y_N).backward()  # type: ignore[no-untyped-call]
        adam.step()
