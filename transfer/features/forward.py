"""Images through an engine: batches as it takes them, features that are numbers, and the machine they were made on.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from transfer.data.bad_images import BadImages
from transfer.data.batches import batches, batches_on
from transfer.data.loader import File, Readable
from transfer.engines import FeatureRows, Plan
from transfer.system.errors import UserError
from transfer.system.hardware import processor


class NotFinite(UserError):
    """Features that are no numbers: they overflowed, or the weights are no numbers."""


def batches_for(
    plan: Plan,
    images: Iterable[Readable],
    size: tuple[int, int],
    decoder: str,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> Iterator[tuple[list[Readable], Any]]:
    """Yield images and their pixels `(N, H, W, 3)`, as many as the plan's batch, where the decoder leaves them."""
    if decoder == "nvjpeg":
        return batches_on(plan.device, images, plan.batch, size, pool, bad)
    return batches(images, plan.batch, size, pool, bad)


def describe_machine(plan: Plan) -> str:
    """Return what seconds depend on; those of different machines are never added up."""
    chip = torch.cuda.get_device_name() if plan.device == "cuda" else processor()[0]
    return f"{chip}, {plan.threads} threads"


def check_finite(x_ND: FeatureRows, images: Sequence[File], plan: Plan) -> None:
    """Raise `NotFinite` for features `(N, D)` that are no numbers."""
    if not np.isfinite(x_ND).all():
        hint = "" if plan.precision == "fp32" else "`precision='fp32'`, or "
        raise NotFinite(
            f"the network's features of {images[0].path} or one after it are not finite in {plan.precision}; "
            f"try {hint}other weights"
        )
