"""Image files to labels as most people would write it: PIL, the usual transforms, eager fp32, a head on the features.

N: images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from bench.references import BATCH, transform


def predict(
    paths: Sequence[Path], body: nn.Module, head: Any, size: tuple[int, int], device: str
) -> list[int]:
    """Return class indices, batch after batch; `body` is in eval mode on `device`."""
    steps, predicted = transform(size), []
    for start in range(0, len(paths), BATCH):
        images = [steps(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
        with torch.inference_mode():
            x_ND = body(torch.stack(images).to(device)).flatten(1).cpu().numpy()
        predicted += head.predict(x_ND).tolist()
    return predicted
