"""Formats that a saved model is exported to: how a file is written, and how it is run to check it.

N: images. H, W: height and width in pixels. C: classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transfer.system.hardware import usable_cores

INPUT = "images"
OUTPUTS = ("label", "probabilities")
METADATA = "metadata.json"

Answer = Callable[[npt.NDArray[np.uint8]], tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]
"""From pixels `(N, 3, H, W)` uint8 to labels `(N,)` and probabilities `(N, C)`."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format.

    Parameters
    ----------
    file : str
        Name of the file that is opened; others may lie beside it.
    packages : tuple of str
        Packages that writing and checking it takes.
    resizes : bool
        Whether it computes in float64, without which images would not be resized exactly as Pillow does it.
    write : callable
        Writes an exported program to a path, with metadata by name.
    read : callable
        Reads such a file and returns a function that runs it in fp32 on the processor.
    """

    file: str
    packages: tuple[str, ...] = ()
    resizes: bool = True
    write: Callable[[torch.export.ExportedProgram, Path, Mapping[str, str]], None]
    read: Callable[[Path], Answer]


def _write_onnx(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    made = torch.onnx.export(
        program, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS), verbose=False
    )
    assert made is not None
    made.model.metadata_props.update(metadata)
    made.save(path)


def _read_onnx(path: Path) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answer(x_N3HW: npt.NDArray[np.uint8]) -> Any:
        return tuple(session.run(list(OUTPUTS), {INPUT: x_N3HW}))

    return answer


def _write_openvino(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    from transfer.engines.openvino import import_openvino, no_arguments

    ov = import_openvino()
    with no_arguments():
        model = ov.convert_model(program)
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    for name, text in metadata.items():
        model.set_rt_info(text, ["transfer", name])
    ov.save_model(model, path, compress_to_fp16=False)


def _read_openvino(path: Path) -> Answer:
    from transfer.engines.openvino import import_openvino

    # Where a processor multiplies bf16, OpenVINO would take it unasked.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores()}
    compiled = import_openvino().Core().compile_model(path, "CPU", options)

    def answer(x_N3HW: npt.NDArray[np.uint8]) -> Any:
        found = compiled({INPUT: x_N3HW})
        return tuple(found[name].copy() for name in OUTPUTS)

    return answer


def _write_torch(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    torch.export.save(program, path, extra_files={METADATA: json.dumps(dict(metadata))})


def _read_torch(path: Path) -> Answer:
    module = torch.export.load(path).module()

    def answer(x_N3HW: npt.NDArray[np.uint8]) -> Any:
        with torch.inference_mode():
            return tuple(part.numpy() for part in module(torch.from_numpy(x_N3HW)))

    return answer


EXPORTERS = {
    "onnx": Format(
        file="model.onnx",
        packages=("onnx", "onnxscript", "onnxruntime"),
        write=_write_onnx,
        read=_read_onnx,
    ),
    "openvino": Format(
        file="model.xml", packages=("openvino",), resizes=False, write=_write_openvino, read=_read_openvino
    ),
    "torch": Format(file="model.pt2", write=_write_torch, read=_read_torch),
}
