"""Scenes: an object in the foreground, a texture behind it, and all that varies between pictures of the same.

N: pictures. S: side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.pretrain.fields import Chance, each, frame, group, noise, seen
from tools.pretrain.fractals import Fractals
from tools.pretrain.textures import Textures
from tools.pretrain.things import Things

THINGS, FRACTALS, TEXTURES = 160, 40, 60
FOREGROUNDS, BACKGROUNDS = THINGS + FRACTALS, TEXTURES
FACTS = 9


@dataclass(frozen=True)
class Pictures:
    """Pictures and their labels."""

    x_N3SS: Tensor
    """RGB between 0 and 1."""
    foreground_N: Tensor
    """Class of the object, below `FOREGROUNDS`."""
    background_N: Tensor
    """Class of the ground, below `BACKGROUNDS`."""
    facts_NF: Tensor
    """The mean colours of the object and of the ground (six numbers), the share of the picture that the object
    covers, and its middle (x, y): each of mean about 0 and deviation about 1."""


class Scenes:
    """Scenes drawn on a device; their classes follow from the seed, the same on every device."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.things = Things(THINGS, seed + 1, device)
        self.fractals = Fractals(FRACTALS, seed + 2, device)
        self.textures = Textures(TEXTURES, seed + 3, device)

    def draw(self, n: int, side: int, chance: Chance) -> Pictures:
        """Draw `n` pictures of `side` x `side` pixels, of random classes."""
        places = frame(n, side, self.device)
        ahead, behind = (
            chance.integers_on_host(n, high=FOREGROUNDS),
            chance.integers_on_host(n, high=BACKGROUNDS),
        )
        cover = torch.empty(n, side, side, device=self.device)
        thing = torch.empty(n, 3, side, side, device=self.device)
        at, label = group(ahead, ahead < THINGS, self.device)
        if len(at):
            cover[at], thing[at] = self.things.draw(label, places[at], chance)
        at, label = group(ahead - THINGS, ahead >= THINGS, self.device)
        if len(at):
            cover[at], often = self.fractals.draw(label, side, chance)
            thing[at] = _coloured(often, chance)

        ground = _coloured(self.textures.draw(behind, places, chance), chance)
        ground = _with_sky(ground, places, chance)
        # The foreground has a surface of any texture, so that only its form and colours identify its class.
        surface = self.textures.draw(chance.integers_on_host(n, high=TEXTURES), places, chance)
        thing = thing * (1 - each(0.5 * chance.uniform(n) ** 2, 3) * surface[:, None])
        x_N3SS = _shadowed(ground, cover, chance)
        x_N3SS = x_N3SS + cover[:, None] * (thing - x_N3SS)
        x_N3SS = _occluded(x_N3SS, places, chance)
        x_N3SS = _lit(x_N3SS, places, chance)
        x_N3SS = _photographed(x_N3SS, chance)
        return Pictures(
            x_N3SS,
            ahead.to(self.device, non_blocking=True),
            behind.to(self.device, non_blocking=True),
            _facts(x_N3SS, cover, places),
        )


def _facts(x_N3SS: Tensor, cover_NSS: Tensor, places_NSS2: Tensor) -> Tensor:
    covered_N = cover_NSS.mean((1, 2))
    ahead = torch.einsum("nchw,nhw->nc", x_N3SS, cover_NSS) / cover_NSS.sum((1, 2)).clamp_min(1)[:, None]
    behind = (
        torch.einsum("nchw,nhw->nc", x_N3SS, 1 - cover_NSS)
        / (1 - cover_NSS).sum((1, 2)).clamp_min(1)[:, None]
    )
    middle = (
        torch.einsum("nhwx,nhw->nx", places_NSS2, cover_NSS) / cover_NSS.sum((1, 2)).clamp_min(1)[:, None]
    )
    return torch.cat([4 * (ahead - 0.45), 4 * (behind - 0.45), 4 * (covered_N[:, None] - 0.3), 4 * middle], 1)


