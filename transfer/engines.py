"""How a backbone is executed: on which device, in which precision.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transfer.backbone import normalise
from transfer.config import UserError, check_choice
from transfer.environment import has_bf16, usable_cores

ENGINES = ("eager",)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Images in a forward pass. On a processor 8 fill the cores already, and more fall out of its caches.
BATCH = {"cpu": 8, "cuda": 128}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A device, a precision and what goes with them."""

    engine: str
    precision: str
    device: str
    threads: int
    batch: int


def plan(engine: str, precision: str, device: str) -> Plan:
    """Settle every `auto`; raise `UserError` for what this machine or this version can't do.

    `auto` takes CUDA where there is one, and bf16 where the hardware multiplies it.
    """
    check_choice("--engine", engine, ("auto", *ENGINES))
    check_choice("--precision", precision, ("auto", *DTYPES))
    device = pick_device(device)
    if precision == "fp16" and device == "cpu":
        raise UserError("--precision is fp16, which processors only emulate; choose bf16 or fp32, or a GPU")
    if precision == "auto":
        fast_bf16 = (
            torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else has_bf16()
        )
        precision = "bf16" if fast_bf16 else "fp32"
    engine = ENGINES[0] if engine == "auto" else engine
    return Plan(
        engine=engine, precision=precision, device=device, threads=usable_cores(), batch=BATCH[device]
    )


def pick_device(device: str) -> str:
    """`auto` to `cuda` where there is one, else `cpu`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch sees no CUDA device here; use --device cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


class Eager:
    """PyTorch as it comes: channels_last, inference mode, autocast below fp32.

    Every batch is padded to the same number of images: then an image's features do not hang on how many others
    were left over, and a run that was interrupted ends in the same bits as one that was not. (Its place within
    the batch may move the last bits in some networks.)
    """

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self.plan = plan
        self.network = network.to(plan.device).to(memory_format=torch.channels_last)

    def __call__(self, x_NHW3: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Pixels `(N, H, W, 3)` uint8, at most a batch of them, to features `(N, D)` float32."""
        count = len(x_NHW3)
        padded = np.zeros((self.plan.batch, *x_NHW3.shape[1:]), np.uint8)
        padded[:count] = x_NHW3
        # Seen as (N, 3, H, W), pixels that lie together by image row are channels_last already.
        x_N3HW = torch.from_numpy(padded).to(self.plan.device).permute(0, 3, 1, 2)
        dtype = DTYPES[self.plan.precision]
        with torch.inference_mode(), torch.autocast(self.plan.device, dtype, enabled=dtype != torch.float32):
            x_ND = self.network(normalise(x_N3HW)).flatten(1)
        features: npt.NDArray[np.float32] = x_ND[:count].float().cpu().numpy()
        return features
