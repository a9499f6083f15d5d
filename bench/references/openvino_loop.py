"""Features with OpenVINO as its guide shows it: convert, compile, infer batch after batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bench.references import BATCH, loader


def extract(network: nn.Module, folder: Path, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Features (N, D) of a folder of class folders; `network` ends in its features and is in eval mode."""
    model = prepare(network, size)
    return np.concatenate([forward(model, x_N3HW) for x_N3HW, _ in loader(folder, size)])


def prepare(network: nn.Module, size: tuple[int, int]) -> Any:
    """The network as the loop runs it: in bf16 where the processor has it, which is OpenVINO's own default."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino.compile_model(
        openvino.convert_model(network, example_input=torch.zeros(BATCH, 3, *size)), "CPU"
    )


def forward(model: Any, x_N3HW: torch.Tensor) -> npt.NDArray[np.float32]:
    """One batch."""
    rows: npt.NDArray[np.float32] = model(x_N3HW.numpy())[0]
    return rows.reshape(len(rows), -1)
