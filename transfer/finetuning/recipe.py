"""How blocks are trained: the settings of one training, and its learning rate at each step."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

# By the precision of an engine: the dtype of products; None where nothing is cast.
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def without_tf32() -> AbstractContextManager[None]:
    """Have convolutions of a GPU computed in fp32 where that is the precision, as engines do."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training."""

    epochs: int = 10
    batch: int = 32
    """Images in a step; gradients of parts of it are added up where memory is short."""
    lr_head: float = 1e-3
    lr_blocks: float = 1e-4
    weight_decay: float = 0.01
    """Of matrices and filters; biases and the parameters of norms have none."""
    warm_up: float = 0.1
    """Share of all steps in which learning rates rise from zero; then they fall to zero along half a cosine."""
    seed: int = 0
    select: str = "macro_f1"
    """Validation score that the epoch is chosen by."""
    precision: str = "fp32"
    device: str = "cpu"

    def factor(self, step: int, steps: int) -> float:
        """Return what learning rates are multiplied by at a step, counted from 0, of so many."""
        warm_up = max(1, round(self.warm_up * steps))
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