def _coloured(grey_NSS: Tensor, chance: Chance) -> Tensor:
    """Colour grey as a mixture of two colours `(N, 3, S, S)`, chosen for each picture and rarely saturated."""
    n = len(grey_NSS)
    mean = chance.uniform(n, 2, 1)
    colours = (mean + 0.6 * chance.uniform(n, 1, 1) ** 1.5 * (chance.uniform(n, 2, 3) - 0.5)).clamp(0, 1)
    # How far apart they are is drawn alone: most grounds are calm, and where nothing differs nothing would be seen.
    apart = (colours[:, 1] - colours[:, 0]).mean(-1)
    push = torch.where(apart < 0, -1.0, 1.0) * (chance.log_uniform(n, low=0.06, high=0.7) - apart.abs())
    dark, light = (colours[:, 0] - each(push, 1) / 2), (colours[:, 1] + each(push, 1) / 2)
    mix = grey_NSS[:, None]
    return (each(dark) * (1 - mix) + each(light) * mix).clamp(0, 1)


def _with_sky(ground_N3SS: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
    """Add a horizon to a third of the pictures, with sky or a wall beyond it."""
    n, side = places_NSS2.shape[:2]
    y_NSS = places_NSS2[..., 1] + each(chance.uniform(n, low=-0.15, high=0.15)) * places_NSS2[..., 0]
    horizon = chance.uniform(n, low=-0.8, high=0.1)
    above = torch.sigmoid((each(horizon) - y_NSS) * side / 3) * each(chance.often(n, share=0.35))
    fade = ((y_NSS + 1) / 2 + 0.1 * noise(chance, n, 3, side)).clamp(0, 1)
    sky = _coloured(fade, chance)
    return ground_N3SS + above[:, None] * (sky - ground_N3SS)


def _shadowed(ground_N3SS: Tensor, cover_NSS: Tensor, chance: Chance) -> Tensor:
    """Add a soft shadow of the object on the ground."""
    side = cover_NSS.shape[-1]
    by = (chance.integers_on_host(2, high=max(side // 8, 1)) - side // 16).tolist()
    soft = F.avg_pool2d(cover_NSS[:, None], 5, stride=1, padding=2).roll(by, (2, 3))
    return ground_N3SS * (1 - each(0.6 * chance.uniform(len(cover_NSS)), 3) * soft)


def _occluded(x_N3SS: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
    """Add something plain in front in a third of the pictures: a post, a corner, a patch."""
    n, side = places_NSS2.shape[:2]
    x_NSS, y_NSS = seen(chance, places_NSS2, zoom=(0.2, 0.6), turn=3.1416, shift=1.1).unbind(-1)
    long = each(chance.log_uniform(n, low=0.15, high=1.0))
    inside = torch.sigmoid((1 - torch.maximum(x_NSS.abs() / long, y_NSS.abs() * long)) * side / 6)
    inside = inside * each(chance.often(n, share=0.35))
    colour = chance.uniform(n, 3, 1, 1)
    return x_N3SS + inside[:, None] * (colour - x_N3SS)


def _lit(x_N3SS: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
    """Add coloured light from a side and in patches, and haze."""
    n, side = places_NSS2.shape[:2]
    slope = torch.einsum("nhwx,nx->nhw", places_NSS2, 0.25 * chance.normal(n, 2))
    light = (slope + each(0.15 * chance.uniform(n)) * noise(chance, n, 4, side)).exp()
    x_N3SS = x_N3SS * light[:, None] * (0.1 * chance.normal(n, 3, 1, 1)).exp()
    haze = each(0.4 * chance.uniform(n) * chance.often(n, share=0.3), 3)
    return x_N3SS + haze * (chance.uniform(n, 1, 1, 1, low=0.4, high=0.9) - x_N3SS)


def _photographed(x_N3SS: Tensor, chance: Chance) -> Tensor:
    """Apply exposure and contrast of a camera, some blur, and sensor noise."""
    n, _, side, _ = x_N3SS.shape
    gain, gamma = (0.15 * chance.normal(n, 1, 1, 1)).exp(), (0.15 * chance.normal(n, 1, 1, 1)).exp()
    x_N3SS = (x_N3SS.clamp_min(0) * gain).clamp(1e-4, 1) ** gamma
    grey = x_N3SS.mean(1, keepdim=True)
    x_N3SS = grey + chance.uniform(n, 1, 1, 1, low=0.2, high=1.3) * (x_N3SS - grey)
    small = F.interpolate(x_N3SS, scale_factor=0.5, mode="bilinear", antialias=True)
    soft = F.interpolate(small, size=(side, side), mode="bilinear")
    x_N3SS = x_N3SS + each(chance.uniform(n) * chance.often(n, share=0.5), 3) * (soft - x_N3SS)
    grain = each(0.04 * chance.uniform(n) ** 2, 3)
    return (x_N3SS + grain * chance.normal(n, 3, side, side)).clamp(0, 1)
