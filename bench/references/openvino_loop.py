"""Features with OpenVINO as its guide shows it: convert, compile, infer batch after batch."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bench.references import BATCH
from transfer.system.hardware import has_bf16

# Height and width of the image that is traced: a small one, since tracing runs the network ten times.
TRACED = (64, 64)


def prepare(network: nn.Module, size: tuple[int, int]) -> Any:
    """Compile the network with OpenVINO's default: bf16 if the processor multiplies it, else fp32."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch.jit.trace, which OpenVINO calls
        model = openvino.convert_model(
            network, example_input=torch.zeros(1, 3, *TRACED), input=[BATCH, 3, *size]
        )
    # OpenVINO's default follows the processor, also where oneDNN is limited to less: both must compute alike.
    hint = {} if has_bf16() else {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.compile_model(model, "CPU", hint)


def forward(model: Any, x_N3HW: torch.Tensor) -> npt.NDArray[np.float32]:
    """Compute the features of one batch."""
    rows: npt.NDArray[np.float32] = model(x_N3HW.numpy())[0]
    return rows.reshape(len(rows), -1)
