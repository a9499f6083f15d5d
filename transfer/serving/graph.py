"""A saved model as one PyTorch module: pixels of any size to labels and calibrated probabilities.

N: images. H, W: height and width in pixels. C: classes.
"""

from __future__ import annotations

import PIL
import torch
from torch import nn

from transfer.backbones.preprocessing import FromPixels, Normalisation

# Pillow's coefficients are multiples of this one's reciprocal.
STEPS = 2.0**22
# From version 13 on Pillow resizes columns first where the height shrinks, and by more than twice what the width does:
# https://github.com/python-pillow/Pillow/pull/9549. The rounding between the passes makes that another image.
COLUMNS_FIRST = int(PIL.__version__.partition(".")[0]) >= 13


class Resize(nn.Module):
    """Images stretched to a size as the installed version of Pillow does it.

    Products with matrices of the filter's weights, one for each side, each rounded to whole levels: equal to Pillow's
    in float64. A library that computes in float32 instead (OpenVINO) rounds some pixels to the level beside it. The
    antialiased resize operators of ONNX and OpenVINO round elsewhere, and differ from each other. See
    `precompute_coeffs` in Pillow's src/libImaging/Resample.c.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    resample : str
        Filter: bilinear or bicubic.
    """

    def __init__(self, size: tuple[int, int], resample: str) -> None:
        super().__init__()
        self.size = size
        self.filter = {"bilinear": _triangle, "bicubic": _cubic}[resample]

    def forward(self, x_N3HW: torch.Tensor) -> torch.Tensor:
        """Resize pixels `(N, 3, H, W)` uint8; the levels that are returned are whole numbers in float64."""
        (old_height, old_width), (height, width) = x_N3HW.shape[2:], self.size
        x_N3HW = x_N3HW.double()
        columns, rows = self._weights(old_height, height), self._weights(old_width, width).T
        rows_first = _rounded(columns @ _rounded(x_N3HW @ rows))
        if not COLUMNS_FIRST:
            return rows_first
        # Both, since a branch that depends on the size of an image is not exported to all formats.
        columns_first = _rounded(_rounded(columns @ x_N3HW) @ rows)
        taller, wider = torch.scalar_tensor(old_height - height), torch.scalar_tensor(old_width - width)
        return torch.where((taller > 0) & (taller > 2 * wider), columns_first, rows_first)

    def _weights(self, n_in: int, n_out: int) -> torch.Tensor:
        """Return the weights `(n_out, n_in)` of a side's pixels in the new side's pixels."""
        # Twice the distances between centres, in parts of a pixel: whole numbers, also where float32 must do.
        apart = (2 * torch.arange(n_in) + 1) * n_out - (2 * torch.arange(n_out)[:, None] + 1) * n_in
        distance = apart.abs().double() / 2
        # Divided by the longer of the two sides: where an image shrinks, the filter grows with its pixels.
        weight = self.filter(torch.minimum(distance / n_in, distance / n_out))
        weight = weight / weight.sum(1, keepdim=True)
        return torch.floor(weight * STEPS + 0.5) / STEPS


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
