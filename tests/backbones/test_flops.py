from __future__ import annotations

import torch
from torch import nn

from transfer.backbones.flops import count_flops


def test_products_and_convolutions_are_counted_for_one_image() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    convolution, product = 2 * 27 * 8 * 10 * 12, 2 * 8 * 5
    assert count_flops(network, (10, 12)) == convolution + product
    assert network.training
    assert all(value.device == torch.device("cpu") for value in network.parameters())
