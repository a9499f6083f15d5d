from __future__ import annotations

import tracemalloc
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score

from tests.evaluation.predictions import draw
from transfer.evaluation.intervals import Units
from transfer.evaluation.results import ALPHA
from transfer.evaluation.significance import (
    adjust_holm,
    detectable_difference,
    mcnemar,
    permute_accuracy,
    permute_macro_f1,
)
from transfer.evaluation.statistics import POWER
from transfer.metrics import Labels


def test_mcnemar_counts_only_images_that_one_gets_right() -> None:
    y = np.zeros(40, np.int64)
    a, b = y.copy(), y.copy()
    a[:2] = 1  # wrong in 2 where b is right
    b[2:12] = 1  # wrong in 10 where a is right
    a[20:30] = b[20:30] = 1
    # Twice the chance of at most 2 heads in 12 throws: 2 * (1 + 12 + 66) / 4096.
    assert mcnemar(y, a, b) == pytest.approx(2 * 79 / 4096)
    assert mcnemar(y, a, b) == mcnemar(y, b, a)
    assert mcnemar(y, a, a) == 1


def test_mcnemar_of_many_images_nears_the_normal_approximation() -> None:
    y = np.zeros(2000, np.int64)
    a, b = y.copy(), y.copy()
    a[:450] = 1
    b[450:1000] = 1
    z = (550 - 450 - 1) / 1000**0.5
    assert mcnemar(y, a, b) == pytest.approx(2 * NormalDist().cdf(-z), rel=0.05)


def test_swapping_images_for_accuracy_is_mcnemars_test() -> None:
    y = np.zeros(40, np.int64)
    a, b = y.copy(), y.copy()
    a[:2], b[2:12] = 1, 1
    assert permute_accuracy(y, a, b, Units.of(40, None)) == pytest.approx(mcnemar(y, a, b))
    y, a, b = draw(300, 5, 3)  # too many for all swaps
    assert permute_accuracy(y, a, b, Units.of(300, None)) == pytest.approx(mcnemar(y, a, b), abs=0.02)


def _enumerated(y: Labels, a: Labels, b: Labels, units: Labels) -> float:
    """P of macro F1 from every way of swapping whole units, with scikit-learn's scores."""
    differences = []
    for swaps in product((False, True), repeat=int(units.max()) + 1):
        swapped = np.array(swaps)[units]
        differences.append(
            f1_score(y, np.where(swapped, b, a), average="macro", zero_division=0)
            - f1_score(y, np.where(swapped, a, b), average="macro", zero_division=0)
        )
    observed = abs(f1_score(y, a, average="macro") - f1_score(y, b, average="macro"))
    return float((np.abs(differences) >= observed - 1e-9).mean())


@pytest.mark.slow
def test_macro_f1_is_permuted_over_all_swaps_of_few_images() -> None:
    y = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    a, b = np.array([0, 0, 1, 1, 2, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0, 2, 0])
    expected = _enumerated(y, a, b, np.arange(8))
    assert expected < 1
    assert permute_macro_f1(y, a, b, 3, Units.of(8, None)) == pytest.approx(expected)


@pytest.mark.slow
def test_macro_f1_is_permuted_over_whole_groups() -> None:
    y, a, b = draw(60, 4, 5)
    groups = np.arange(60) % 7
    found = permute_macro_f1(y, a, b, 4, Units.of(60, groups))
    assert found == pytest.approx(_enumerated(y, a, b, groups))
    assert permute_macro_f1(y, a, b, 4, Units.of(60, None)) != found


def test_drawn_swaps_near_all_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    y, a, b = draw(60, 4, 5)
    units = Units.of(60, np.arange(60) % 9)
    exact = permute_macro_f1(y, a, b, 4, units), permute_accuracy(y, a, b, units)
    monkeypatch.setattr("transfer.evaluation.significance.ENUMERATED", 0)
    monkeypatch.setattr("transfer.evaluation.significance.CHUNK", 9 * 1000)  # in parts
    for seed in range(2):
        drawn = permute_macro_f1(y, a, b, 4, units, seed=seed), permute_accuracy(y, a, b, units, seed=seed)
        assert drawn == pytest.approx(exact, abs=0.025)
        assert drawn == (
            permute_macro_f1(y, a, b, 4, units, seed=seed),
            permute_accuracy(y, a, b, units, seed=seed),
        )


@pytest.mark.parametrize("images", [10, 60])
def test_memory_does_not_grow_with_the_classes(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y, a, b = rng.integers(0, 500, (3, images))
    a[: images // 2] = y[: images // 2]
    whole = permute_macro_f1(y, a, b, 500, Units.of(images, None))
    monkeypatch.setattr("transfer.evaluation.significance.CHUNK", 50_000)
    tracemalloc.start()
    p = permute_macro_f1(y, a, b, 500, Units.of(images, None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert p == pytest.approx(whole, abs=0.01)
    assert p < 1
    assert peak < 10e6


def test_p_is_one_for_equal_predictions_and_never_zero() -> None:
    y = np.repeat(np.arange(4), 50)
    wrong = (y + 1) % 4
    for units in (Units.of(200, None), Units.of(200, np.arange(200) % 40)):
        assert permute_macro_f1(y, wrong, wrong, 4, units) == 1
        assert permute_accuracy(y, wrong, wrong, units) == 1
        assert 0 < permute_macro_f1(y, y, wrong, 4, units) < 0.001


@pytest.mark.slow
def test_p_of_equal_methods_is_below_a_tenth_in_a_tenth_of_cases() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), (4, 6, 10, 30, 50))
    units = Units.of(100, None)
    p = [
        permute_macro_f1(
            y, *(np.where(rng.random(100) < 0.6, y, rng.integers(0, 5, 100)) for _ in "ab"), 5, units
        )
        for _ in range(150)
    ]
    assert 0.03 < np.mean(np.array(p) <= 0.1) < 0.17  # standard error 0.024


def test_holm_equals_hand_computed_values() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.6, 0.7]) == [1.0, 1.0]
    assert adjust_holm([]) == []


def test_the_detectable_difference_is_found_with_the_power_asked_for() -> None:
    for images, discordant in ((256, 0.2), (60, 0.5)):
        difference = detectable_difference(images, discordant, POWER, ALPHA)
        assert difference is not None
        only_a, only_b = (discordant + difference) / 2, (discordant - difference) / 2
        rng = np.random.default_rng(0)
        drawn = rng.multinomial(images, [only_a, only_b, 1 - discordant], size=2000)
        found = (2 * binom.cdf(drawn[:, :2].min(1), drawn[:, :2].sum(1), 0.5) < 0.05).mean()
        assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("images", "discordant"), [(256, 0.2), (1324, 0.1), (10_000, 0.3)])
def test_the_detectable_difference_is_a_little_above_connors(images: int, discordant: float) -> None:
    difference = detectable_difference(images, discordant, POWER, ALPHA)
    assert difference is not None
    z_alpha, z_power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
    needed = (z_alpha * discordant**0.5 + z_power * (discordant - difference**2) ** 0.5) ** 2 / difference**2
    assert 0.85 * images < needed < images


def test_no_difference_is_detectable_where_methods_hardly_disagree() -> None:
    assert detectable_difference(256, 0.0, POWER, ALPHA) is None
    assert detectable_difference(20, 0.1, POWER, ALPHA) is None
    with pytest.raises(ValueError, match=r"discordant_share=1\.5"):
        detectable_difference(256, 1.5, POWER, ALPHA)
