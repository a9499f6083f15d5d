"""Features as the lab of COMP6248 (Southampton) has its students compute them.

Batches of 8, fp32, NCHW, one thread that decodes and then computes, gradients recorded and discarded, rows
copied one by one. After https://github.com/ecs-vlc/COMP6248, docs/labs/lab6/genfeats.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn


def prepare(network: nn.Module) -> nn.Module:
    """Cut the network as the lab does."""
    return nn.Sequential(*list(network.children())[:-2], nn.AdaptiveAvgPool2d((1, 1))).eval()


def forward(body: nn.Module, x_N3HW: torch.Tensor) -> list[npt.NDArray[np.float32]]:
    """Compute the features of one batch."""
    features = body(x_N3HW)
    return [features[i].reshape(-1).cpu().detach().numpy() for i in range(len(features))]
