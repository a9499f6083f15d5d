"""Floating-point operations of a network."""

from __future__ import annotations

from torch import nn

from transfer.backbones.memory import without_values


def count_flops(network: nn.Module, size: tuple[int, int]) -> int:
    """Count the operations of a network's products and convolutions for one image; an addition is one of its own.

    Nothing is computed: the network is run on tensors that have a shape and no values.

    Parameters
    ----------
    network : nn.Module
        Takes normalised images `(N, 3, H, W)`.
    size : (int, int)
        Height and width in pixels.

    Returns
    -------
    int
    """
    from torch.utils.flop_counter import FlopCounterMode  # Triton, which is rarely needed

    with without_values(network) as (_, forward), FlopCounterMode(display=False) as counter:
        forward(size)
    return int(counter.get_total_flops())
