"""Scenes and what they are made of: things, fractals, textures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tools.pretrain import fractals
from tools.pretrain.fields import Chance, frame
from tools.pretrain.fractals import Fractals
from tools.pretrain.scenes import BACKGROUNDS, FACTS, FOREGROUNDS, THINGS, Scenes
from tools.pretrain.textures import Textures
from tools.pretrain.things import Things

pytestmark = pytest.mark.slow
SIDE = 48
N_TEXTURES = 18  # no multiple of the kinds
KINDS = ["things", "fractals", "textures"]


def drawn(kind: str, label_N: Tensor, seed: int, classes: int = N_TEXTURES) -> Tensor:
    """Pictures `(N, S, S)` of classes of a kind."""
    chance, places = Chance(seed, "cpu"), frame(len(label_N), SIDE, torch.device("cpu"))
    if kind == "things":
        cover, colour = Things(classes, 0, "cpu").draw(label_N, places, chance)
        return cover * colour.mean(1)
    if kind == "fractals":
        return Fractals(classes, 0, "cpu").draw(label_N, SIDE, chance)[0]
    return Textures(classes, 0, "cpu").draw(label_N, places, chance)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_is_drawn_between_black_and_white(kind: str) -> None:
    grey = drawn(kind, torch.arange(N_TEXTURES), seed=1)
    assert grey.shape == (N_TEXTURES, SIDE, SIDE)
    assert grey.isfinite().all()
    assert grey.min() >= 0
    assert grey.max() <= 1
    assert (grey.std((1, 2)) > 0.02).all(), "a picture of nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_same_and_another_a_different_picture(kind: str) -> None:
    label_N = torch.arange(6)
    assert torch.equal(drawn(kind, label_N, seed=1), drawn(kind, label_N, seed=1))
    assert not torch.equal(drawn(kind, label_N, seed=1), drawn(kind, label_N, seed=2))


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_distinguished_by_the_spread_of_their_pixels(kind: str) -> None:
    """By the nearest mean of crude statistics, far more often than by chance (1 in 12)."""
    label_N = torch.arange(12).repeat(30)
    grey = drawn(kind, label_N, seed=3, classes=12)
    steps = [grey.diff(dim=dim).abs().mean((1, 2)) for dim in (1, 2)]
    x_ND = torch.stack([grey.mean((1, 2)), grey.std((1, 2)), *steps], -1)
    x_ND = (x_ND - x_ND.mean(0)) / x_ND.std(0)
    half = len(x_ND) // 2
    means = torch.stack([x_ND[:half][label_N[:half] == c].mean(0) for c in range(12)])
    nearest = torch.cdist(x_ND[half:], means).argmin(1)
    assert (nearest == label_N[half:]).float().mean() > 2 / 12


def test_fractals_fill_some_of_the_picture() -> None:
    maps = Fractals(40, 0, "cpu").map_CM23
    assert maps.shape == (40, fractals.MAPS, 2, 3)
    cover = drawn("fractals", torch.arange(18), seed=0)
    assert ((cover > 0).float().mean((1, 2)) > 0.02).all()


def test_fractals_are_contractions() -> None:
    linear = Fractals(40, 0, "cpu").map_CM23[..., :2]
    assert (torch.linalg.matrix_norm(linear, 2) < 1).all()


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(0, "cpu")


class TestScenes:
    def test_pictures_and_their_labels(self, scenes: Scenes) -> None:
        pictures = scenes.draw(200, 32, Chance(0, "cpu"))
        assert pictures.x_N3SS.shape == (200, 3, 32, 32)
        assert pictures.x_N3SS.isfinite().all()
        assert pictures.x_N3SS.min() >= 0
        assert pictures.x_N3SS.max() <= 1
        assert pictures.foreground_N.min() >= 0
        assert FOREGROUNDS / 2 < pictures.foreground_N.max() < FOREGROUNDS
        assert BACKGROUNDS / 2 < pictures.background_N.max() < BACKGROUNDS

    def test_the_same_chance_draws_the_same_pictures(self, scenes: Scenes) -> None:
        one, same, other = (scenes.draw(8, 32, Chance(seed, "cpu")) for seed in (5, 5, 6))
        assert torch.equal(one.x_N3SS, same.x_N3SS)
        assert torch.equal(one.foreground_N, same.foreground_N)
        assert not torch.equal(one.x_N3SS, other.x_N3SS)

    def test_few_pictures_may_all_be_of_one_kind(self, scenes: Scenes) -> None:
        kinds = {scenes.draw(1, 32, Chance(seed, "cpu")).foreground_N.item() < THINGS for seed in range(20)}
        assert kinds == {True, False}

    def test_facts_are_of_the_picture(self, scenes: Scenes) -> None:
        pictures = scenes.draw(400, 32, Chance(2, "cpu"))
        facts = pictures.facts_NF
        assert facts.shape == (400, FACTS)
        assert (facts.mean(0).abs() < 0.5).all()
        assert (facts.std(0) > 0.5).all()
        assert (facts.std(0) < 1.5).all()
        # A picture's mean colour lies between those of the two that it consists of.
        mean, ahead, behind = pictures.x_N3SS.mean((2, 3)), facts[:, :3] / 4 + 0.45, facts[:, 3:6] / 4 + 0.45
        assert (mean >= torch.minimum(ahead, behind) - 1e-3).all()
        assert (mean <= torch.maximum(ahead, behind) + 1e-3).all()


def test_a_class_of_things_often_has_its_own_colours() -> None:
    """Two of one class are nearer in colour than two of different classes, and not always."""
    label_N = torch.arange(60).repeat(2)
    cover, colour = Things(60, 0, "cpu").draw(label_N, frame(120, 32, torch.device("cpu")), Chance(4, "cpu"))
    mean = torch.einsum("nchw,nhw->nc", colour, cover) / cover.sum((1, 2)).clamp_min(1)[:, None]
    same = (mean[:60] - mean[60:]).norm(dim=1)
    other = (mean[:60] - mean[60:].roll(1, 0)).norm(dim=1)
    assert same.mean() < 0.9 * other.mean()
    assert same.max() > 0.3
