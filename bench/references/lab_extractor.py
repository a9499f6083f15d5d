"""Features as the lab of COMP6248 (Southampton) has its students compute them.

Batches of 8, fp32, NCHW, one thread that decodes and then computes, gradients recorded and thrown away, rows
copied one by one. After https://github.com/ecs-vlc/COMP6248, docs/labs/lab6/genfeats.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from transfer.backbone import MEAN, STD


def extract(network: nn.Module, folder: Path, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Features (N, D) of a folder of class folders; `network` is a whole ResNet whose weights are not frozen."""
    body = nn.Sequential(*list(network.children())[:-2], nn.AdaptiveAvgPool2d((1, 1))).eval()
    steps = [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    loader = DataLoader(ImageFolder(folder, transforms.Compose(steps)), batch_size=8)
    rows = []
    for images, _ in loader:
        features = body(images)
        for i in range(len(features)):
            rows.append(features[i].reshape(-1).cpu().detach().numpy())
    return np.array(rows)
