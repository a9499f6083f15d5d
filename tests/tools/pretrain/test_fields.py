from __future__ import annotations

import pytest
import torch

from tools.pretrain import fields
from tools.pretrain.fields import Chance


def test_a_seed_gives_the_same_numbers_and_another_gives_others() -> None:
    assert torch.equal(Chance(3, "cpu").normal(9), Chance(3, "cpu").normal(9))
    assert not torch.equal(Chance(3, "cpu").normal(9), Chance(4, "cpu").normal(9))


def test_numbers_on_the_host_are_not_those_that_pictures_are_drawn_by() -> None:
    chance = Chance(3, "cpu")
    assert torch.equal(
        chance.integers_on_host(99, high=1000), Chance(3, "cpu").integers_on_host(99, high=1000)
    )
    assert not torch.equal(
        Chance(3, "cpu").integers_on_host(99, high=1000), Chance(3, "cpu").integers(99, high=1000)
    )


def test_pictures_are_grouped_with_their_labels() -> None:
    label_N = torch.tensor([4, 7, 4, 9])
    at, label = fields.group(label_N, label_N > 5, torch.device("cpu"))
    assert (at.tolist(), label.tolist()) == ([1, 3], [7, 9])


def test_numbers_lie_where_they_were_asked_for() -> None:
    chance = Chance(0, "cpu")
    even, steep = chance.uniform(9999, low=-2.0, high=3.0), chance.log_uniform(9999, low=0.1, high=10.0)
    assert -2 <= even.min() < -1.9
    assert 2.9 < even.max() <= 3
    assert steep.log10().mean().abs() < 0.05
    assert steep.min() >= 0.1
    assert chance.often(9999, share=0.3).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_pixels_lie_evenly_between_the_edges() -> None:
    places = fields.frame(2, 4, torch.device("cpu"))
    assert places.shape == (2, 4, 4, 2)
    assert places[1, 0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert places[1, :, 0, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_what_is_zoomed_is_seen_larger() -> None:
    places = fields.frame(1, 64, torch.device("cpu"))
    for zoom in (0.5, 2.0):
        own = fields.seen(Chance(0, "cpu"), places, zoom=(zoom, zoom), turn=0.0, shift=0.0, squeeze=0.0)
        assert torch.allclose(own.abs(), places.abs() / zoom)


def test_noise_is_as_smooth_as_it_has_hills() -> None:
    rough, smooth = (fields.noise(Chance(0, "cpu"), 64, cells, 48) for cells in (12, 3))
    for field in (rough, smooth):
        assert field.mean().abs() < 0.1
        assert 0.6 < field.std() < 1.4
    assert rough.diff(dim=-1).std() > 2.5 * smooth.diff(dim=-1).std()


def test_a_lattice_goes_on_smoothly_beyond_its_edges() -> None:
    lattice = Chance(0, "cpu").normal(1, 1, 6, 6)
    line = torch.linspace(-5, 5, 4001)
    places = torch.stack([line, torch.zeros_like(line)], -1)[None, None]
    values = fields.sampled(lattice, places)[0, 0]
    assert values.diff().abs().max() < 0.02
    assert torch.allclose(values[:1601], values[1600:3201], atol=1e-3)  # again after 4
