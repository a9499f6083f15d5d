"""The last blocks trained as most people would: every image through the whole network at each step.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch
from torch import nn


def train_epoch(
    network: nn.Module,
    head: nn.Module,
    trained: Iterable[str],
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    optimizer: torch.optim.Optimizer,
    dtype: torch.dtype | None = None,
) -> list[float]:
    """Train one epoch; return the loss of each step.

    Parameters
    ----------
    network : nn.Module
        In eval mode; all of its parameters but the trained ones are frozen here.
    head : nn.Module
        From features to logits.
    trained : iterable of str
        Names of the network's parameters.
    batches : iterable of (tensor, tensor)
        Normalised images `(N, 3, H, W)` and labels `(N,)`.
    optimizer : torch.optim.Optimizer
        Of the trained parameters and those of the head.
    dtype : torch.dtype, optional
        That products are cast to; None: float32.
    """
    names, losses = set(trained), []
    for name, value in network.named_parameters():
        value.requires_grad_(name in names)
    for x_N3HW, y_N in batches:
        optimizer.zero_grad()
        cast = torch.autocast(x_N3HW.device.type, dtype) if dtype else contextlib.nullcontext()
        with cast:
            x_ND = network(x_N3HW)
        loss = nn.functional.cross_entropy(head(x_ND.float()), y_N)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
