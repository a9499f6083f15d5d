"""A saved model as one PyTorch module: pixels of any size to labels and calibrated probabilities.

N: images. H, W: height and width in pixels. C: classes.
"""

from __future__ import annotations

import PIL
import torch
from torch import nn

from transfer.backbones.pixels import FromPixels
from transfer.backbones.preprocessing import Normalisation
from transfer.data.resize import Resizing

# Pillow's coefficients are multiples of this one's reciprocal.
STEPS = 2.0**22
# From version 13 on Pillow resizes columns first where the height shrinks, and by more than twice what the width does:
# https://github.com/python-pillow/Pillow/pull/9549. The rounding between the passes makes that another image.
COLUMNS_FIRST = int(PIL.__version__.partition(".")[0]) >= 13


class Resize(nn.Module):
    """Images brought to a size as the installed version of Pillow does it.

    Products with matrices of the filter's weights, one for each side, each rounded to whole levels: equal to Pillow's
    in float64. A library that computes in float32 instead (OpenVINO) rounds some pixels to the level beside it. The
    antialiased resize operators of ONNX and OpenVINO round elsewhere, and differ from each other. See
    `precompute_coeffs` in Pillow's src/libImaging/Resample.c.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    resizing : Resizing
        How; what `data.resize.place` decides from an image's size is computed here from the size that comes.
    """

    def __init__(self, size: tuple[int, int], resizing: Resizing) -> None:
        super().__init__()
        self.size = size
        self.way = resizing.way
        self.filter = {"bilinear": _triangle, "bicubic": _cubic}[resizing.resample]

    def forward(self, x_N3HW: torch.Tensor) -> torch.Tensor:
        """Resize pixels `(N, 3, H, W)` uint8; the levels that are returned are whole numbers in float64."""
        old_height, old_width = x_N3HW.shape[2:]
        height, width = self._scaled(old_height, old_width)
        x_N3HW = x_N3HW.double()
        columns = self._weights(old_height, height, self.size[0])
        rows = self._weights(old_width, width, self.size[1]).T
        rows_first = _rounded(columns @ _rounded(x_N3HW @ rows))
        if not COLUMNS_FIRST:
            return rows_first
        # Both, since a branch that depends on the size of an image is not exported to all formats.
        columns_first = _rounded(_rounded(columns @ x_N3HW) @ rows)
        taller, wider = old_height - height, old_width - width
        return torch.where((taller > 0) & (taller > 2 * wider), columns_first, rows_first)

    def _scaled(self, old_height: int, old_width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the height and width that an image is scaled to, as tensors: for a size that is not known yet."""
        height, width = (torch.scalar_tensor(side, dtype=torch.int64) for side in self.size)
        if self.way == "stretch":
            return height, width
        by_height, by_width = self.size[0] * old_width, self.size[1] * old_height
        apart = torch.scalar_tensor(by_height - by_width, dtype=torch.int64)
        is_by_height = apart >= 0 if self.way == "crop" else apart <= 0
        other_height = torch.scalar_tensor(by_width // old_width, dtype=torch.int64).clamp(min=1)
        other_width = torch.scalar_tensor(by_height // old_height, dtype=torch.int64).clamp(min=1)
        return torch.where(is_by_height, height, other_height), torch.where(is_by_height, other_width, width)

    def _weights(self, n_in: int, n_out: torch.Tensor, n_seen: int) -> torch.Tensor:
        """Return the weights `(n_seen, n_in)` of a side's pixels in what is seen of the `n_out` scaled ones."""
        excess = n_out - n_seen
        begin = torch.where(excess > 0, torch.round(excess.double() / 2).long(), -((-excess) // 2))
        at = torch.arange(n_seen)[:, None] + begin
        # Twice the distances between centres, in parts of a pixel: whole numbers, also where float32 must do.
        apart = (2 * torch.arange(n_in) + 1) * n_out - (2 * at + 1) * n_in
        distance = apart.abs().double() / 2
        # Divided by the longer of the two sides: where an image shrinks, the filter grows with its pixels.
        weight = self.filter(torch.minimum(distance / n_in, distance / n_out.double()))
        weight = torch.floor(weight / weight.sum(1, keepdim=True) * STEPS + 0.5) / STEPS
        # Black outside the image.
        return torch.where((at >= 0) & (at < n_out), weight, 0.0)


def _triangle(distance: torch.Tensor) -> torch.Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: torch.Tensor) -> torch.Tensor:
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * -0.5 + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _rounded(levels: torch.Tensor) -> torch.Tensor:
    return torch.floor(levels + 0.5).clamp(0, 255)


class Classifier(nn.Module):
    """A network and a head, with all that comes before, between and after them.

    Parameters
    ----------
    resize : nn.Module
    network : nn.Module
        Cut before its classifier.
    normalisation : Normalisation
        That the network's weights were trained with.
    head : nn.Module
        From features to labels and probabilities.
    """

    def __init__(
        self, resize: nn.Module, network: nn.Module, normalisation: Normalisation, head: nn.Module
    ) -> None:
        super().__init__()
        self.resize = resize
        self.features = FromPixels(network, normalisation)
        self.head = head

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return labels `(N,)` int64 and probabilities `(N, C)` float32 of pixels `(N, 3, H, W)` uint8."""
        found: tuple[torch.Tensor, torch.Tensor] = self.head(
            self.features(self.resize(images).permute(0, 2, 3, 1))
        )
        return found
