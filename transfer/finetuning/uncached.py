"""Last layers trained while the frozen network before them runs in train mode, as the lab's notebook ran it.

`model.train()` lets batch norm normalise by the statistics of each batch, in frozen layers too, and move its running
statistics towards them. Features of an image then depend on the batch it is in, so that they can't be kept.

N: images. H, W: height and width in pixels. D: features an image. C: classes.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transfer.backbones.batch_norm import list_batch_norms
from transfer.backbones.pixels import FromPixels
from transfer.finetuning.recipe import AUTOCAST, without_tf32
from transfer.finetuning.training import Tensors
from transfer.heads.batched_adam import draw_start
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent
from transfer.system.timer import now

Places = npt.NDArray[np.int64]
Read = Callable[[Places], Iterator[torch.Tensor]]
"""From the places of images in the training split to their pixels `(N, H, W, 3)` uint8, batch after batch."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of a training: those of the method `fc-lab`."""

    lr: tuple[float, ...]
    epochs: int
    batch: int
    seed: int
    precision: str


class UncachedTraining:
    """Linear layers of several learning rates on a network in train mode, which can be stopped and continued.

    The statistics of a batch do not depend on the layers, so one forward pass serves all of them. They begin as those
    of `fc-lab` do and see the same batches.

    Parameters
    ----------
    network : FromPixels
        On the device; its batch norms are changed.
    width : int
        Features of an image.
    read : callable
    codes_N : ndarray of shape (N,), int64
        Class indices of the training images.
    protocol : Protocol

    Attributes
    ----------
    epoch, step : int
        Epochs that are done; and 0, since epochs are not divided.
    layers : nn.ModuleList
        A linear layer for each learning rate.
    """

    step = 0

    def __init__(
        self, network: FromPixels, width: int, read: Read, codes_N: Places, protocol: Protocol
    ) -> None:
        self.network, self.read, self.protocol = network, read, protocol
        self.codes_N = torch.from_numpy(codes_N)
        self.device = network.mean.device.type
        self._generator = torch.Generator().manual_seed(protocol.seed)
        start_CD = draw_start(width, int(codes_N.max()) + 1, self._generator)
        layer = nn.Linear(width, len(start_CD))
        with torch.no_grad():
            layer.weight.copy_(start_CD[:, :-1])
            layer.bias.copy_(start_CD[:, -1])
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in protocol.lr).to(self.device)
        self._orders = [
            torch.randperm(len(codes_N), generator=self._generator).numpy() for _ in range(protocol.epochs)
        ]
        self._adam = torch.optim.Adam(
            [
                {"params": layer.parameters(), "lr": lr}
                for layer, lr in zip(self.layers, protocol.lr, strict=True)
            ]
        )
        self.epoch, self._is_estimated = 0, False

    @property
    def statistics(self) -> Tensors:
        """The running statistics of batch norms, as they are called in the network."""
        return {
            f"{path}.{name}": value.detach()
            for path, part in list_batch_norms(self.network.network)
            for name, value in part.named_buffers()
            if value.is_floating_point()
        }

    def run(self, save: Callable[[], None] = lambda: None, on_progress: Progress = silent) -> None:
        """Train to the end; `save` is called after each epoch."""
        while self.epoch < self.protocol.epochs:
            self.train_epoch(on_progress)
            self.epoch += 1
            save()
        on_progress("train", self._steps, self._steps, "", "steps")

    @property
    def _steps(self) -> int:
        return self.protocol.epochs * math.ceil(len(self.codes_N) / self.protocol.batch)

    def train_epoch(self, on_progress: Progress = silent) -> None:
        """Train on every image once."""
        order, epochs = self._orders[self.epoch], self.protocol.epochs
        batches = torch.split(torch.from_numpy(order), self.protocol.batch)
        self.network.train()
        start = now(self.device)
        with torch.random.fork_rng(range(torch.cuda.device_count()) if self.device == "cuda" else []):
            torch.manual_seed(self.protocol.seed + self.epoch)  # of dropout
            for i, (places, x_NHW3) in enumerate(zip(batches, self.read(order), strict=True)):
                done = self.epoch * len(batches) + i
                on_progress("train", done, self._steps, f"epoch {self.epoch + 1} of {epochs}", "steps")
                self._step(x_NHW3.to(self.device), self.codes_N[places].to(self.device))
                if not self._is_estimated:
                    self._estimate(len(places), now(self.device) - start)
        self.network.eval()

    def _estimate(self, images: int, seconds: float) -> None:
        """Log what is left, by the images and seconds of the first batch."""
        self._is_estimated = True
        left, rate = (self.protocol.epochs - self.epoch) * len(self.codes_N), images / seconds
        log.info(
            "the network runs on %s images (%d epochs): about %.1f min at %.1f images/s",
            f"{left:,}",
            self.protocol.epochs - self.epoch,
            left / rate / 60,
            rate,
        )

    def _step(self, x_NHW3: torch.Tensor, y_N: torch.Tensor) -> None:
        dtype = AUTOCAST[self.protocol.precision]
        with (
            torch.no_grad(),
            torch.autocast(self.device, dtype, enabled=dtype is not None),
            without_tf32(),
        ):
            try:
                x_ND = self.network(x_NHW3).float()
            except ValueError as error:
                if len(y_N) > 1:  # batch norm refuses one image whose maps have one number a channel
                    raise
                raise UserError(
                    "the last batch has one image, too few for its statistics; give another `batch_size`"
                ) from error
        self._adam.zero_grad()
        losses = [nn.functional.cross_entropy(layer(x_ND), y_N) for layer in self.layers]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self._adam.step()

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return all that a training continues from: tensors, and numbers as JSON."""
        tensors = self.tensors
        for name, value in self.layers.named_parameters():
            tensors |= {f"{key}/{name}": one for key, one in self._adam.state[value].items()}
        return tensors, {"epoch": self.epoch}

    def restore(self, tensors: Tensors, numbers: dict[str, Any]) -> None:
        """Continue where another training of the same protocol and images was."""
        self.epoch = numbers["epoch"]
        self.take(tensors)
        for name, value in self.layers.named_parameters():
            kept = {key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            self._adam.state[value] = {
                key: one.clone() if key == "step" else one.to(value.device) for key, one in kept.items()
            }

    def result(self) -> tuple[Tensors, dict[str, Any]]:
        """Return layers and statistics, and no numbers."""
        return self.tensors, {}

    @property
    def tensors(self) -> Tensors:
        """Layers and statistics."""
        layers = {f"layers/{name}": value.detach() for name, value in self.layers.named_parameters()}
        return layers | {f"network/{name}": value for name, value in self.statistics.items()}

    def take(self, tensors: Tensors) -> None:
        """Take the `tensors` of another training."""
        with torch.no_grad():
            for name, value in self.tensors.items():  # views
                value.copy_(tensors[name])
