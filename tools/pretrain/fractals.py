"""Fractals: each class an iterated function system, a few affine maps whose attractor is the picture.

N: pictures. S: side in pixels. C: classes. M: maps. P: points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tools.pretrain.fields import Chance, each

MAPS, POINTS, BEFORE, STEPS = 4, 512, 12, 16
ZOOM, TURN, SHIFT = (0.5, 1.1), 0.3, 0.3
# An attractor must fill some of a coarse grid to be distinguished from dust, as FractalDB asks too.
COARSE, FILLED = 32, 0.1


class Fractals:
    """Classes of fractals, with maps drawn from a seed, the same on every device."""

    def __init__(self, n: int, seed: int, device: torch.device | str) -> None:
        drawn = Chance(seed, "cpu")
        kept: list[Tensor] = []
        while sum(map(len, kept)) < n:
            maps = _maps(256, drawn)
            points = _orbit(maps, drawn)
            counts = _counts(points, COARSE)
            kept.append(maps[(counts > 0).float().mean((1, 2)) > FILLED])
        self.n = n
        self.map_CM23 = torch.cat(kept)[:n].to(device)

    def draw(self, label_N: Tensor, side: int, chance: Chance) -> tuple[Tensor, Tensor]:
        """Return where the fractals of the classes `label_N` are, and how dense they are: `(N, S, S)`, 0 to 1."""
        maps = self.map_CM23[label_N]
        maps = maps * (1 + 0.05 * chance.normal(*maps.shape))  # FractalDB's variation of the parameters
        points = _orbit(maps, chance)
        n = len(label_N)
        angle = chance.uniform(n, low=-TURN, high=TURN)
        size = chance.log_uniform(n, low=ZOOM[0], high=ZOOM[1])
        flip = torch.where(chance.often(n, share=0.5), -1.0, 1.0).to(points)
        x, y = (points * torch.stack([flip, torch.ones_like(flip)], -1)[:, None]).unbind(-1)
        cos, sin = each(angle.cos(), 1), each(angle.sin(), 1)
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
        counts = _counts(turned * each(size) + chance.uniform(n, 1, 2, low=-SHIFT, high=SHIFT), side)
        often = torch.log1p(counts)
        return (1 - torch.exp(-counts)), often / often.amax((1, 2), keepdim=True).clamp_min(1e-3)


def _maps(n: int, drawn: Chance) -> Tensor:
    """Draw affine maps `(C, M, 2, 3)`, contractions: two rotations and a scaling, as in SVD-based sampling."""
    one, two = drawn.uniform(n, MAPS, high=6.283), drawn.uniform(n, MAPS, high=6.283)
    big = drawn.uniform(n, MAPS, low=0.35, high=0.85)
    small = big * drawn.uniform(n, MAPS, low=0.3, high=1.0)
    squeeze = torch.diag_embed(torch.stack([big, small], -1))
    linear = _turns(one) @ squeeze @ _turns(two)
    return torch.cat([linear, drawn.uniform(n, MAPS, 2, 1, low=-1.0)], -1)


def _turns(angle_CM: Tensor) -> Tensor:
    """Return rotation matrices `(C, M, 2, 2)`."""
    cos, sin = angle_CM.cos(), angle_CM.sin()
    return torch.stack([cos, -sin, sin, cos], -1).reshape(*angle_CM.shape, 2, 2)


def _orbit(map_NM23: Tensor, chance: Chance) -> Tensor:
    """Return points of the attractors `(N, P, 2)`, scaled so that each spans about -1 to 1."""
    n = len(map_NM23)
    point = chance.uniform(n, POINTS, 2, low=-1.0)
    # A map is chosen as often as the area it makes, so that the attractor is covered evenly.
    area = torch.linalg.det(map_NM23[..., :2]).abs() + 0.02
    edge = (area / area.sum(1, keepdim=True)).cumsum(1)
    passed = []
    for step in range(BEFORE + STEPS):
        chosen = torch.searchsorted(edge, chance.uniform(n, POINTS)).clamp_max(MAPS - 1)
        maps = map_NM23[torch.arange(n, device=point.device)[:, None], chosen]
        point = (maps[..., :2] @ point[..., None])[..., 0] + maps[..., 2]
        if step >= BEFORE:
            passed.append(point)
    points = torch.cat(passed, 1)
    middle = points.mean(1, keepdim=True)
    spread = (points - middle).square().mean((1, 2), keepdim=True).sqrt()
    return (points - middle) / (2 * spread).clamp_min(1e-6)


def _counts(point_NP2: Tensor, side: int) -> Tensor:
    """Count the points in each pixel `(N, S, S)`."""
    n = len(point_NP2)
    column, row = ((point_NP2 + 1) * (side / 2)).floor().long().unbind(-1)
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    at = (torch.arange(n, device=column.device)[:, None] * side + row) * side + column
    # Added in place rather than by bincount, which on a GPU waits to learn how many there are; ones add exactly.
    counts = torch.zeros(n * side * side, device=column.device)
    counts.index_add_(0, at.where(inside, 0).flatten(), inside.flatten().float())
    return counts.reshape(n, side, side)
