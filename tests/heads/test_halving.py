from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.heads.test_batched_adam import GRID, SETTINGS, features
from transfer.heads import halving
from transfer.heads.batched_adam import LayerStack
from transfer.heads.halving import Point, Share, rungs, train_shares

N_STEPS = 40


def shares_of(seeds: tuple[int, ...], n_shares: int) -> list[Share]:
    x, y = features(180, 12, 5)
    made = []
    for seed in seeds:
        for k in range(n_shares):
            own = list(range(len(SETTINGS)))[k::n_shares]
            grid = {name: [values[i] for i in own] for name, values in GRID.items()}
            made.append(Share(seed, own, LayerStack(x, y, 5, **grid, batch_size=32, seed=seed)))
    return made


def loss(weights_SCD: torch.Tensor, biases_SC: torch.Tensor) -> torch.Tensor:
    x, y = features(80, 12, 5)
    logits = torch.einsum("md,scd->smc", x, weights_SCD) + biases_SC[:, None]
    return torch.stack([torch.nn.functional.cross_entropy(own, y) for own in logits])


def validate(weights_SCD: torch.Tensor, biases_SC: torch.Tensor) -> list[Point]:
    return [{"loss": value} for value in loss(weights_SCD, biases_SC).tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0,), (3, 4)])
@pytest.mark.parametrize("n_shares", [1, 2, 3])
@pytest.mark.parametrize("n_points", [1, 8])
def test_settings_with_the_smallest_mean_loss_go_on_as_they_would_alone(
    seeds: tuple[int, ...], n_shares: int, n_points: int
) -> None:
    shares = shares_of(seeds, n_shares)
    with ThreadPoolExecutor(2) as pool:
        trained = train_shares(shares, N_STEPS, pool, validate, n_points=n_points)
    alone = {seed: shares_of((seed,), 1)[0].stack for seed in seeds}
    on, done = list(range(len(SETTINGS))), 0
    for step, n_kept in ((10, len(on) / 2), (20, len(on) / 4), (40, 0)):
        layers = {}
        for seed, stack in alone.items():
            stack.train(step - done)
            layers[seed] = tuple(part.clone() for part in stack.layers())
        done = step
        mean_S = sum(loss(*layers[seed]) for seed in seeds)
        kept = sorted(on, key=lambda i: float(mean_S[i]))[: int(n_kept)]
        for i in set(on) - set(kept):
            for seed in seeds:
                assert trained[i, seed].steps == step
                torch.testing.assert_close(
                    (trained[i, seed].weights_CD, trained[i, seed].biases_C),
                    (layers[seed][0][i], layers[seed][1][i]),
                    atol=1e-6,
                    rtol=0,
                )
        on = kept
    assert len(trained) == len(SETTINGS) * len(seeds)


def test_without_a_loss_all_settings_are_trained_to_the_end() -> None:
    with ThreadPoolExecutor(2) as pool:
        trained = train_shares(shares_of((0,), 2), N_STEPS, pool, None)
    assert {one.steps for one in trained.values()} == {N_STEPS}


def test_a_curve_has_a_point_after_every_part_of_the_steps() -> None:
    with ThreadPoolExecutor(2) as pool:
        trained = train_shares(shares_of((0,), 2), N_STEPS, pool, validate, n_points=8)
    for one in trained.values():
        assert [point["step"] for point in one.curve] == list(range(5, one.steps + 1, 5))
        end = loss(one.weights_CD[None], one.biases_C[None])
        assert one.curve[-1]["loss"] == pytest.approx(float(end[0]), rel=1e-5)
    assert {one.steps for one in trained.values()} == {10, 20, 40}


def test_settings_that_diverge_do_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(weights_SCD: torch.Tensor, biases_SC: torch.Tensor) -> list[Point]:
        return [{"loss": torch.nan}, *validate(weights_SCD, biases_SC)[1:]]

    monkeypatch.setattr(halving, "RUNGS", ((0.5, (len(SETTINGS) - 1) / len(SETTINGS)),))
    with ThreadPoolExecutor(1) as pool:
        trained = train_shares(shares_of((0,), 1), N_STEPS, pool, diverging)
    assert trained[0, 0].steps == N_STEPS // 2


@pytest.mark.parametrize(
    ("n_steps", "n_settings", "expected"),
    [
        (500, 12, [(125, 6), (250, 3), (500, 12)]),
        (500, 1, [(125, 1), (250, 1), (500, 1)]),
        (3, 8, [(1, 2), (3, 8)]),
        (1, 8, [(1, 8)]),
    ],
)
def test_rungs(n_steps: int, n_settings: int, expected: list[tuple[int, int]]) -> None:
    assert list(rungs(n_steps, n_settings, halve=True)) == expected
    assert list(rungs(n_steps, n_settings, halve=False)) == [(n_steps, n_settings)]


def test_points_between_the_rungs_drop_no_setting() -> None:
    assert list(rungs(80, 8, halve=True, n_points=5)) == [
        (16, 8),
        (20, 4),
        (32, 4),
        (40, 2),
        (48, 2),
        (64, 2),
        (80, 8),
    ]
    assert list(rungs(3, 8, halve=False, n_points=8)) == [(1, 8), (2, 8), (3, 8)]
