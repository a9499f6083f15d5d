"""Components of pictures: random numbers, coordinates after transformations, smooth noise.

N: pictures. S: their side in pixels. Places are `(N, S, S, 2)`, x and y, where -1 and 1 are the edges of the picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


class Chance:
    """Random tensors on a device, all from one seed; drawn elsewhere if they must be the same on every device."""

    def __init__(
        self, seed: int, device: torch.device | str, drawn_on: torch.device | str | None = None
    ) -> None:
        self.device = torch.device(device)
        self.drawn_on = torch.device(drawn_on or device)
        self.generator = torch.Generator(self.drawn_on).manual_seed(seed)
        # Of another seed: the same numbers would tie what is drawn to how it is drawn.
        self.host_generator = torch.Generator().manual_seed(~seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw numbers between `low` and `high`."""
        drawn = torch.rand(shape, generator=self.generator, device=self.drawn_on)
        return low + (high - low) * drawn.to(self.device)

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Draw positive numbers with uniformly distributed logarithms."""
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, *shape: int) -> Tensor:
        """Draw numbers of mean 0 and variance 1."""
        return torch.randn(shape, generator=self.generator, device=self.drawn_on).to(self.device)

    def integers(self, *shape: int, high: int) -> Tensor:
        """Draw integers from 0 to `high` - 1."""
        return torch.randint(high, shape, generator=self.generator, device=self.drawn_on).to(self.device)

    def integers_on_host(self, n: int, high: int) -> Tensor:
        """Draw integers on the host, so that branches that depend on them need not wait for a GPU."""
        return torch.randint(high, (n,), generator=self.host_generator)

    def often(self, *shape: int, share: float) -> Tensor:
        """Draw a mask that is true in about a share of places."""
        return self.uniform(*shape) < share


def each(values_N: Tensor, dims: int = 2) -> Tensor:
    """Reshape one value a picture to broadcast over `dims` more dimensions."""
    return values_N.reshape(*values_N.shape, *[1] * dims)


def group(label_N: Tensor, here_N: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which pictures are in the mask `here_N`, and their labels: from the host to `device`.

    Nothing waits for the GPU: it draws one batch while the host prepares the next.
    """
    at = here_N.nonzero()[:, 0]
    return at.to(device, non_blocking=True), label_N[at].to(device, non_blocking=True)


def frame(n: int, side: int, device: torch.device) -> Tensor:
    """Return the places of the pixels' centres `(N, S, S, 2)`: one tensor, expanded `n` times."""
    at_S = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    y_SS, x_SS = torch.meshgrid(at_S, at_S, indexing="ij")
    return torch.stack([x_SS, y_SS], -1).expand(n, side, side, 2)


def seen(
    chance: Chance,
    places_NSS2: Tensor,
    *,
    zoom: tuple[float, float],
    turn: float,
    shift: float,
    squeeze: float = 0.2,
) -> Tensor:
    """Transform places to the coordinates of an object with a random position in each picture.

    It is larger by `zoom`, rotated by up to `turn` radians, shifted by up to `shift`, squeezed and sheared by up to
    `squeeze`, and mirrored in half of the pictures.
    """
    n = len(places_NSS2)
    angle, shear = chance.uniform(n, low=-turn, high=turn), chance.uniform(n, low=-squeeze, high=squeeze)
    size = chance.log_uniform(n, low=zoom[0], high=zoom[1])
    wide = chance.log_uniform(n, low=1 - squeeze, high=1 + squeeze)
    sign = torch.where(chance.often(n, share=0.5), -1.0, 1.0)
    x_NSS, y_NSS = (places_NSS2 - chance.uniform(n, 1, 1, 2, low=-shift, high=shift)).unbind(-1)
    cos, sin = each(angle.cos()), each(angle.sin())
    u_NSS, v_NSS = cos * x_NSS + sin * y_NSS, cos * y_NSS - sin * x_NSS
    u_NSS = u_NSS + each(shear) * v_NSS
    return torch.stack([u_NSS * each(sign / (size * wide)), v_NSS * each(wide / size)], -1)


def noise(chance: Chance, n: int, cells: int, side: int) -> Tensor:
    """Draw smooth noise `(N, S, S)` of mean 0 and variance about 1, with about `cells` hills across."""
    coarse = chance.normal(n, 1, cells + 1, cells + 1)
    smooth = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    return 1.4 * smooth[:, 0]


def sampled(lattice_N1LL: Tensor, places_NSS2: Tensor) -> Tensor:
    """Interpolate a periodic lattice of random values `(N, S, S)`."""
    wrapped = (places_NSS2 + 1).remainder(4) - 2  # there and back, so that the field is continuous
    folded = wrapped.abs() - 1
    return F.grid_sample(lattice_N1LL, folded, mode="bilinear", align_corners=True)[:, 0]
