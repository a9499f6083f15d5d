"""The way most people would write it, timed beside ours in the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from transfer.backbones.networks import MEAN, STD

BATCH = 8


def loader(folder: Path, size: tuple[int, int]) -> DataLoader[Any]:
    """Normalised images `(N, 3, H, W)` and labels of a folder of class folders, as tutorials load them."""
    return DataLoader(ImageFolder(folder, transform(size)), batch_size=BATCH)


def transform(size: tuple[int, int]) -> Any:
    """What tutorials do to an image: a normalised tensor `(3, H, W)`."""
    return transforms.Compose(
        [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
