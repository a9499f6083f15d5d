from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.engines.samples import network_of, photographs
from transfer.backbones.pixels import normalise
from transfer.engines.folding import fold_batch_norm


def batch_norms(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


def tensors() -> torch.Tensor:
    return normalise(torch.from_numpy(photographs(3)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_it_computes_the_same_in_fewer_steps(name: str) -> None:
    network = network_of(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    with torch.inference_mode():
        np.testing.assert_allclose(folded(tensors()), network(tensors()), rtol=1e-4, atol=1e-5)
    calls = [str(node.target) for node in folded.graph.nodes if node.op == "call_module"]  # type: ignore[union-attr]
    assert not [call for call in calls if isinstance(folded.get_submodule(call), nn.BatchNorm2d)]
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


class Shared(nn.Module):
    """A convolution whose output goes elsewhere too: its batch norm can't be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.norm.running_mean = torch.arange(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return y + self.norm(y)


def test_an_output_that_is_used_twice_keeps_its_batch_norm() -> None:
    network = Shared().eval()
    folded = fold_batch_norm(network)
    with torch.inference_mode():
        torch.testing.assert_close(folded(tensors()), network(tensors()))
    assert batch_norms(folded) == 1


class Repeated(nn.Module):
    """A convolution that is applied twice, with a batch norm of its own after each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.first.running_mean = torch.arange(3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.conv(self.first(self.conv(x))))
        return y


def test_a_convolution_that_is_applied_twice_keeps_its_weights() -> None:
    network = Repeated().eval()
    folded = fold_batch_norm(network)
    with torch.inference_mode():
        torch.testing.assert_close(folded(tensors()), network(tensors()))
    assert batch_norms(folded) == 2
