from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torchvision import models

from transfer.backbones import memory, networks
from transfer.system.errors import UserError


def test_the_inputs_and_outputs_of_the_largest_operation_are_counted() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False), nn.ReLU())
    assert memory.count_activation_bytes(network, (10, 20)) == 4 * 2 * 8 * 10 * 20


@pytest.mark.slow
def test_activations_grow_with_the_pixels_and_nothing_is_allocated() -> None:
    network = models.resnet18().eval()
    small = memory.count_activation_bytes(network, (3000, 4000))
    assert small == pytest.approx(4 * 2 * 64 * 1500 * 2000, rel=1e-6)  # batch norm of the first layer
    assert memory.count_activation_bytes(network, (300_000, 40_000)) == pytest.approx(1000 * small, rel=0.01)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_as_it_was(training: bool) -> None:
    network = models.resnet18().train(training)
    network.layer1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    memory.count_activation_bytes(network, (64, 64))
    assert network.training == network.layer2[0].bn1.training == training
    assert not network.layer1.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("free", "batch"), [(10**12, 8), (8 * 150, 8), (8 * 150 - 1, 4), (300, 2), (150, 1)])
def test_the_batch_is_halved_until_it_fits(
    free: int, batch: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: free)
    with caplog.at_level(logging.WARNING):
        assert memory.fit_batch(100, 8, (64, 64)) == batch
    assert ("memory is short" in caplog.text) == (batch < 8)


def test_an_image_that_does_not_fit_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 149)
    with pytest.raises(UserError, match=r"one image at 30x40 .* smaller `size`") as caught:
        memory.fit_batch(100, 8, (30, 40))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_untrained_weights_whose_statistics_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    batches = [torch.zeros(4, 3, 64, 64, dtype=torch.uint8)]
    with pytest.raises(UserError, match=r"4 images at 64x64 .* `size`"):
        networks.random_state("resnet18", seed=0, batches=batches)
