from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from transfer import backbone
from transfer.heads.adam import Stack, train_stack

LEARNING_RATES, DECAYS = (1e-5, 1e-4, 1e-3, 1e-2), (0.0, 1e-2)
SETTINGS = list(itertools.product(LEARNING_RATES, DECAYS))
GRID = {"lr_S": [lr for lr, _ in SETTINGS], "weight_decay_S": [decay for _, decay in SETTINGS]}


def features(rows: int, width: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (rows,), generator=generator)
    centres = torch.randn(classes, width, generator=generator)
    return centres[y] + torch.randn(rows, width, generator=generator), y


def same_draws(
    rows: int, width: int, classes: int, epochs: int, seed: int
) -> tuple[nn.Linear, list[torch.Tensor]]:
    """The first layer and the order of each epoch, drawn as a stack draws them."""
    generator = torch.Generator().manual_seed(seed)
    bound = width**-0.5
    start = torch.empty(width + 1, classes).uniform_(-bound, bound, generator=generator)
    layer = nn.Linear(width, classes)
    layer.load_state_dict({"weight": start[:-1].T, "bias": start[-1]})
    return layer, [torch.randperm(rows, generator=generator) for _ in range(epochs)]


def alone(
    x: torch.Tensor,
    y: torch.Tensor,
    classes: int,
    *,
    lr: float,
    weight_decay: float,
    epochs: int,
    batch_size: int,
    seed: int,
    class_weight: torch.Tensor | None,
) -> nn.Linear:
    """One layer in the usual loop."""
    layer, orders = same_draws(*x.shape, classes, epochs, seed)
    adam = torch.optim.Adam(layer.parameters(), lr=lr, weight_decay=weight_decay)
    loss = nn.CrossEntropyLoss(weight=class_weight)
    for order in orders:
        for part in order.split(batch_size):
            adam.zero_grad()
            loss(layer(x[part]), y[part]).backward()
            adam.step()
    return layer


@pytest.mark.parametrize("class_weight", [None, torch.linspace(0.2, 5, 7)], ids=["even", "weighted"])
@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize("batch_size", [64, 50, 1000])  # a short last batch, none, one only
def test_every_layer_equals_one_torch_adam(
    batch_size: int, n_seeds: int, class_weight: torch.Tensor | None
) -> None:
    x, y = features(300, 96, 7)
    shared = {"epochs": 4, "batch_size": batch_size, "seed": 3}
    weights, biases = train_stack(x, y, 7, **GRID, **shared, n_seeds=n_seeds, class_weight_C=class_weight)
    assert weights.shape == (len(SETTINGS) * n_seeds, 7, 96)
    rows = itertools.product(SETTINGS, range(3, 3 + n_seeds))
    for (lr, weight_decay), seed in rows:
        own = {**shared, "seed": seed, "lr": lr, "weight_decay": weight_decay}
        layer = alone(x, y, 7, **own, class_weight=class_weight)
        row = SETTINGS.index((lr, weight_decay)) * n_seeds + seed - 3
        torch.testing.assert_close(weights[row], layer.weight.detach(), atol=1e-5, rtol=0)
        torch.testing.assert_close(biases[row], layer.bias.detach(), atol=1e-5, rtol=0)


def test_training_on_features_equals_training_the_last_layer_of_the_frozen_network() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (24, 3, 60, 100), dtype=torch.uint8)
    y = torch.randint(3, (24,))
    state = backbone.random_state("resnet18", seed=1, batches=[images])
    network = backbone.build("resnet18", state)
    epochs, lr, seed = 3, 1e-2, 5
    with torch.no_grad():
        x = network(backbone.normalise(images))
    weights, biases = train_stack(
        x, y, 3, lr_S=[lr], weight_decay_S=[0.0], epochs=epochs, batch_size=8, seed=seed
    )

    # The usual way: the whole network in every step, its last layer the only one that learns.
    network.fc, orders = same_draws(*x.shape, 3, epochs, seed)
    adam = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=lr)
    for order in orders:
        for part in order.split(8):
            adam.zero_grad()
            nn.functional.cross_entropy(network(backbone.normalise(images[part])), y[part]).backward()
            adam.step()
    torch.testing.assert_close(weights[0], network.fc.weight.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(biases[0], network.fc.bias.detach(), atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    x, y = features(300, 64, 5)
    shared = {**GRID, "epochs": 3, "batch_size": 64}
    one, two, other = (train_stack(x, y, 5, **shared, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.isclose(one, other, atol=1e-3).all(2).any()


def test_training_ends_when_it_is_told_to() -> None:
    x, y = features(100, 10, 3)
    shared = {**GRID, "batch_size": 32, "seed": 0}
    seen = []

    def over(weights: torch.Tensor, biases: torch.Tensor) -> bool:
        seen.append((weights.clone(), biases.clone()))
        return len(seen) == 2

    ended = train_stack(x, y, 3, **shared, epochs=9, over=over)
    assert len(seen) == 2
    for epochs, layers in ((1, seen[0]), (2, seen[1]), (2, ended)):
        torch.testing.assert_close(layers, train_stack(x, y, 3, **shared, epochs=epochs), atol=0, rtol=0)


def test_a_batch_of_classes_without_weight_changes_no_layer_to_nan() -> None:
    x, y = features(40, 6, 2)
    weights, _ = train_stack(
        x, y, 2, **GRID, epochs=2, batch_size=1, seed=0, class_weight_C=torch.tensor([0.0, 1.0])
    )
    assert weights.isfinite().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device can capture")
def test_where_nothing_can_be_captured_the_steps_go_on_one_by_one() -> None:
    x, y = features(100, 10, 3)
    plain, told = (Stack(x, y, 3, **GRID, batch_size=32, seeds=[0, 1]) for _ in range(2))
    plain.epoch()
    told.epoch()
    with pytest.warns(UserWarning, match="not captured"):
        told.capture()
    plain.epoch()
    told.epoch()
    torch.testing.assert_close(told.layers(), plain.layers(), atol=0, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("class_weight", [None, torch.linspace(0.2, 5, 7)], ids=["even", "weighted"])
def test_captured_epochs_equal_those_run_step_by_step(class_weight: torch.Tensor | None) -> None:
    x, y = (part.cuda() for part in features(300, 96, 7))
    weight = None if class_weight is None else class_weight.cuda()
    eager, captured = (
        Stack(x, y, 7, **GRID, batch_size=64, seeds=[0, 1], class_weight_C=weight) for _ in range(2)
    )
    for epoch in range(4):
        if epoch == 1:
            captured.capture()
        eager.epoch()
        captured.epoch()
    torch.testing.assert_close(captured.layers(), eager.layers(), atol=1e-6, rtol=0)
