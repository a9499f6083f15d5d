"""Features as PyTorch's tutorials advise: channels_last, no gradients, autocast where that is faster."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transfer.system.hardware import has_bf16


def precision(device: str) -> str:
    """Return the loop's precision: bf16, or fp32 on processors that only emulate bf16 (three times as slow)."""
    return "bf16" if device == "cuda" or has_bf16() else "fp32"


def prepare(network: nn.Module) -> nn.Module:
    """Prepare the network for the loop."""
    return network.to(memory_format=torch.channels_last)


def features(
    body: nn.Module,
    x_N3HW: torch.Tensor,
    dtype: torch.dtype | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> torch.Tensor:
    """Compute the features (N, D) of one batch, on the network's device; in the loop's precision, or by `dtype`."""
    device = x_N3HW.device.type
    half = dtype or (torch.bfloat16 if precision(device) == "bf16" else torch.float32)
    enabled = half != torch.float32
    with torch.inference_mode(), torch.autocast(device, half if enabled else torch.bfloat16, enabled=enabled):
        x_ND: torch.Tensor = body(x_N3HW.to(memory_format=layout))
    return x_ND.flatten(1).float()


def forward(body: nn.Module, x_N3HW: torch.Tensor) -> npt.NDArray[np.float32]:
    """Compute the features of one batch as an array."""
    rows: npt.NDArray[np.float32] = features(body, x_N3HW).cpu().numpy()
    return rows
