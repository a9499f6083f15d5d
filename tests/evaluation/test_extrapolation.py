from __future__ import annotations

import numpy as np
import pytest

from transfer.evaluation.extrapolation import LEAST_POINTS, NO_RISE, TOO_FEW_POINTS, extrapolate

IMAGES = [16, 32, 80, 160, 320, 640]


def power_law(images: float) -> float:
    return 0.9 - 2.0 * images**-0.5


def curve(spread: float = 0.0, draws: int = 5) -> list[list[float]]:
    """Scores of a power law, spread evenly over the draws; the last point has one."""
    around = np.linspace(-spread, spread, draws)
    return [[power_law(n) + step for step in around] for n in IMAGES[:-1]] + [[power_law(IMAGES[-1])]]


def test_a_power_law_is_found_again() -> None:
    found = extrapolate(IMAGES, curve())
    assert found["reason"] is None
    assert found["images"] == 1280
    assert found["gain"] == pytest.approx(power_law(1280) - power_law(640), abs=2e-3)
    assert found["c"] == pytest.approx(0.5, rel=0.05)
    for images in (16, 640, 1280):
        assert found["a"] - found["b"] * images ** -found["c"] == pytest.approx(power_law(images), abs=3e-3)
    assert found["without_last"] == pytest.approx(power_law(640), abs=3e-3)


def test_the_range_holds_the_estimate_and_widens_with_the_spread_of_the_draws() -> None:
    widths = []
    for spread in (0.0, 0.01, 0.04):
        found = extrapolate(IMAGES, curve(spread))
        low, high = found["range"]
        assert low <= found["gain"] + 1e-12
        assert high >= found["gain"] - 1e-12
        widths.append(high - low)
    assert widths[0] == pytest.approx(0, abs=2e-3)
    assert widths[0] < widths[1] < widths[2]


def test_the_same_seed_gives_the_same_range() -> None:
    assert extrapolate(IMAGES, curve(0.02), seed=3) == extrapolate(IMAGES, curve(0.02), seed=3)
    assert extrapolate(IMAGES, curve(0.02), seed=3) != extrapolate(IMAGES, curve(0.02), seed=4)


def test_a_curve_that_is_no_power_law_has_a_wide_range() -> None:
    """The smallest sizes say one slope, the largest another: fits that leave out some of them differ."""
    bent = [[score, score] for score in (0.1, 0.2, 0.3, 0.4, 0.41, 0.42)]
    found = extrapolate([*IMAGES, 1280], [*bent, [0.43]])
    straight = [[power_law(n)] * 2 for n in IMAGES]
    true = extrapolate([*IMAGES, 1280], [*straight, [power_law(1280)]])
    assert np.ptp(true["range"]) < 1e-3
    assert np.ptp(found["range"]) > 0.01


def test_the_last_point_is_as_uncertain_as_a_draw_of_the_size_before() -> None:
    close, apart = curve(), curve()
    apart[-2] = [apart[-2][0] + step for step in (-0.05, -0.02, 0.0, 0.02, 0.05)]
    widths = [float(np.ptp(extrapolate(IMAGES, draws)["range"])) for draws in (close, apart)]
    assert widths[0] == pytest.approx(0, abs=2e-3)
    assert widths[1] > 0.02


def test_no_score_above_one_is_expected() -> None:
    found = extrapolate([10, 20, 40, 80, 160], [[0.5, 0.5], [0.7, 0.7], [0.85, 0.85], [0.95, 0.95], [0.999]])
    assert found["a"] <= 1
    assert found["gain"] < 0.02


@pytest.mark.parametrize("scores", [[0.5] * 6, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1.0] * 6, [0.0] * 6])
def test_a_curve_that_does_not_rise_is_not_extended(scores: list[float]) -> None:
    draws = [[score, score] for score in scores[:-1]] + [[scores[-1]]]
    assert extrapolate(IMAGES, draws) == {"reason": NO_RISE}


def test_too_few_points_are_refused() -> None:
    few = LEAST_POINTS - 1
    assert extrapolate(IMAGES[-few:], curve()[-few:]) == {"reason": TOO_FEW_POINTS}
    enough = extrapolate(IMAGES[-LEAST_POINTS:], curve()[-LEAST_POINTS:])
    assert enough["reason"] is None
    assert enough["without_last"] is None


def test_the_range_of_two_draws_holds_what_twice_the_images_give() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        draws = [(0.9 - 0.9 * images**-0.5 + rng.normal(0, 0.02, 2)).clip(0, 1).tolist() for images in IMAGES]
        draws[-1] = draws[-1][:1]
        new = 0.9 - 0.9 * (2 * IMAGES[-1]) ** -0.5 + rng.normal(0, 0.02)
        low, high = extrapolate(IMAGES, draws)["range"]
        held += low <= new - draws[-1][0] <= high
    assert held >= 55
