"""Textures: each class a formula for a grey field that covers the picture.

N: pictures. S: side in pixels. C: classes of a kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tools.pretrain.fields import Chance, each, group, noise, sampled, seen

Field = Callable[[Tensor, Tensor, Chance], Tensor]
"""Labels `(N,)` and places `(N, S, S, 2)` to grey fields `(N, S, S)`, of any mean and spread."""

WAVES, OCTAVES, POINTS, LATTICE = 5, 3, 20, 24
# Textures are seen from near and far, but never upside down: gravity is part of most.
ZOOM, TURN = (0.75, 1.35), 0.25


class Textures:
    """Classes of textures, with formulas drawn from a seed, the same on every device."""

    def __init__(self, n: int, seed: int, device: torch.device | str) -> None:
        drawn = Chance(seed, device, drawn_on="cpu")
        kinds: tuple[Callable[[int, Chance], Field], ...] = (waves, clouds, cells, weave)
        self.n, self.share = n, -(-n // len(kinds))
        self.fields = [kind(self.share, drawn) for kind in kinds]
        self.hardness_C = drawn.log_uniform(n, low=1.0, high=8.0)
        self.level_C = drawn.uniform(n, low=-0.5, high=0.5)
        self.warp_C = 0.15 * drawn.uniform(n) * drawn.often(n, share=0.5)

    def draw(self, label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
        """Draw grey fields `(N, S, S)` between 0 and 1 of the classes `label_N`, which are on the host."""
        n, side = places_NSS2.shape[:2]
        own_N = label_N.to(places_NSS2.device, non_blocking=True)
        places = seen(chance, places_NSS2, zoom=ZOOM, turn=TURN, shift=1.0)
        bent = torch.stack([noise(chance, n, 4, side), noise(chance, n, 4, side)], -1)
        places = places + each(self.warp_C[own_N], 3) * bent
        grey_NSS = torch.empty(n, side, side, device=places.device)
        for kind, field in enumerate(self.fields):
            first = kind * self.share
            at, label = group(label_N - first, label_N // self.share == kind, places.device)
            if len(at):
                grey_NSS[at] = field(label, places[at], chance)
        even = grey_NSS - grey_NSS.mean((1, 2), keepdim=True)
        even = even / even.std((1, 2), keepdim=True).clamp_min(1e-3)
        return torch.sigmoid(each(self.hardness_C[own_N]) * (even - each(self.level_C[own_N])))


def waves(n: int, drawn: Chance) -> Field:
    """Make fields of sums of plane waves, like water, sand or bark."""
    main = drawn.uniform(n, 1, high=math.pi)
    angle = main + drawn.uniform(n, 1, high=1.6) * drawn.normal(n, WAVES)
    cycles = drawn.log_uniform(n, 1, low=1.5, high=9.0) * drawn.log_uniform(n, WAVES, low=0.6, high=1.7)
    wave_CK2 = 2 * math.pi / 2 * cycles[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    force_CK = drawn.uniform(n, WAVES, low=0.3)
    crest_C = drawn.uniform(n)

    def field(label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
        start = chance.uniform(len(label_N), 1, 1, WAVES, high=2 * math.pi)
        phase = torch.einsum("nhwx,nkx->nhwk", places_NSS2, wave_CK2[label_N]) + start
        crest = each(crest_C[label_N], 3)
        wave = (1 - crest) * phase.sin() + crest * (1 - 2 * phase.sin().abs())
        return torch.einsum("nhwk,nk->nhw", wave, force_CK[label_N])

    return field


def clouds(n: int, drawn: Chance) -> Field:
    """Make fields of noise in octaves, like clouds, stone or foliage; anisotropic, and ridged in some classes."""
    base_C2 = drawn.log_uniform(n, 1, low=0.08, high=0.5) * drawn.log_uniform(n, 2, low=0.5, high=2.0)
    fade_C, ridge_C = drawn.uniform(n, low=0.35, high=0.9), drawn.often(n, share=0.4).float()

    def field(label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
        grey = torch.zeros(places_NSS2.shape[:3], device=places_NSS2.device)
        base, ridge = each(base_C2[label_N][:, None, None], 0), each(ridge_C[label_N])
        for octave in range(OCTAVES):
            lattice = chance.normal(len(label_N), 1, LATTICE, LATTICE)
            hills = sampled(lattice, places_NSS2 * base * 2**octave)
            hills = (1 - ridge) * hills + ridge * (0.8 - hills.abs())
            grey = grey + each(fade_C[label_N]) ** octave * hills
        return grey

    return field


def cells(n: int, drawn: Chance) -> Field:
    """Make fields of cells around random points (Worley's noise), like pebbles, scales or cracked earth."""
    stretch_C2 = drawn.log_uniform(n, 2, low=0.6, high=1.7)
    density_C = drawn.log_uniform(n, low=0.6, high=2.2)
    edges_C, round_C = drawn.uniform(n), drawn.often(n, share=0.6)

    def field(label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
        n, side = places_NSS2.shape[:2]
        points = chance.uniform(n, 1, POINTS, 2, low=-1.0)
        folded = ((places_NSS2 * each(density_C[label_N], 3) + 1).remainder(2) - 1).reshape(n, -1, 1, 2)
        away = (folded - points + 1).remainder(2) - 1  # the field repeats itself
        away = (away * stretch_C2[label_N][:, None, None]).abs()
        far = torch.where(each(round_C[label_N]), away.square().sum(-1).sqrt(), away.amax(-1))
        nearest, which = far.min(-1, keepdim=True)
        next_to_it = far.scatter(-1, which, math.inf).amin(-1)
        nearest, edges = nearest[..., 0], each(edges_C[label_N], 1)
        return ((1 - edges) * nearest + edges * (next_to_it - nearest)).reshape(n, side, side)

    return field


def weave(n: int, drawn: Chance) -> Field:
    """Make fields of two sets of stripes, like planks, bricks, nets or cloth; one set in a third of the classes."""
    angle = drawn.uniform(n, 1, high=math.pi) + torch.stack(
        [torch.zeros(n, device=drawn.device), math.pi / 2 + 0.4 * drawn.normal(n)], -1
    )
    cycles = drawn.log_uniform(n, 2, low=1.5, high=10.0)
    wave_CK2 = math.pi * cycles[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    duty_CK, mixed_C = drawn.uniform(n, 2, low=-0.7, high=0.7), drawn.integers(n, high=3)
    sharp_C = drawn.log_uniform(n, low=1.5, high=12.0)

    def field(label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> Tensor:
        start = chance.uniform(len(label_N), 1, 1, 2, high=2 * math.pi)
        phase = torch.einsum("nhwx,nkx->nhwk", places_NSS2, wave_CK2[label_N]) + start
        level = duty_CK[label_N][:, None, None]
        one, two = torch.tanh(each(sharp_C[label_N], 3) * (phase.sin() - level)).unbind(-1)
        mixed = each(mixed_C[label_N])
        return torch.where(mixed == 0, one, torch.where(mixed == 1, one + two, one * two))

    return field
