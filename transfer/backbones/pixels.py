"""Pixels to what a network takes, in PyTorch.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import torch
from torch import nn

from transfer.backbones.preprocessing import IMAGENET, Normalisation


def normalise(x_N3HW: torch.Tensor, normalisation: Normalisation = IMAGENET) -> torch.Tensor:
    """uint8 pixels `(N, 3, H, W)` to the float32 values that the networks were trained on."""
    mean, std = (
        torch.tensor(values).view(3, 1, 1).to(x_N3HW.device, non_blocking=True)
        for values in (normalisation.mean, normalisation.std)
    )
    if normalisation.channel_order == "bgr":
        x_N3HW = x_N3HW.flip(1)
    return (x_N3HW.float() / 255 - mean) / std


class FromPixels(nn.Module):
    """A network and what its images go through first: pixels `(N, H, W, 3)` uint8 to features `(N, D)`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation = IMAGENET) -> None:
        super().__init__()
        self.network = network
        self.bgr = normalisation.channel_order == "bgr"
        # Buffers move to the device with the network, and are constants to whatever compiles it.
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(3, 1, 1))

    def forward(self, x_NHW3: torch.Tensor) -> torch.Tensor:
        """Compute features `(N, D)` of pixels `(N, H, W, 3)` uint8."""
        if self.bgr:
            x_NHW3 = x_NHW3.flip(3)
        # Seen as (N, 3, H, W), pixels that lie together by image row are channels_last already.
        x_N3HW = x_NHW3.permute(0, 3, 1, 2)
        x_ND: torch.Tensor = self.network((x_N3HW.float() / 255 - self.mean) / self.std)
        return x_ND.flatten(1)
