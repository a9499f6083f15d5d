from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from transfer.backbones import networks
from transfer.backbones.pixels import normalise
from transfer.heads import batched_adam
from transfer.heads.batched_adam import LayerStack, redistribute

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


def train_alone(
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
    cosine_steps: int | None = None,
) -> nn.Linear:
    """One layer in the usual loop."""
    layer, orders = same_draws(*x.shape, classes, epochs, seed)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=lr, weight_decay=weight_decay)
    schedule: Any = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    if cosine_steps is not None:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cosine_steps)
    loss = nn.CrossEntropyLoss(weight=class_weight)
    for order in orders:
        for part in order.split(batch_size):
            optimizer.zero_grad()
            loss(layer(x[part]), y[part]).backward()
            optimizer.step()
            schedule.step()
    return layer


WEIGHTS = [None, torch.linspace(0.2, 5, 7), torch.linspace(5, 0.2, 7)]


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
# A short last batch, none, one only.
@pytest.mark.parametrize(
    "batch_size", [pytest.param(64, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.slow), 1000]
)
def test_every_layer_equals_one_torch_adamw(batch_size: int, weighted: bool, cosine: bool) -> None:
    x, y = features(300, 96, 7)
    n_steps = 4 * -(-300 // batch_size)
    shared = {"batch_size": batch_size, "seed": 3, "cosine_steps": n_steps if cosine else None}
    of_setting = [WEIGHTS[i % 3] if weighted else None for i in range(len(SETTINGS))]
    table = torch.stack([torch.ones(7) if weight is None else weight for weight in of_setting])
    stack = LayerStack(x, y, 7, **GRID, **shared, class_weight_SC=table if weighted else None)
    stack.train(n_steps)
    weights, biases = stack.layers()
    assert weights.shape == (len(SETTINGS), 7, 96)
    for row, ((lr, weight_decay), class_weight) in enumerate(zip(SETTINGS, of_setting, strict=True)):
        layer = train_alone(
            x, y, 7, **shared, epochs=4, lr=lr, weight_decay=weight_decay, class_weight=class_weight
        )
        torch.testing.assert_close(weights[row], layer.weight.detach(), atol=1e-5, rtol=0)
        torch.testing.assert_close(biases[row], layer.bias.detach(), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_training_on_features_equals_training_the_last_layer_of_the_frozen_network() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (24, 3, 60, 100), dtype=torch.uint8)
    y = torch.randint(3, (24,))
    state = networks.random_state("resnet18", seed=1, batches=[images])
    network = networks.build("resnet18", state)
    epochs, lr, seed = 3, 1e-2, 5
    with torch.no_grad():
        x = network(normalise(images))
    stack = LayerStack(x, y, 3, lr_S=[lr], weight_decay_S=[0.0], batch_size=8, seed=seed)
    stack.train(epochs * 3)
    weights, biases = stack.layers()

    # The usual way: the whole network in every step, its last layer the only one that learns.
    network.fc, orders = same_draws(*x.shape, 3, epochs, seed)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=lr)
    for order in orders:
        for part in order.split(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(normalise(images[part])), y[part]).backward()
            optimizer.step()
    torch.testing.assert_close(weights[0], network.fc.weight.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(biases[0], network.fc.bias.detach(), atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    x, y = features(300, 64, 5)
    stacks = [LayerStack(x, y, 5, **GRID, batch_size=64, seed=seed) for seed in (1, 1, 2)]
    for stack in stacks:
        stack.train(15)
    one, two, other = (stack.layers()[0] for stack in stacks)
    assert torch.equal(one, two)
    assert not torch.isclose(one, other, atol=1e-3).all(2).any()


@pytest.mark.parametrize("weighted", [(), (1,), (0, 1)])
def test_settings_that_are_kept_train_on_in_other_stacks_as_they_would_beside_the_others(
    weighted: tuple[int, ...],
) -> None:
    x, y = features(300, 24, 5)
    table = torch.rand(len(SETTINGS), 5, generator=torch.Generator().manual_seed(0)) + 0.5
    shared = {"batch_size": 64, "seed": 0, "cosine_steps": 20}

    def stack(own: Sequence[int], is_weighted: bool) -> LayerStack:
        grid = {name: [values[i] for i in own] for name, values in GRID.items()}
        return LayerStack(x, y, 5, **grid, **shared, class_weight_SC=table[own] if is_weighted else None)

    shares = [list(range(len(SETTINGS)))[k::2] for k in range(2)]
    stacks = [stack(own, k in weighted) for k, own in enumerate(shares)]
    wholes = [stack(own, k in weighted) for k, own in enumerate(shares)]
    for each in stacks:
        each.train(7)
    order = [*shares[0], *shares[1]]
    kept = [5, 0, 3]
    redistribute(stacks, kept)
    for each in stacks:
        each.train(7)
    for each in wholes:
        each.train(14)
    for k, own in enumerate(stacks):
        for layer, place in enumerate(kept[k::2]):
            whole = wholes[0 if order[place] in shares[0] else 1]
            expected = [part[shares[whole is wholes[1]].index(order[place])] for part in whole.layers()]
            for one, other in zip(own.layers(), expected, strict=True):
                torch.testing.assert_close(one[layer], other, atol=1e-6, rtol=0)


def test_fewer_settings_than_stacks_leave_the_last_stacks_as_they_are() -> None:
    x, y = features(60, 8, 3)
    stacks = [LayerStack(x, y, 3, lr_S=[lr], weight_decay_S=[0.0], batch_size=8, seed=0) for lr in (0.1, 0.2)]
    redistribute(stacks, [1])
    stacks[0].train(3)
    alone = LayerStack(x, y, 3, lr_S=[0.2], weight_decay_S=[0.0], batch_size=8, seed=0)
    alone.train(3)
    torch.testing.assert_close(stacks[0].layers(), alone.layers(), atol=1e-6, rtol=0)


def test_a_batch_of_classes_without_weight_changes_no_layer_to_nan() -> None:
    x, y = features(40, 6, 2)
    table = torch.tensor([[0.0, 1.0]]).repeat(len(SETTINGS), 1)
    stack = LayerStack(x, y, 2, **GRID, batch_size=1, seed=0, class_weight_SC=table)
    stack.train(80)
    assert stack.layers()[0].isfinite().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device can capture")
def test_where_nothing_can_be_captured_the_steps_go_on_one_by_one() -> None:
    x, y = features(100, 10, 3)
    plain, captured = (LayerStack(x, y, 3, **GRID, batch_size=32, seed=0) for _ in range(2))
    plain.train(3)
    captured.train(3)
    with pytest.warns(UserWarning, match="not captured"):
        captured.capture()
    plain.train(3)
    captured.train(3)
    torch.testing.assert_close(captured.layers(), plain.layers(), atol=0, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("class_weight", [None, torch.linspace(0.2, 5, 7)], ids=["even", "weighted"])
def test_captured_steps_equal_those_run_one_by_one(
    class_weight: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = (part.cuda() for part in features(300, 96, 7))
    table = None if class_weight is None else class_weight.cuda().repeat(len(SETTINGS), 1)
    layers = []
    for warm_up in (batched_adam.WARM_UP_STEPS, 1000):
        monkeypatch.setattr(batched_adam, "WARM_UP_STEPS", warm_up)
        stack = LayerStack(x, y, 7, **GRID, batch_size=64, seed=0, cosine_steps=40, class_weight_SC=table)
        stack.train(40)
        assert (stack._graph is not None) == (warm_up < 40)
        layers.append(stack.layers())
    torch.testing.assert_close(*layers, atol=1e-6, rtol=0)


def test_the_steps_that_a_gpu_captures_are_those_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(300, 24, 5)
    stack = LayerStack(x, y, 5, **GRID, batch_size=64, seed=0, cosine_steps=20)
    stack.train(9)
    monkeypatch.setattr(LayerStack, "is_cuda", True)
    captured = LayerStack(x, y, 5, **GRID, batch_size=64, seed=0, cosine_steps=20)
    captured.train(9)  # on the processor, and too few to be captured
    for one, other in zip(stack.layers(), captured.layers(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
