from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.heads.test_adam import GRID, SETTINGS, features
from transfer.heads.adam import LayerStack
from transfer.heads.stopping import N_EVALUATIONS, evaluation_steps, train_to_best


class FakeStack:
    """Three layers whose weights are the number of steps taken, and which settings are still trained."""

    def __init__(self) -> None:
        self.n_steps = 0
        self.settings = torch.arange(3)
        self.trained: list[list[int]] = []

    def train(self, n_steps: int) -> None:
        self.n_steps += n_steps
        self.trained.append(self.settings.tolist())

    def layers(self) -> tuple[torch.Tensor, torch.Tensor]:
        n = len(self.settings)
        return torch.full((n, 2, 4), float(self.n_steps)), torch.full((n, 2), float(self.n_steps))

    def keep(self, settings_S: torch.Tensor) -> None:
        self.settings = self.settings[settings_S]


@pytest.mark.parametrize("drop", [True, False])
def test_each_layer_keeps_its_best_evaluation_and_stops_once_its_patience_is_out(drop: bool) -> None:
    scores = np.array(
        [
            [0.1, 0.5, 0.5],
            [0.2, 0.4, 0.5],  # an equal score is no better one
            [0.3, 0.4, 0.5],  # the second and third stop here
            [0.3, 0.9, 0.4],
            [0.3, 0.9, 0.9],  # the first one stops here
            [0.9, 0.9, 0.9],
        ]
    )
    stack = FakeStack()
    weights, biases, steps = train_to_best(
        stack,  # type: ignore[arg-type]
        lambda weights, biases: scores[stack.n_steps - 1][stack.settings.numpy()],
        n_steps=6,
        patience=2,
        drop=drop,
    )
    assert steps.tolist() == [3, 1, 1]
    assert weights[:, 0, 0].tolist() == biases[:, 1].tolist() == [3, 1, 1]
    assert stack.trained == [[0, 1, 2]] * 3 + [[0] if drop else [0, 1, 2]] * 2


def test_dropping_settings_that_have_stopped_does_not_change_what_is_kept() -> None:
    x, y = features(260, 12, 5)
    x_valid, y_valid = x[180:], y[180:].numpy()
    seen: list[int] = []

    def score(weights: torch.Tensor, biases: torch.Tensor) -> np.ndarray:
        seen.append(len(weights))
        predicted = (torch.einsum("md,scd->smc", x_valid, weights) + biases[:, None]).argmax(2).numpy()
        return (predicted == y_valid).mean(1)

    results = []
    for drop in (True, False):
        stack = LayerStack(x[:180], y[:180], 5, **GRID, batch_size=32, seed=0)
        results.append(train_to_best(stack, score, n_steps=240, patience=3, drop=drop))
    (weights, biases, steps), (other_weights, other_biases, other_steps) = results
    assert 1 < min(seen) < len(SETTINGS)
    np.testing.assert_array_equal(steps, other_steps)
    torch.testing.assert_close(weights, other_weights, atol=1e-6, rtol=0)
    torch.testing.assert_close(biases, other_biases, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n_steps", [1, 7, N_EVALUATIONS, 600, 1001])
def test_evaluations_are_evenly_spaced_and_include_the_last_step(n_steps: int) -> None:
    steps = evaluation_steps(n_steps)
    assert steps[-1] == n_steps
    assert min(n_steps, N_EVALUATIONS) <= len(steps) <= 2 * N_EVALUATIONS
    assert len(set(np.diff([0, *steps[:-1]]))) <= 1
