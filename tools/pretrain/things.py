"""Things: each class has some parts in an arrangement given by its formula, as a house has a roof and windows.

N: pictures. S: side in pixels. C: classes. P: parts. K: colours of a thing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tools.pretrain.fields import Chance, each, seen

PARTS, COLOURS = 12, 5
# From things that are a quarter of the picture wide to those of which it holds a part.
ZOOM, TURN, SHIFT = (0.35, 1.6), 0.3, 0.4
OWN_COLOURS = 0.6


class Things:
    """Classes of things, with formulas drawn from a seed, the same on every device.

    A part is a box, an ellipse or in between, stretched, tapered and rotated, and may be repeated in a row. Each covers
    those before it. A class has colours, which six in ten of its things have approximately.
    """

    def __init__(self, n: int, seed: int, device: torch.device | str) -> None:
        drawn = Chance(seed, device, drawn_on="cpu")
        self.n = n
        first = (torch.arange(PARTS, device=device) == 0).float()
        small = drawn.log_uniform(n, PARTS, low=0.04, high=0.4)
        self.size_CP = first * drawn.uniform(n, PARTS, low=0.45, high=0.7) + (1 - first) * small
        self.wide_CP = drawn.log_uniform(n, PARTS, low=0.4, high=3.5) * (1 + 0.6 * first)
        body = self.wide_CP[:, :1, None].sqrt()
        reach = torch.cat([body, 1 / body], -1) * self.size_CP[:, :1, None]
        around = drawn.uniform(n, PARTS, 2, low=-1.15, high=1.15)
        self.place_CP2 = around * reach * (1 - first)[:, None]
        self.round_CP = drawn.uniform(n, PARTS) ** 2
        self.taper_CP = 0.7 * drawn.uniform(n, PARTS, low=-1, high=1) * drawn.often(n, PARTS, share=0.4)
        self.angle_CP = drawn.uniform(n, PARTS, low=-1.57, high=1.57) * drawn.often(n, PARTS, share=0.3)
        # Repeats to either side of the middle, half a step to a step and a half of free space between them.
        self.times_CP = drawn.integers(n, PARTS, high=5) * drawn.often(n, PARTS, share=0.35) * (1 - first)
        self.apart_CP = drawn.uniform(n, PARTS, low=2.4, high=3.5)
        self.colour_CP = drawn.integers(n, PARTS, high=COLOURS)
        self.palette_CK3 = _colours(drawn, n)
        self.there_CP = drawn.often(n, PARTS, share=0.8) | (first > 0)

    def draw(self, label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
        """Return where the things of the classes `label_N` are `(N, S, S)`, and their colours there `(N, 3, S, S)`."""
        n, side = places_NSS2.shape[:2]
        places = seen(chance, places_NSS2, zoom=ZOOM, turn=TURN, shift=SHIFT)
        palette_NK3 = self._palette(label_N, chance)
        paint_NP3 = palette_NK3.gather(1, self.colour_CP[label_N][..., None].expand(-1, -1, 3))
        size_NP = _varied(self.size_CP[label_N], chance, 0.06)
        there_NP = self.there_CP[label_N]
        cover = torch.zeros(n, side, side, device=places.device)
        colour = torch.zeros(n, 3, side, side, device=places.device)
        for part, away in enumerate(self._away(label_N, places, chance)):
            # An edge is about a pixel wide.
            inside = torch.sigmoid(1.5 * side * (each(size_NP[:, part]) - away)) * each(there_NP[:, part])
            cover = torch.maximum(cover, inside)
            colour = torch.lerp(colour, each(paint_NP3[:, part]), inside[:, None])
        return cover, colour / cover[:, None].clamp_min(1e-3)

    def _away(self, label_N: Tensor, places_NSS2: Tensor, chance: Chance) -> Iterator[Tensor]:
        """Yield for each part the distance of each place from its middle `(N, S, S)`, in the part's own units."""
        place_NP2 = self.place_CP2[label_N] + 0.03 * chance.normal(len(label_N), PARTS, 2)
        angle_NP = self.angle_CP[label_N] + 0.04 * chance.normal(len(label_N), PARTS)
        wide_NP = _varied(self.wide_CP[label_N], chance, 0.08).sqrt()
        step_NP = (self.apart_CP * self.size_CP)[label_N]
        slope_NP = (self.taper_CP / self.size_CP)[label_N]
        cos_NP, sin_NP = angle_NP.cos(), angle_NP.sin()
        numbers = (
            cos_NP / wide_NP,
            sin_NP / wide_NP,
            cos_NP * wide_NP,
            sin_NP * wide_NP,
            step_NP,
            self.times_CP[label_N],
            slope_NP,
            self.round_CP[label_N],
        )
        for part in range(PARTS):
            ux, uy, vy, vx, step, times, slope, rounded = (each(values[:, part]) for values in numbers)
            x_NSS, y_NSS = (places_NSS2 - place_NP2[:, None, None, part]).unbind(-1)
            u_NSS, v_NSS = ux * x_NSS + uy * y_NSS, vy * y_NSS - vx * x_NSS
            u_NSS = u_NSS - step * torch.minimum(torch.maximum((u_NSS / step).round(), -times), times)
            u_NSS, v_NSS = (u_NSS * (1 + slope * v_NSS).clamp(0.3, 3)).abs(), v_NSS.abs()
            yield torch.lerp(torch.maximum(u_NSS, v_NSS), torch.hypot(u_NSS, v_NSS), rounded)

    def _palette(self, label_N: Tensor, chance: Chance) -> Tensor:
        n = len(label_N)
        own = self.palette_CK3[label_N] + 0.08 * chance.normal(n, COLOURS, 3)
        return torch.where(each(chance.often(n, share=OWN_COLOURS)), own, _colours(chance, n)).clamp(0, 1)


def _varied(values_NP: Tensor, chance: Chance, spread: float) -> Tensor:
    """Vary the values of the formulas slightly in every picture."""
    return values_NP * (spread * chance.normal(*values_NP.shape)).exp()


def _colours(chance: Chance, n: int) -> Tensor:
    """Draw the colours of `n` things `(N, K, 3)`: from black to white, rarely saturated."""
    grey = chance.uniform(n, COLOURS, 1)
    return grey + chance.uniform(n, COLOURS, 1) ** 1.5 * (chance.uniform(n, COLOURS, 3) - grey)
