"""References: the way most people would write it, timed in the same run as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from transfer.backbones.preprocessing import MEAN, STD

BATCH = 8


def loader(folder: Path, size: tuple[int, int]) -> DataLoader[Any]:
    """Load normalised images `(N, 3, H, W)` and labels of a folder of class folders, as tutorials do."""
    from torchvision.datasets import ImageFolder  # which references on features do without: it takes memory

    return DataLoader(ImageFolder(folder, transform(size)), batch_size=BATCH)


def transform(size: tuple[int, int]) -> Any:
    """Return the transform of tutorials, from an image to a normalised tensor `(3, H, W)`."""
    from torchvision import transforms

    return transforms.Compose(
        [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
