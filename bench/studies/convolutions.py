"""ResNet50's convolutions at 240x800, a kind of layer at a time, as functions that can be timed.

N: images. C: channels. H, W: height and width.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import ways
from transfer.engines import Plan, openvino
from transfer.engines.eager import DTYPES
from transfer.engines.openvino import import_openvino
from transfer.system.hardware import usable_cores

# Layers in a row: what comes before the first and after the last of them is then a small part.
REPEATED = 4
# Calls of each of OpenVINO's streams.
IN_TURN = 2


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Convolutions of one kind in one stage of the network."""

    kind: str
    """`3x3` (C to C channels), or `1x1` (4C to C, then C to 4C)."""
    channels: int
    shape: tuple[int, int]
    blocks: int
    """How many the network has."""

    def __str__(self) -> str:
        """Name the layers, such as `3x3, 64 channels, 60x200`."""
        return f"{self.kind}, {self.channels} channels, {self.shape[0]}x{self.shape[1]}"

    @property
    def wide(self) -> int:
        """The channels of their input."""
        return self.channels if self.kind == "3x3" else 4 * self.channels

    @property
    def flops(self) -> int:
        """Operations of one block for one image, an addition being one of its own."""
        taps = 9 if self.kind == "3x3" else 8
        return 2 * taps * self.channels**2 * self.shape[0] * self.shape[1]

    def network(self) -> nn.Module:
        """Return `REPEATED` of them in a row, and the mean of their output over space."""
        narrow, wide = self.channels, self.wide

        def block() -> list[nn.Module]:
            if self.kind == "3x3":
                return [nn.Conv2d(narrow, narrow, 3, padding=1)]
            return [nn.Conv2d(wide, narrow, 1), nn.Conv2d(narrow, wide, 1)]

        convolutions = [layer for _ in range(REPEATED) for layer in block()]
        return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


RESNET50 = tuple(
    Layers(kind=kind, channels=channels, shape=shape, blocks=blocks)
    for channels, shape, blocks in (
        (64, (60, 200), 3),
        (128, (30, 100), 4),
        (256, (15, 50), 6),
        (512, (8, 25), 3),
    )
    for kind in ("3x3", "1x1")
)


def by_pytorch(layers: Layers, device: str, precision: str, batch: int) -> tuple[Callable[[], Any], int]:
    """Return a call of the layers in PyTorch (oneDNN, cuDNN), and the operations it takes; also in `tf32`."""
    dtype = DTYPES.get(precision, torch.float32)
    network = layers.network().to(device, dtype).to(memory_format=torch.channels_last)
    x_NCHW = torch.rand(batch, layers.wide, *layers.shape, device=device).to(dtype)
    x_NCHW = x_NCHW.to(memory_format=torch.channels_last)
    # In fp32 cuDNN would take seconds to try its algorithms.
    tried = dtype != torch.float32

    def call() -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if device == "cuda":
                flags = torch.backends.cudnn.flags(
                    enabled=True, benchmark=tried, allow_tf32=precision == "tf32"
                )
                stack.enter_context(flags)
            network(x_NCHW)

    return call, REPEATED * batch * layers.flops


def by_openvino(layers: Layers, precision: str, batch: int) -> tuple[Callable[[], Any], int]:
    """Return calls of the layers in OpenVINO, with the streams of our engine, and the operations they take."""
    ov = import_openvino()
    x_NCHW = torch.rand(batch, layers.wide, *layers.shape).numpy()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch.jit.trace
        model = ov.convert_model(
            layers.network(),
            example_input=torch.zeros(openvino.TRACED, *x_NCHW.shape[1:]),
            input=[ov.PartialShape([-1, *x_NCHW.shape[1:]])],
        )
    if precision == "int8":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.safetensors"
            path.write_bytes(openvino.calibrate(model, [x_NCHW[:2]]))
            model = openvino.load(path)
    plan = Plan(engine="openvino", precision=precision, device="cpu", threads=usable_cores(), batch=batch)
    engine = openvino.OpenVINO(model, plan)
    calls = IN_TURN * engine.in_flight
    return lambda: ways.compute_batches(engine, [x_NCHW] * calls), REPEATED * batch * calls * layers.flops
