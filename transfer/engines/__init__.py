"""How a backbone is executed: what an engine is, which there are, and batches run through one.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from transfer.backbones.preprocessing import IMAGENET, Normalisation
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.text import first_line

if TYPE_CHECKING:
    from torch import nn

Pixels = npt.NDArray[np.uint8]
FeatureRows = npt.NDArray[np.float32]
Size = tuple[int, int]
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An engine, a precision, a device, and the threads and batch size that go with them."""

    engine: str
    precision: str
    device: str
    threads: int
    batch: int


class EngineError(UserError):
    """An engine could not be built or run."""

    def __init__(
        self, plan: Plan, reason: str, remedy: str = "try `engine='eager', precision='fp32'`"
    ) -> None:
        super().__init__(f"{plan.engine} {plan.precision} fails here ({reason}); {remedy}")
        self.reason = reason
        """The first line of the engine's own error."""
        self._given = plan, reason, remedy

    def __reduce__(self) -> tuple[type[EngineError], tuple[Plan, str, str]]:
        """Pickle what it is made from: a worker's errors reach the process that asked it."""
        return EngineError, self._given


class Engine(Protocol):
    """A backbone ready to run. Every batch is padded to the same number of images.

    Then an image's features do not depend on how many others were left over, and a run that was interrupted ends
    in the same bits as one that was not. (Its place within the batch may move the last bits in some networks, and
    so does a batch that was halved for want of memory.)
    """

    plan: Plan
    in_flight: int
    """Batches that may be submitted before the first of them is waited for."""

    def submit(self, x_NHW3: Pixels) -> Callable[[], FeatureRows]:
        """Start on pixels `(N, H, W, 3)` uint8, at most a batch; the returned function waits for features `(N, D)`."""
        ...


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """What is known of an engine before its module is imported.

    The module has a function `build(network, plan, size, calibrated, normalisation)`, which returns an `Engine`.
    """

    module: str
    """Name of its module in `transfer.engines`."""
    precisions: dict[str, tuple[str, ...]]
    """What it can compute in, by device."""
    packages: tuple[str, ...] = ()
    """Packages that it needs; their versions are part of the key of features."""
    variant: str = ""
    """What else than the versions of torch and of its packages its features depend on."""
    usual_gain: float
    """How many times as fast as eager PyTorch it usually is, in the same precision."""
    usual_setup_s: float
    """Seconds that it usually takes until it is ready."""
    is_lazy: bool = False
    """Whether it is ready only once it has had a batch."""


# The first is the plainest, which all others are compared with. Gains and seconds were measured on one processor; they
# only decide which engines are worth a trial.
ENGINES = {
    "eager": EngineSpec(
        module="eager",
        precisions={"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")},
        variant="batch norm folded",
        usual_gain=1.0,
        usual_setup_s=1.0,
    ),
    "openvino": EngineSpec(
        module="openvino",
        precisions={"cpu": ("fp32", "bf16", "int8")},
        packages=("openvino",),
        usual_gain=1.7,
        usual_setup_s=3.0,
    ),
    "compile": EngineSpec(
        module="inductor",
        precisions={"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")},
        variant="inductor",
        usual_gain=1.5,
        usual_setup_s=24.0,
        is_lazy=True,
    ),
}


def build(
    network: nn.Module,
    plan: Plan,
    size: Size,
    calibrated: Path | None = None,
    normalisation: Normalisation = IMAGENET,
) -> Engine:
    """Build an engine.

    Parameters
    ----------
    network : nn.Module
        Frozen, in eval mode, on the processor; it is not changed.
    plan : Plan
    size : (int, int)
        Height and width of the images in pixels.
    calibrated : Path, optional
        File of the calibrated model that int8 runs in place of `network`.
    normalisation : Normalisation
        That the weights were trained with.

    Returns
    -------
    Engine

    Raises
    ------
    EngineError
        For whatever its library raises.
    """
    with _engine_errors(plan):
        module = import_module(f"{__name__}.{ENGINES[plan.engine].module}")
        engine: Engine = module.build(network, plan, size, calibrated, normalisation)
        return engine


def submit(engine: Engine, x_NHW3: Pixels) -> Callable[[], FeatureRows]:
    """Submit a batch; this call and the function that it returns raise `EngineError` for errors of the engine."""
    with _engine_errors(engine.plan):
        wait = engine.submit(x_NHW3)

    def features() -> FeatureRows:
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
    engine: Engine, batches: Iterable[tuple[Item, Pixels]], take: Callable[[Item, FeatureRows], None]
) -> None:
    """Run batches through an engine, as many at once as it takes.

    Parameters
    ----------
    engine : Engine
    batches : iterable of (item, pixels)
        Pixels are `(N, H, W, 3)` uint8. Where it raises an error, what was under way before is taken first.
    take : callable
        Called with each item and the features `(N, D)` of its pixels, in order.

    Raises
    ------
    EngineError
        For errors of the engine; those of `batches` and `take` are passed on as they are.
    """
    waiting: deque[tuple[Item, Callable[[], FeatureRows]]] = deque()

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
