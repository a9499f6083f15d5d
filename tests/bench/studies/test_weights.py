from __future__ import annotations

import numpy as np
import pytest

from bench.studies import weights
from transfer import metrics
from transfer.data.random_splits import SPLITS
from transfer.features.extract import Split

Y_N = np.repeat(np.arange(4), [40, 20, 10, 5])


def draw_predictions(rng: np.random.Generator, right: float) -> weights.Labels:
    """Labels of which about so many are right."""
    return np.where(rng.random(len(Y_N)) < right, Y_N, rng.integers(0, 4, len(Y_N)))


@pytest.mark.slow
def test_a_gain_is_against_the_mean_of_the_others_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(1)
    own_N, others = draw_predictions(rng, 0.9), [draw_predictions(rng, 0.4) for _ in range(3)]
    found = weights.gain(Y_N, own_N, others, 4)
    for score, gained in found.items():
        marked = [metrics.score(Y_N, other_N, 4)[score] for other_N in others]
        assert gained["mean"] == pytest.approx(metrics.score(Y_N, own_N, 4)[score] - np.mean(marked))
        low, high = gained["ci95"]
        assert 0 < low < gained["mean"] < high < 1


@pytest.mark.slow
def test_nothing_is_gained_over_oneself() -> None:
    own_N = draw_predictions(np.random.default_rng(2), 0.5)
    for gained in weights.gain(Y_N, own_N, [own_N, own_N], 4).values():
        assert gained["mean"] == 0
        assert gained["ci95"] == [0, 0]


def test_splits_drawn_again_hold_every_image_once_and_each_class_by_its_share() -> None:
    x_ND = np.arange(len(Y_N), dtype=np.float32)[:, None]
    rows = np.array_split(np.random.default_rng(3).permutation(len(Y_N)), 3)
    splits = {split: Split(x_ND[part], Y_N[part]) for split, part in zip(SPLITS, rows, strict=True)}
    dealt = weights.redraw_splits(splits, 0)
    assert {split: len(part.y_N) for split, part in dealt.items()} == dict.fromkeys(SPLITS, 25)
    ids_N = np.concatenate([part.x_ND[:, 0] for part in dealt.values()]).astype(int)
    assert sorted(ids_N) == list(range(len(Y_N)))
    assert all((Y_N[part.x_ND[:, 0].astype(int)] == part.y_N).all() for part in dealt.values())
    assert all(np.abs(np.bincount(part.y_N) - np.bincount(Y_N) / 3).max() <= 1 for part in dealt.values())
    again = weights.redraw_splits(splits, 0)["test"].x_ND, weights.redraw_splits(splits, 1)["test"].x_ND
    assert (dealt["test"].x_ND == again[0]).all()
    assert not (dealt["test"].x_ND == again[1]).all()
