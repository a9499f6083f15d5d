"""OpenVINO: converted straight from the torch module, in fp32, bf16, or int8 once calibrated.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import nn

from transfer.backbones.pixels import FromPixels
from transfer.backbones.preprocessing import IMAGENET, Normalisation
from transfer.engines import FeatureRows, Pixels, Plan, Size

# Images traced while converting; not 1, for which tracing may take a dimension for a constant.
TRACED = 2
# The arguments of the process are those of all its threads.
_one_at_a_time = threading.Lock()


def build(
    network: nn.Module, plan: Plan, size: Size, calibrated: Path | None, normalisation: Normalisation
) -> OpenVINO:
    """Build the engine; its arguments are those of `transfer.engines.build`."""
    return OpenVINO(load(calibrated) if calibrated else convert(network, size, normalisation), plan)


class OpenVINO:
    """A converted network on the processor: as many streams as OpenVINO deems best, each a batch at a time.

    Batches of one image go through one stream over all cores.
    """

    def __init__(self, model: Any, plan: Plan) -> None:
        """Take an `openvino.Model` of any batch size."""
        self.plan = plan
        shape = model.input().get_partial_shape()
        model.reshape([plan.batch, *(shape[i].get_length() for i in (1, 2, 3))])
        core = import_openvino().Core()
        # On processors that multiply bf16 OpenVINO would take it unasked; on others it would not, though asked.
        precision = "bf16" if plan.precision == "bf16" else "f32"
        options = {
            # Several streams of few cores each: one stream over all cores waits at every layer for the slowest,
            # which may be decoding an image. A batch of one is waited for: all cores work on it.
            "PERFORMANCE_HINT": "LATENCY" if plan.batch == 1 else "THROUGHPUT",
            "INFERENCE_NUM_THREADS": plan.threads,
            # Two runs in a container of few cores would pin themselves to the same ones.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": precision,
        }
        compiled = core.compile_model(model, "CPU", options)
        taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if taken != precision:
            raise RuntimeError(f"OpenVINO computes in {taken} here where {precision} was asked for")
        self.in_flight = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free = [compiled.create_infer_request() for _ in range(self.in_flight)]

    def submit(self, x_NHW3: Pixels) -> Callable[[], FeatureRows]:
        """Start on pixels, as `Engine.submit` does."""
        count = len(x_NHW3)
        padded = x_NHW3
        if count < self.plan.batch:
            padded = np.zeros((self.plan.batch, *x_NHW3.shape[1:]), np.uint8)
            padded[:count] = x_NHW3
        request = self._free.pop()
        request.start_async({0: padded}, share_inputs=True)
        return partial(self._finish, request, padded, count)

    def _finish(self, request: Any, padded: Pixels, count: int) -> FeatureRows:
        # `padded` is held until here: the request reads it where it lies.
        try:
            request.wait()
            x_ND: FeatureRows = request.get_output_tensor().data[:count].copy()
        finally:  # interrupted, the engine is still there for a next call
            self._free.append(request)
        return x_ND


def convert(network: nn.Module, size: Size, normalisation: Normalisation = IMAGENET) -> Any:
    """Convert a network and what its images go through first.

    Parameters
    ----------
    network : nn.Module
    size : (int, int)
        Height and width of the images in pixels.
    normalisation : Normalisation

    Returns
    -------
    openvino.Model
        From pixels `(N, H, W, 3)` uint8 to features `(N, D)`.
    """
    ov = import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros((TRACED, *size, 3), dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing warns of every shape a network asks for; here shapes are constant.
        warnings.simplefilter("ignore")
        # PyTorch would check what it traced by four more forward passes, which take most of the conversion.
        traced = TorchScriptPythonDecoder(
            FromPixels(network, normalisation).eval(),
            example_input=example,
            trace_kwargs={"check_trace": False},
        )
        with no_arguments():
            return ov.convert_model(traced, input=[ov.PartialShape([-1, *size, 3])])


def calibrate(model: Any, batches: Iterable[Pixels]) -> bytes:
    """Quantise a model to int8.

    Weights are quantised by channel, activations by the ranges they take on images, with NNCF's correction of biases:
    https://docs.openvino.ai/2025/openvino-workflow/model-optimization.html.

    Parameters
    ----------
    model : openvino.Model
    batches : iterable of ndarray of shape (N, H, W, 3), uint8

    Returns
    -------
    bytes
        A safetensors file, which `load` reads.
    """
    import_openvino()
    with _silence():
        import nncf

        data = [x_HW3[None] for x_NHW3 in batches for x_HW3 in x_NHW3]
        shape = model.input().get_partial_shape()
        model.reshape([1, *(shape[i].get_length() for i in (1, 2, 3))])
        quantised = nncf.quantize(
            model, nncf.Dataset(data), subset_size=len(data), preset=nncf.QuantizationPreset.MIXED
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        import_openvino().save_model(quantised, path, compress_to_fp16=False)
        parts = {part: np.fromfile(path.with_suffix(f".{part}"), np.uint8) for part in ("xml", "bin")}
    return save(parts)


def load(path: Path) -> Any:
    """Load the `openvino.Model` from a file of what `calibrate` returned."""
    parts = load_file(path)
    return import_openvino().Core().read_model(parts["xml"].tobytes(), parts["bin"].tobytes())


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry."""
    # OpenVINO and NNCF report their use over the network unless their telemetry can't be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@contextlib.contextmanager
def no_arguments() -> Iterator[None]:
    """Hide the arguments of the process: OpenVINO takes `--verbose` there as its own, and prints on standard output."""
    with _one_at_a_time:
        before = sys.argv
        sys.argv = before[:1]
        try:
            yield
        finally:
            sys.argv = before


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep standard output for the user: NNCF draws progress bars there, and logs each step."""
    os.environ.setdefault("NNCF_CI", "1")  # its own switch for its telemetry
    with contextlib.redirect_stdout(io.StringIO()):
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
