"""How a backbone is executed: the engines, what each can do, and what a user's choice leaves of it.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transfer.backbones.networks import IMAGENET, Normalisation
from transfer.system.errors import UserError, check_choice, is_out_of_memory
from transfer.system.hardware import has_bf16, usable_cores
from transfer.system.text import first_line

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
Size = tuple[int, int]
Item = TypeVar("Item")

# What each engine can do on each device; the first is the plainest, which everything else is held against.
CAN = {
    ("eager", "cpu"): ("fp32", "bf16"),
    ("eager", "cuda"): ("fp32", "bf16", "fp16"),
    ("openvino", "cpu"): ("fp32", "bf16", "int8"),
    ("compile", "cpu"): ("fp32", "bf16"),
    ("compile", "cuda"): ("fp32", "bf16", "fp16"),
}
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
# Images in a forward pass. On a processor 8 fill the cores already, and more fall out of its caches.
BATCH = {"cpu": 8, "cuda": 128}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An engine, a precision, a device and what goes with them."""

    engine: str
    precision: str
    device: str
    threads: int
    batch: int


class EngineError(UserError):
    """An engine could not be built or run."""

    def __init__(self, plan: Plan, reason: str, remedy: str = "try --engine eager --precision fp32") -> None:
        super().__init__(f"{plan.engine} {plan.precision} fails here ({reason}); {remedy}")
        self.reason = reason
        """The first line of the engine's own error."""


class Engine(Protocol):
    """A backbone ready to run. Every batch is padded to the same number of images.

    Then an image's features do not depend on how many others were left over, and a run that was interrupted ends
    in the same bits as one that was not. (Its place within the batch may move the last bits in some networks, and
    so does a batch that was halved for want of memory.)
    """

    plan: Plan
    in_flight: int
    """Batches that may be submitted before the first of them is waited for."""

    def submit(self, x_NHW3: Pixels) -> Callable[[], Features]:
        """Take up pixels `(N, H, W, 3)` uint8, at most a batch; what is returned waits for features `(N, D)`."""
        ...


def _eager(
    network: nn.Module, plan: Plan, size: Size, calibrated: Path | None, normalisation: Normalisation
) -> Engine:
    from transfer.engines.eager import Eager

    return Eager(network, plan, normalisation)


def _compile(
    network: nn.Module, plan: Plan, size: Size, calibrated: Path | None, normalisation: Normalisation
) -> Engine:
    from transfer.engines.inductor import Compiled

    return Compiled(network, plan, normalisation)


def _openvino(
    network: nn.Module, plan: Plan, size: Size, calibrated: Path | None, normalisation: Normalisation
) -> Engine:
    from transfer.engines import openvino

    model = openvino.load(calibrated) if calibrated else openvino.convert(network, size, normalisation)
    return openvino.OpenVINO(model, plan)


ENGINES = {"eager": _eager, "openvino": _openvino, "compile": _compile}
VERSIONS: dict[str, Callable[[], str]] = {
    "eager": lambda: "batch norm folded",
    "openvino": lambda: f"openvino {_installed('openvino')}",
    "compile": lambda: "inductor",
}


def build(
    network: nn.Module,
    plan: Plan,
    size: Size,
    calibrated: Path | None = None,
    normalisation: Normalisation = IMAGENET,
) -> Engine:
    """The engine of `plan` for images of `size` (H, W); int8 runs the `calibrated` model in place of `network`.

    Raises `EngineError`.
    """
    with _engine_errors(plan):
        return ENGINES[plan.engine](network, plan, size, calibrated, normalisation)


def submit(engine: Engine, x_NHW3: Pixels) -> Callable[[], Features]:
    """What `engine.submit` does; it and what it returns raise `EngineError`."""
    with _engine_errors(engine.plan):
        wait = engine.submit(x_NHW3)

    def features() -> Features:
        with _engine_errors(engine.plan):
            return wait()

    return features


@contextmanager
def _engine_errors(plan: Plan) -> Iterator[None]:
    """Compilers, converters and devices fail in every way; nothing but their own code runs in the block."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise EngineError(plan, "out of memory", "free memory, or use a smaller input size") from error
        raise EngineError(plan, first_line(error)) from error


def run(
    engine: Engine, batches: Iterable[tuple[Item, Pixels]], take: Callable[[Item, Features], None]
) -> None:
    """Every batch through the engine, as many at once as it takes; `take` gets the features of each, in order.

    Where `batches` raises an error, what was under way before it is taken first. Raises `EngineError` for errors of
    the engine; those of `batches` and `take` are passed on as they are.
    """
    waiting: deque[tuple[Item, Callable[[], Features]]] = deque()

    def finish() -> None:
        item, wait = waiting.popleft()
        take(item, wait())

    try:
        for item, x_NHW3 in batches:
            if len(waiting) == engine.in_flight:
                finish()
            waiting.append((item, submit(engine, x_NHW3)))
    finally:
        while waiting:
            finish()


def options(engine: str, precision: str, device: str) -> tuple[Plan, ...]:
    """Every plan that a user's choice leaves open here; `UserError` where it leaves none.

    `auto` leaves the precisions open that the hardware multiplies fast, and never int8, whose error is of
    another size.
    """
    check_choice("--engine", engine, ("auto", *ENGINES))
    check_choice("--precision", precision, ("auto", *PRECISIONS))
    device = pick_device(device)
    engines = [name for name in ENGINES if (name, device) in CAN and engine in ("auto", name)]
    if not engines:
        raise UserError(f"--engine {engine} runs on processors only; use --device cpu")
    engines = [name for name in engines if name != "openvino" or _has_openvino(engine, precision)]
    precisions = _fast_precisions(device) if precision == "auto" else (precision,)
    found = tuple(
        Plan(engine=name, precision=p, device=device, threads=usable_cores(), batch=BATCH[device])
        for p in precisions
        for name in engines
        if p in CAN[name, device]
    )
    if not found:
        raise UserError(_impossible(engine, precision, device))
    return found


def version(engine: str) -> str:
    """What of an engine, other than the version of torch, its features may depend on."""
    return VERSIONS[engine]()


def _installed(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def pick_device(device: str) -> str:
    """`auto` to `cuda` where there is one, else `cpu`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch sees no CUDA device here; use --device cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def multiplies_bf16(device: str) -> bool:
    """Whether a device, `cpu` or `cuda`, multiplies bf16 in hardware; where it is emulated it is slower than fp32."""
    return torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else has_bf16()


def _fast_precisions(device: str) -> tuple[str, ...]:
    if multiplies_bf16(device):
        return ("fp32", "bf16")
    # GPUs of before 2020 have tensor cores for fp16 alone.
    return ("fp32", "fp16") if device == "cuda" else ("fp32",)


def _has_openvino(engine: str, precision: str) -> bool:
    """Whether it is installed, with NNCF where int8 is asked for; `UserError` where the user named either."""
    wanted = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    missing = [package for package in wanted if not _installed(package)]
    if missing and (engine == "openvino" or precision == "int8"):
        what = "--precision int8" if precision == "int8" else "--engine openvino"
        raise UserError(f"{what} needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    return not missing


def _impossible(engine: str, precision: str, device: str) -> str:
    if precision == "fp16" and device == "cpu":
        return "--precision is fp16, which processors only emulate; choose bf16 or fp32, or a GPU"
    if precision == "int8" and device == "cuda":
        return "--precision int8 runs on processors only; choose fp16 or bf16, or --device cpu"
    possible = ", ".join(CAN[engine, device])
    return f"--engine {engine} can't do --precision {precision} on {device}; it can do {possible}"
