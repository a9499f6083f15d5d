"""Things: each class some parts that lie to each other as its formula says, as a house has a roof and windows.

N: pictures. S: side in pixels. C: classes. P: parts. K: colours of a thing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transfer.pretrain.fields import Chance, each, seen

PARTS, COLOURS = 12, 5
# From things that are a quarter of the picture wide to those of which it holds a part.
ZOOM, TURN, SHIFT = (0.35, 1.6), 0.3, 0.4
OWN_COLOURS = 0.6


class Things:
    """`n` classes of things, their formulas drawn from a seed and the same on every device.

    A part is a box or an ellipse or between, stretched, tapered and turned, and may stand there several times in a
    row. Each covers those before it. A class has colours, which six in ten of its things have, more or less.
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
        """Where the things of the classes `label_N` are `(N, S, S)`, and their colours there `(N, 3, S, S)`."""
        n, side = places_NSS2.shape[:2]
        places = seen(chance, places_NSS2, zoom=ZOOM, turn=TURN, shift=SHIFT)
        palette_NK3 = self._palette(label_N, chance)
        cover = torch.zeros(n, side, side, device=places.device)
        colour = torch.zeros(n, 3, side, side, device=places.device)
        for part in range(PARTS):
            size = self._of(self.size_CP, label_N, part, chance, 0.06)
            # An edge is about a pixel wide.
            inside = torch.sigmoid(1.5 * side * (each(size) - self._away(label_N, part, places, chance)))
            inside = inside * each(self.there_CP[label_N, part])
            cover = torch.maximum(cover, inside)
            paint = palette_NK3[torch.arange(n, device=places.device), self.colour_CP[label_N, part]]
            colour = torch.lerp(colour, each(paint), inside[:, None])
        return cover, colour / cover[:, None].clamp_min(1e-3)

    def _away(self, label_N: Tensor, part: int, places_NSS2: Tensor, chance: Chance) -> Tensor:
        """How far from the middle of a part each place is `(N, S, S)`, in the part's own measure."""
        n = len(label_N)
        at = self.place_CP2[label_N, part] + 0.03 * chance.normal(n, 2)
        x_NSS, y_NSS = (places_NSS2 - at[:, None, None]).unbind(-1)
        angle = self.angle_CP[label_N, part] + 0.04 * chance.normal(n)
        wide = self._of(self.wide_CP, label_N, part, chance, 0.08).sqrt()
        cos, sin = angle.cos(), angle.sin()
        u_NSS = each(cos / wide) * x_NSS + each(sin / wide) * y_NSS
        v_NSS = each(cos * wide) * y_NSS - each(sin * wide) * x_NSS
        times, step = self.times_CP[label_N, part], self.apart_CP[label_N, part] * self.size_CP[label_N, part]
        nearest = (u_NSS / each(step)).round()
        u_NSS = u_NSS - each(step) * torch.minimum(torch.maximum(nearest, -each(times)), each(times))
        slope = each(self.taper_CP[label_N, part] / self.size_CP[label_N, part])
        u_NSS, v_NSS = (u_NSS * (1 + slope * v_NSS).clamp(0.3, 3)).abs(), v_NSS.abs()
        return torch.lerp(
            torch.maximum(u_NSS, v_NSS), torch.hypot(u_NSS, v_NSS), each(self.round_CP[label_N, part])
        )

    def _palette(self, label_N: Tensor, chance: Chance) -> Tensor:
        n = len(label_N)
        own = self.palette_CK3[label_N] + 0.08 * chance.normal(n, COLOURS, 3)
        return torch.where(each(chance.often(n, share=OWN_COLOURS)), own, _colours(chance, n)).clamp(0, 1)

    @staticmethod
    def _of(values_CP: Tensor, label_N: Tensor, part: int, chance: Chance, spread: float) -> Tensor:
        """What the formulas say of a part, a little more or less in every picture."""
        return values_CP[label_N, part] * (spread * chance.normal(len(label_N))).exp()


def _colours(chance: Chance, n: int) -> Tensor:
    """Colours of `n` things `(N, K, 3)`: from black to white, seldom gaudy."""
    grey = chance.uniform(n, COLOURS, 1)
    return grey + chance.uniform(n, COLOURS, 1) ** 1.5 * (chance.uniform(n, COLOURS, 3) - grey)
