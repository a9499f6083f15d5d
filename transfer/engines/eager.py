"""PyTorch as it comes.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from transfer.backbones.pixels import FromPixels
from transfer.backbones.preprocessing import IMAGENET, Normalisation
from transfer.engines import FeatureRows, Pixels, Plan, Size
from transfer.engines.folding import fold_batch_norm
from transfer.system.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

log = logging.getLogger(__name__)


def build(
    network: nn.Module, plan: Plan, size: Size, calibrated: Path | None, normalisation: Normalisation
) -> Eager:
    """Build the engine; its arguments are those of `transfer.engines.build`."""
    return Eager(network, plan, normalisation)


class Eager:
    """PyTorch without a compiler: batch norm folded into convolutions, channels_last, autocast below fp32.

    On CUDA pixels are copied from pinned memory on a stream of their own, beside the forward pass before them;
    when its memory does not suffice the batch is halved. fp32 is true fp32 there, not TF32.
    """

    def __init__(self, network: nn.Module, plan: Plan, normalisation: Normalisation = IMAGENET) -> None:
        self.plan = plan
        self.batch = plan.batch
        self.in_flight = 2 if plan.device == "cuda" else 1
        self._forward = self._prepare(network, normalisation)
        self._copies = torch.cuda.Stream() if plan.device == "cuda" else None  # type: ignore[no-untyped-call]

    def _prepare(
        self, network: nn.Module, normalisation: Normalisation
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        try:
            network = fold_batch_norm(network)
        except Exception:  # torch.fx can't trace every network; unfolded it is as right, and slower
            network = copy.deepcopy(network)
        module = FromPixels(network, normalisation)
        return module.to(self.plan.device).to(memory_format=torch.channels_last)

    def submit(self, x_NHW3: Pixels | torch.Tensor) -> Callable[[], FeatureRows]:
        """Start on pixels, as `Engine.submit` does; they may lie on the device already.

        Raises
        ------
        UserError
            Where not even one image fits into the device's memory.
        """
        while (parts := self._started(x_NHW3)) is None:
            self._halve()  # once the error, which holds what the pass had in memory, is gone
        return lambda: np.concatenate([part() for part in parts])

    def _started(self, x_NHW3: Pixels | torch.Tensor) -> list[Callable[[], FeatureRows]] | None:
        """Start the forward pass in batches that the memory has held so far; None where it does not hold them now."""
        try:
            return [self._start(x_NHW3[i : i + self.batch]) for i in range(0, len(x_NHW3) or 1, self.batch)]
        except torch.OutOfMemoryError:
            return None

    def _start(self, x_NHW3: Pixels | torch.Tensor) -> Callable[[], FeatureRows]:
        x_ND = self._features(self._moved(x_NHW3))[: len(x_NHW3)].float()
        if self._copies is None:
            return x_ND.numpy
        rows = torch.empty(x_ND.shape, pin_memory=True)
        rows.copy_(x_ND, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()

        def wait() -> FeatureRows:
            done.synchronize()
            return rows.numpy()

        return wait

    def _moved(self, x_NHW3: Pixels | torch.Tensor) -> torch.Tensor:
        """Move a whole batch to the device, the images that are missing black."""
        if isinstance(x_NHW3, torch.Tensor):
            return nn.functional.pad(x_NHW3, (0, 0) * 3 + (0, self.batch - len(x_NHW3)))
        padded = torch.zeros(
            (self.batch, *x_NHW3.shape[1:]), dtype=torch.uint8, pin_memory=self._copies is not None
        )
        padded.numpy()[: len(x_NHW3)] = x_NHW3
        if self._copies is None:
            return padded
        with torch.cuda.stream(self._copies):
            on_device = padded.to(self.plan.device, non_blocking=True)
        torch.cuda.current_stream().wait_stream(self._copies)
        on_device.record_stream(torch.cuda.current_stream())
        return on_device

    def _features(self, x_NHW3: torch.Tensor) -> torch.Tensor:
        dtype = DTYPES[self.plan.precision]
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._copies is not None:
                # No benchmark=True: on an H100 (torch 2.11, resnet50, 240x800) trying cuDNN's algorithms took 4 s of
                # set-up and gained less than 1 % of speed. TF32 keeps 10 bits of fp32's 23.
                stack.enter_context(
                    torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
                )
            if dtype != torch.float32:
                stack.enter_context(torch.autocast(self.plan.device, dtype))
            return self._forward(x_NHW3)

    def _halve(self) -> None:
        if self.batch == 1:
            raise UserError(
                f"one image needs more memory than the {self.plan.device} device has left; "
                "use a smaller `size`, or `device='cpu'`"
            ) from None
        self.batch //= 2
        torch.cuda.empty_cache()
        log.warning(
            "the %s device is out of memory; continuing in batches of %d", self.plan.device, self.batch
        )
