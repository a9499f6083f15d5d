"""Forward passes of a ResNet50 by our engines, and by the loop that timm's benchmark.py times, in every precision.

Pixels lie on the device. The loop is PyTorch's own: channels_last, autocast, no gradients, as in
https://github.com/huggingface/pytorch-image-models/blob/main/benchmark.py; further ways change one thing of it each.
TF32 is what PyTorch computes convolutions of float32 in unless it is switched off; here `fp32` is without it.

N: images. H, W: height and width. D: features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from bench import ways
from bench.gpu import inputs
from bench.gpu.part import Part, Row
from bench.gpu.timing import time_blocks
from bench.references import pytorch_loop
from transfer import engines
from transfer.config import BUNDLED_BACKBONE
from transfer.engines import Plan
from transfer.engines.eager import DTYPES
from transfer.engines.folding import fold_batch_norm
from transfer.metrics import cosines
from transfer.system.hardware import usable_cores

SIZES = {"cpu": ((64, 208),), "cuda": ((240, 800), (224, 224))}
BATCHES = {"cpu": (8,), "cuda": (128, 8, 32, 64, 256)}
# Batches that an engine is given at once: it copies one while it computes another.
AT_ONCE = 4
# Images whose features are compared with those of fp32.
CHECKED = 8
Call = Callable[[], Any]


@dataclass(frozen=True)
class Way:
    """A way to run the network."""

    name: str
    precision: str
    engine: str = ""
    """Ours; empty for a loop."""
    layout: torch.memory_format = torch.channels_last
    pure: bool = False
    """Weights and pixels in the precision, instead of autocast."""
    folded: bool = False
    """Batch norm folded into convolutions, as our engines do it."""
    compiled: str = ""
    """Mode of `torch.compile`."""
    graph: bool = False

    @property
    def needs_cuda(self) -> bool:
        """Whether there is none of it on a processor."""
        fast = self.precision in ("fp16", "tf32")
        return fast or self.graph or bool(self.compiled) or self.engine == "compile"


LOOP, EAGER = "loop of timm", "our eager engine"
# In every batch size, then in the largest usual one alone.
SWEPT = (
    Way(EAGER, "fp16", engine="eager"),
    Way(LOOP, "bf16"),
    Way("folded, pure, CUDA graph", "fp16", pure=True, folded=True, graph=True),
)
ONCE = (
    Way(EAGER, "fp32", engine="eager"),
    Way(EAGER, "bf16", engine="eager"),
    Way(LOOP, "fp32"),
    Way(LOOP, "tf32"),
    Way(LOOP, "fp16"),
    Way("loop of timm, pure", "fp16", pure=True),
    Way("folded, pure", "fp16", pure=True, folded=True),
    Way("loop, NCHW", "bf16", layout=torch.contiguous_format),
)
COMPILED = (
    Way("our compiled engine", "fp16", engine="compile"),
    Way("loop, compiled", "bf16", compiled="default"),
    Way("folded, pure, compiled", "fp16", pure=True, folded=True, compiled="reduce-overhead"),
)


def measure(part: Part) -> None:
    """Measure the ways at both sizes, what is usual first."""
    network = inputs.network()
    first, *others = BATCHES[part.device]
    for ways_, batches in (
        (SWEPT, (first,)),
        (ONCE, (first,)),
        (SWEPT, tuple(others)),
        (COMPILED, (first,)),
    ):
        for size in SIZES[part.device]:
            for batch in batches:
                x_NHW3 = inputs.pixels(part, size, batch)
                for way in ways_:
                    name = f"{way.name} {way.precision}, {batch} of {size[0]}x{size[1]}"
                    call = partial(timed, way, network, x_NHW3, part.device)
                    part.run(name, call, needs_cuda=way.needs_cuda)


def timed(way: Way, network: nn.Module, x_NHW3: Any, device: str) -> Iterable[Row]:
    """Yield the row of a way; its features' cosine with fp32 (not TF32) shows that it computes the same."""
    expected_ND = prepared(Way(LOOP, "fp32"), network, x_NHW3[:CHECKED], device)().cpu().numpy()
    call = prepared(way, network, x_NHW3, device)
    found = call()
    x_ND = found[0] if way.engine else found.cpu().numpy()
    yield {
        "operation": "forward",
        "way": way.name,
        "reference": way.name == LOOP,
        "precision": way.precision,
        "network": BUNDLED_BACKBONE,
        "batch": len(x_NHW3),
        "images": len(x_NHW3) * (AT_ONCE if way.engine else 1),
        "shape": list(x_NHW3.shape[1:3]),
        "cosine": float(cosines(x_ND[: len(expected_ND)], expected_ND).min()),
        **time_blocks(call, device),
    }


def prepared(way: Way, network: nn.Module, x_NHW3: Any, device: str) -> Call:
    """Make a way ready; the call returns features, of our engines in a list of batches."""
    x = torch.from_numpy(x_NHW3)
    if way.engine:
        plan = Plan(
            engine=way.engine,
            precision=way.precision,
            device=device,
            threads=usable_cores(),
            batch=len(x_NHW3),
        )
        engine = engines.build(network, plan, x_NHW3.shape[1:3])
        given = x.to(device) if device == "cuda" else x_NHW3
        return partial(ways.compute_batches, engine, [given] * AT_ONCE)
    body = fold_batch_norm(network) if way.folded else copy.deepcopy(network)
    body = body.to(device)
    body, x_N3HW = body.to(memory_format=way.layout), ways.normalise_images(x_NHW3).to(device)
    dtype = DTYPES.get(way.precision, torch.float32)
    if way.pure:
        body, x_N3HW = body.to(dtype), x_N3HW.to(dtype)
    x_N3HW = x_N3HW.to(memory_format=way.layout)
    if way.compiled:
        body = torch.compile(body, mode=way.compiled, dynamic=False)  # type: ignore[assignment]

    def call() -> torch.Tensor:
        with _flags(way, device):
            return pytorch_loop.features(body, x_N3HW, torch.float32 if way.pure else dtype, way.layout)

    return graphed(call) if way.graph else call


def _flags(way: Way, device: str) -> Any:
    """Switch TF32 on or off, and let cuDNN try algorithms in half precision only: in fp32 that takes seconds."""
    half = way.precision in ("bf16", "fp16")
    enabled = device == "cuda"
    return torch.backends.cudnn.flags(
        enabled=enabled, benchmark=half and enabled, allow_tf32=way.precision == "tf32"
    )


def graphed(call: Call) -> Call:
    """Capture a call in a CUDA graph, after a warm-up on another stream, and return a function that replays it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call()

    def replay() -> Any:
        graph.replay()
        return found

    return replay
