from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.finetuning import networks
from transfer.backbones.pixels import FromPixels
from transfer.cache.store import Store
from transfer.finetuning.checkpoints import Checkpoint
from transfer.finetuning.uncached import Places, Protocol, UncachedTraining
from transfer.heads.batched_adam import LayerStack, draw_start
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow
PROTOCOL = Protocol(lr=(1e-4, 1e-2), epochs=4, batch=8, seed=0, precision="fp32")
COUNT, WIDTH = 36, 512  # five batches, the last one smaller


def pixels() -> tuple[torch.Tensor, np.ndarray]:
    x_N3HW, y_N = networks.images(COUNT, 1)
    return (x_N3HW * 40 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous(), y_N


def make(protocol: Protocol = PROTOCOL, module: nn.Module | None = None) -> UncachedTraining:
    x_NHW3, y_N = pixels()
    network = FromPixels(module or networks.build("resnet18"))

    def read(order: Places) -> Iterator[torch.Tensor]:
        return iter(torch.split(x_NHW3[order], protocol.batch))

    return UncachedTraining(network, WIDTH, read, y_N, protocol)


def train_as_the_notebook(lr: float, lab: Protocol) -> tuple[nn.Module, nn.Linear, list[float]]:
    """The plain way: `model.train()`, all frozen but the last layer, every image through all of it at each step."""
    x_NHW3, y_N = pixels()
    model = nn.Sequential(FromPixels(networks.build("resnet18")), nn.Linear(WIDTH, networks.CLASSES))
    generator = torch.Generator().manual_seed(lab.seed)
    start_CD = draw_start(WIDTH, networks.CLASSES, generator)
    model[1].load_state_dict({"weight": start_CD[:, :-1], "bias": start_CD[:, -1]})
    optimizer = torch.optim.Adam(model[1].parameters(), lr=lr)
    losses = []
    for _ in range(lab.epochs):
        model.train()
        for places in torch.randperm(COUNT, generator=generator).split(lab.batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x_NHW3[places]), torch.from_numpy(y_N)[places])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    model.eval()
    return model[0], model[1], losses


def test_twenty_steps_equal_those_of_the_notebook_for_every_learning_rate() -> None:
    training = make()
    training.run()
    x_NHW3, _ = pixels()
    for layer, lr in zip(training.layers, PROTOCOL.lr, strict=True):
        network, expected, losses = train_as_the_notebook(lr, PROTOCOL)
        assert len(losses) == 20
        torch.testing.assert_close(layer.weight, expected.weight, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.bias, expected.bias, rtol=1e-4, atol=1e-4)
        own = training.network.state_dict()
        for name, value in network.state_dict().items():
            torch.testing.assert_close(own[name], value, rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            found_NC = layer(training.network(x_NHW3))
            torch.testing.assert_close(found_NC, expected(network(x_NHW3)), rtol=1e-4, atol=1e-4)


def test_layers_begin_as_those_of_cached_features_and_see_the_same_batches() -> None:
    """With batch norm in eval mode they end as on cached features: batch norm is the one difference."""
    module = networks.build("resnet18")
    training = make(module=module)
    training.network.train = lambda mode=True: training.network  # type: ignore[method-assign]
    training.run()
    x_NHW3, y_N = pixels()
    with torch.no_grad():
        x_ND = FromPixels(module)(x_NHW3)
    stack = LayerStack(
        x_ND,
        torch.from_numpy(y_N),
        networks.CLASSES,
        lr_S=PROTOCOL.lr,
        weight_decay_S=(0.0, 0.0),
        batch_size=PROTOCOL.batch,
        seed=PROTOCOL.seed,
    )
    stack.train(20)
    weights_SCD, biases_SC = stack.layers()
    for s, layer in enumerate(training.layers):
        torch.testing.assert_close(layer.weight.detach(), weights_SCD[s], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(layer.bias.detach(), biases_SC[s], rtol=1e-3, atol=1e-4)


def test_a_training_that_was_stopped_continues(tmp_path: Path) -> None:
    straight = make()
    straight.run()
    stopped = make(replace(PROTOCOL, epochs=4))
    declared = {"method": "a test"}
    checkpoint = Checkpoint(Store(tmp_path), declared, stopped)
    for _ in range(2):
        stopped.train_epoch()
        stopped.epoch += 1
        checkpoint.save()
    resumed = make()
    Checkpoint(Store(tmp_path), declared, resumed).load()
    assert resumed.epoch == 2
    resumed.run()
    expected = straight.tensors
    assert all(torch.equal(value, expected[name]) for name, value in resumed.tensors.items())


def test_dropout_follows_from_the_seed() -> None:
    def build() -> nn.Module:
        module = networks.build("resnet18")
        return nn.Sequential(module, nn.Dropout(0.5))

    found = []
    for seed in (0, 0, 1):
        training = make(replace(PROTOCOL, epochs=1, seed=seed), build())
        training.run()
        found.append(training.layers[0].weight.detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_time_is_estimated_once_by_the_first_batch(caplog: pytest.LogCaptureFixture) -> None:
    training = make()
    with caplog.at_level(logging.INFO, "transfer"):
        training.run()
    [line] = [one.getMessage() for one in caplog.records]
    assert line.startswith("the network runs on 144 images (4 epochs): about ")
    assert line.endswith("images/s")


def test_a_batch_without_statistics_is_named() -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, WIDTH))
    protocol = replace(PROTOCOL, batch=COUNT - 1)
    with pytest.raises(UserError, match="the last batch has one image, .* another `batch_size`"):
        make(protocol, module).run()


def test_progress_counts_steps() -> None:
    said: list[tuple[object, ...]] = []
    make().run(on_progress=lambda *given: said.append(given))
    assert said[0] == ("train", 0, 20, "epoch 1 of 4", "steps")
    assert said[-1][1:3] == (20, 20)
