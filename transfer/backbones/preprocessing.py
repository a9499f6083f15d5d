"""What is done to images before a network sees them.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from transfer.data.resize import Resizing

# The statistics of ImageNet that every torchvision classification network was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """What is done to pixels before a network sees them: `(pixels / 255 - mean) / std`, channel by channel."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    channel_order: str = "rgb"
    """The order in which the network takes the channels, and in which `mean` and `std` are given: rgb or bgr."""

    @property
    def declared(self) -> dict[str, object]:
        """What features depend on. The order of channels is named where it is not the usual one."""
        order = {} if self.channel_order == "rgb" else {"channel_order": self.channel_order}
        return {"mean": self.mean, "std": self.std, **order}

    @property
    def described(self) -> dict[str, object]:
        """As results and models name it."""
        return {"mean": list(self.mean), "std": list(self.std), "channel_order": self.channel_order}


IMAGENET = Normalisation()


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How images are prepared: as the network's own configuration says, but for what a user names."""

    normalisation: Normalisation = IMAGENET
    size: tuple[int, int] = (224, 224)
    """Height and width in pixels."""
    is_fixed: bool = False
    """Whether the network takes images of that size alone, or must be adapted to another."""
    resample: str = "bilinear"
    """Filter that images are resized by: bilinear or bicubic."""
    resize: str = "stretch"
    """How images of another size are brought to the network's: a way of `Resizing`. Never of the configuration."""
    crop: float | None = None
    """Share of a side that its own evaluation keeps of a square image; recorded, and not applied."""

    @property
    def described(self) -> dict[str, object]:
        """As results and models name it."""
        return {
            "resize": self.resize,
            "resample": self.resample,
            "own_size": list(self.size),
            "own_crop": self.crop,
        }

    @property
    def resizing(self) -> Resizing:
        """How images are brought to the input size."""
        return Resizing(self.resize, self.resample)


USUAL = Preprocessing()
"""As torchvision's networks take images."""


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
