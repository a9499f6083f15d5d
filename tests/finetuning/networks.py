"""Small networks, and rows of their maps in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from transfer.backbones import networks
from transfer.backbones.blocks import CutNetwork, cut_at
from transfer.finetuning.head import Head
from transfer.finetuning.rows import MapRows

SIZE, CLASSES = (64, 64), 3
BLOCKS = {"resnet18": "layer4", "vit": "encoder.layers.encoder_layer_1"}


def build(name: str) -> nn.Module:
    """ResNet18 as it is, or a transformer of two small blocks."""
    torch.manual_seed(0)
    if name == "resnet18":
        network = networks.cut(name)[0]
    else:
        from torchvision.models import VisionTransformer

        network = VisionTransformer(
            image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64
        )
        network.heads = nn.Identity()
    return network.requires_grad_(False).eval()


def images(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Noise, tinted by class."""
    generator = torch.Generator().manual_seed(seed)
    x_N3HW = torch.randn(count, 3, *SIZE, generator=generator)
    y_N = np.arange(count) % CLASSES
    x_N3HW[torch.arange(count), torch.from_numpy(y_N)] += 0.5
    return x_N3HW, y_N.astype(np.int64)


def cut(network: nn.Module, name: str) -> CutNetwork:
    return cut_at(network, name, BLOCKS[name], SIZE)


def rows(parts: CutNetwork, x_N3HW: torch.Tensor, y_N: np.ndarray) -> MapRows:
    """The maps of images, in memory."""
    with torch.no_grad():
        rows_ND = parts.frozen(x_N3HW)
    return MapRows(lambda places, dtype: rows_ND[torch.from_numpy(places)].to(dtype), y_N, parts.shapes)


def head(network: nn.Module, x_N3HW: torch.Tensor, y_N: np.ndarray) -> Head:
    with torch.no_grad():
        x_ND = network(x_N3HW).numpy()
    return Head(len(np.unique(y_N)), x_ND)
