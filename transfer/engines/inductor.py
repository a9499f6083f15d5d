"""PyTorch's compiler, inductor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from transfer.backbones.pixels import FromPixels
from transfer.backbones.preprocessing import Normalisation
from transfer.engines import Plan, Size
from transfer.engines.eager import Eager


def build(
    network: nn.Module, plan: Plan, size: Size, calibrated: Path | None, normalisation: Normalisation
) -> Compiled:
    """Build the engine; its arguments are those of `transfer.engines.build`."""
    return Compiled(network, plan, normalisation)


class Compiled(Eager):
    """As `Eager`, compiled for the one shape there is at its first batch; on a processor with weights frozen in.

    Freezing folds batch norm and lays weights out for the processor's kernels.
    """

    def _prepare(
        self, network: nn.Module, normalisation: Normalisation
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        module = FromPixels(copy.deepcopy(network), normalisation)
        module = module.to(self.plan.device).to(memory_format=torch.channels_last)
        freezing = self.plan.device == "cpu"
        compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(
            module, dynamic=False, options={"freezing": freezing}
        )
        return compiled
