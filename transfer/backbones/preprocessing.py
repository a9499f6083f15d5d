"""How images are prepared for a network: what is declared of it."""

from __future__ import annotations

from dataclasses import dataclass

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
