from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.heads.test_batched_adam import features
from transfer.heads.batched_adam import LayerStack
from transfer.heads.linear_probe_classifier import FineTune


def train_layer(
    x: torch.Tensor, y: torch.Tensor, classes: int, *, n_steps: int, seed: int = 0, **settings: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    stack = LayerStack(
        x, y, classes, lr_S=[1e-2], weight_decay_S=[0.0], batch_size=128, seed=seed, **settings
    )
    stack.train(n_steps)
    weights, biases = stack.layers()
    return weights[0], biases[0]


def test_standardisation_is_folded_into_the_layer() -> None:
    x, y = features(200, 20, 4)
    x = x * torch.linspace(0.1, 30, 20) + torch.linspace(-50, 50, 20)
    x[:, 7] = 3.0  # constant
    head = FineTune(lr=1e-2, seed=2).fit(x, y)

    mean, deviation = x.double().mean(0), x.double().std(0, correction=0)
    deviation[7] = 1
    z = ((x - mean) / deviation).float()
    weights, biases = train_layer(z, y, 4, n_steps=20, seed=2)
    logits = z @ weights.T + biases
    np.testing.assert_allclose(head.decision_function(x), logits, atol=2e-3)


def unequal_features() -> tuple[torch.Tensor, torch.Tensor]:
    """Three overlapping classes of 150, 50 and 25 rows and more of them, mixed."""
    x, y = features(600, 8, 3)
    order = torch.cat([(y == c).nonzero()[: 150 // rarer, 0] for c, rarer in enumerate((1, 3, 6))])
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(0))]
    return x[order] * 0.5, y[order]


def test_balanced_classes_enter_the_loss_with_torchs_weights() -> None:
    x, y = unequal_features()
    counts = torch.bincount(y)
    table = (len(y) / (3 * counts))[None]
    weights, biases = train_layer(x, y, 3, n_steps=20, class_weight_SC=table)
    names = np.array(["ant", "bee", "cat"])
    for class_weight in ("balanced", {names[c]: len(y) / (3 * int(counts[c])) for c in range(3)}):
        head = FineTune(lr=1e-2, standardize=False, class_weight=class_weight).fit(x, names[y])
        np.testing.assert_allclose(head.coef_, weights, atol=1e-6)
        np.testing.assert_allclose(head.intercept_, biases, atol=1e-6)


def test_an_unknown_class_weight_is_named() -> None:
    x, y = features(30, 4, 2)
    with pytest.raises(ValueError, match="balanced"):
        FineTune(class_weight="fair").fit(x, y)


@pytest.mark.parametrize("standardize", [True, False])
def test_rows_that_are_read_only_or_strided_are_taken(standardize: bool) -> None:
    x, y = features(60, 8, 2)
    plain = FineTune(standardize=standardize).fit(x.numpy(), y.numpy())
    locked = x.numpy().copy()
    locked.flags.writeable = False
    turned = np.asfortranarray(x.numpy())
    for rows in (locked, turned, x.numpy()[::-1].copy()[::-1]):
        head = FineTune(standardize=standardize).fit(rows, y.numpy())
        np.testing.assert_array_equal(head.predict_proba(rows), plain.predict_proba(x.numpy()))


def test_two_classes_have_one_decision_value() -> None:
    x, y = features(100, 10, 2)
    head = FineTune().fit(x, y)
    assert head.decision_function(x).shape == (100,)
    np.testing.assert_array_equal(head.predict(x), (head.decision_function(x) > 0).astype(int))
    np.testing.assert_allclose(head.predict_proba(x).sum(1), 1, rtol=1e-5)
