from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from transfer import backbone
from transfer.heads.adam import train_stack
from transfer.heads.fc import FineTune, FineTuneSearch

LEARNING_RATES = (1e-5, 1e-4, 1e-3, 1e-2)


def features(rows: int, width: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (rows,), generator=generator)
    centres = torch.randn(classes, width, generator=generator)
    return centres[y] + torch.randn(rows, width, generator=generator), y


def same_draws(
    rows: int, width: int, classes: int, epochs: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """First weights, first biases and the order of each epoch, drawn as `train_stack` says it draws them."""
    generator = torch.Generator().manual_seed(seed)
    bound = width**-0.5
    start = torch.empty(width + 1, classes).uniform_(-bound, bound, generator=generator)
    orders = [torch.randperm(rows, generator=generator) for _ in range(epochs)]
    return start[:-1].T.clone(), start[-1].clone(), orders


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("batch_size", [64, 50])
def test_the_stack_equals_one_torch_adam_for_each_learning_rate(weight_decay: float, batch_size: int) -> None:
    rows, width, classes, epochs, seed = 300, 96, 7, 4, 3
    x, y = features(rows, width, classes)
    weights, biases = train_stack(
        x,
        y,
        classes,
        lr_S=LEARNING_RATES,
        weight_decay_S=[weight_decay] * 4,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
    )
    for s, lr in enumerate(LEARNING_RATES):
        first_weight, first_bias, orders = same_draws(rows, width, classes, epochs, seed)
        layer = nn.Linear(width, classes)
        layer.load_state_dict({"weight": first_weight, "bias": first_bias})
        adam = torch.optim.Adam(layer.parameters(), lr=lr, weight_decay=weight_decay)
        for order in orders:
            for part in order.split(batch_size):
                adam.zero_grad()
                nn.functional.cross_entropy(layer(x[part]), y[part]).backward()
                adam.step()
        torch.testing.assert_close(weights[s], layer.weight.detach(), atol=1e-5, rtol=0)
        torch.testing.assert_close(biases[s], layer.bias.detach(), atol=1e-5, rtol=0)


def test_training_on_features_equals_training_the_last_layer_of_the_frozen_network() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (24, 3, 60, 100), dtype=torch.uint8)
    y = torch.randint(3, (24,))
    state = backbone.random_state("resnet18", seed=1, batches=[images])
    network = backbone.build("resnet18", state)
    rows, epochs, lr, seed = len(y), 3, 1e-2, 5
    with torch.no_grad():
        x = network(backbone.normalise(images))
    weights, biases = train_stack(
        x, y, 3, lr_S=[lr], weight_decay_S=[0.0], epochs=epochs, batch_size=8, seed=seed
    )

    # The usual way: the whole network in every step, its last layer the only one that learns.
    first_weight, first_bias, orders = same_draws(rows, x.shape[1], 3, epochs, seed)
    network.fc = nn.Linear(x.shape[1], 3)
    network.fc.load_state_dict({"weight": first_weight, "bias": first_bias})
    adam = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=lr)
    for order in orders:
        for part in order.split(8):
            adam.zero_grad()
            nn.functional.cross_entropy(network(backbone.normalise(images[part])), y[part]).backward()
            adam.step()
    torch.testing.assert_close(weights[0], network.fc.weight.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(biases[0], network.fc.bias.detach(), atol=1e-5, rtol=0)


def test_standardisation_is_folded_into_the_layer() -> None:
    x, y = features(200, 20, 4)
    x = x * torch.linspace(0.1, 30, 20) + torch.linspace(-50, 50, 20)
    x[:, 7] = 3.0  # constant
    head = FineTune(lr=1e-2, seed=2).fit(x, y)

    mean, deviation = x.double().mean(0), x.double().std(0, correction=0)
    deviation[7] = 1
    z = ((x - mean) / deviation).float()
    weights, biases = train_stack(
        z, y, 4, lr_S=[1e-2], weight_decay_S=[0.0], epochs=10, batch_size=128, seed=2
    )
    logits = z @ weights[0].T + biases[0]
    np.testing.assert_allclose(head.decision_function(x), logits, atol=2e-3)


def test_a_search_holds_what_single_fits_would() -> None:
    x, y = features(260, 30, 5)
    search = FineTuneSearch(lr=LEARNING_RATES, weight_decay=(0.0, 0.1), epochs=3, seed=4).fit(
        x[:200], y[:200], x[200:], y[200:]
    )
    each = search.predict_each(x)
    assert [row["params"] for row in search.cv_results_] == [
        {"lr": lr, "weight_decay": decay} for lr in LEARNING_RATES for decay in (0.0, 0.1)
    ]
    for row, predicted in zip(search.cv_results_, each, strict=True):
        alone = FineTune(**row["params"], epochs=3, seed=4).fit(x[:200], y[:200])
        np.testing.assert_array_equal(predicted, alone.predict(x))
        assert row["accuracy"] == pytest.approx((predicted[200:] == y[200:].numpy()).mean())


def test_two_classes_have_one_decision_value() -> None:
    x, y = features(100, 10, 2)
    head = FineTune().fit(x, y)
    assert head.decision_function(x).shape == (100,)
    np.testing.assert_array_equal(head.predict(x), (head.decision_function(x) > 0).astype(int))
    np.testing.assert_allclose(head.predict_proba(x).sum(1), 1, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_the_same_layer() -> None:
    x, y = features(300, 64, 6)
    on_cpu = FineTuneSearch(device="cpu").fit(x[:200], y[:200], x[200:], y[200:])
    on_cuda = FineTuneSearch(device="cuda").fit(x[:200], y[:200], x[200:], y[200:])
    np.testing.assert_allclose(on_cuda.best_estimator_.coef_, on_cpu.best_estimator_.coef_, atol=1e-4)


def test_the_lab_features_are_learned(boat_features: dict[str, np.ndarray]) -> None:
    search = FineTuneSearch().fit(
        boat_features["x_train"], boat_features["y_train"], boat_features["x_valid"], boat_features["y_valid"]
    )
    predicted = search.predict(boat_features["x_test"])
    assert (predicted == boat_features["y_test"]).mean() > 0.88
