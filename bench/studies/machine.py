"""Rates of the machine itself: matrix products, convolutions, memory, decoding; made ready, then measured at will."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench import ways
from bench.studies import convolutions
from transfer.data import decode
from transfer.engines.options import BATCH, multiplies_bf16
from transfer.system import hardware
from transfer.system.matmul import largest_rate, measure_matmul
from transfer.system.timer import now

# A call is repeated until so much time has passed.
TIMED_S = 0.05
COPIED_BYTES = {"cpu": 2**28, "cuda": 2**31}
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
FLOPS, BYTES, IMAGES = "FLOP/s", "byte/s", "images/s"
# A measurement: a call, and the amount that it does.
Work = tuple[Callable[[], Any], float]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Something that is measured in every round."""

    operation: str
    what: str
    way: str
    unit: str
    prepare: Callable[[], Callable[[], float]]
    """Makes it ready; the function returned measures once, in `unit`."""
    precision: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return what it is, for a record."""
        names = ("operation", "what", "way", "precision", "unit")
        return {name: getattr(self, name) for name in names} | dict(self.facts)


def precisions(device: str) -> tuple[str, ...]:
    """Return the precisions that are measured on a device: those that it multiplies in hardware."""
    half = ("bf16",) if multiplies_bf16(device) else ()
    return ("fp32", "tf32", *half, "fp16", "int8") if device == "cuda" else ("fp32", *half, "int8")


def products(device: str, wanted: Sequence[str]) -> Iterator[Limit]:
    """Yield matrix products by PyTorch in the precisions that are wanted."""
    for precision in wanted:
        yield Limit(
            operation="product",
            what="square matrices",
            way="PyTorch",
            unit=FLOPS,
            precision=precision,
            prepare=lambda precision=precision: partial(_product, device, precision),  # type: ignore[misc]
        )


def _product(device: str, precision: str) -> float:
    if precision == "int8":

        def prepare(size: int) -> Callable[[], object]:
            a, b = (torch.randint(-128, 128, (size, size), dtype=torch.int8, device=device) for _ in range(2))
            return lambda: torch._int_mm(a, b)

        return largest_rate(prepare, device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        found = measure_matmul(device, "fp32" if precision == "tf32" else precision)
    finally:
        torch.set_float32_matmul_precision(before)
    assert found is not None
    return found


def layers(device: str, wanted: Sequence[str], kinds: Sequence[convolutions.Layers]) -> Iterator[Limit]:
    """Yield convolutions by PyTorch, on a processor also by OpenVINO where it is installed."""
    batch = BATCH[device]
    for precision in wanted:
        for kind in kinds:
            made: dict[str, Callable[[], Work]] = {}
            if precision != "int8":
                made["PyTorch"] = partial(convolutions.by_pytorch, kind, device, precision, batch)
            if device == "cpu" and find_spec("openvino") and (precision != "int8" or find_spec("nncf")):
                made["OpenVINO"] = partial(convolutions.by_openvino, kind, precision, batch)
            for way, make in made.items():
                yield Limit(
                    operation="convolution",
                    what=str(kind),
                    way=way,
                    unit=FLOPS,
                    precision=precision,
                    prepare=partial(timed, make, device),
                )


def memory(device: str) -> Iterator[Limit]:
    """Yield copying (bytes read and written) and reading memory, and on CUDA copying to and from the device."""
    count = COPIED_BYTES[device] // 4

    def copy() -> Work:
        a, b = (torch.ones(count, device=device) for _ in range(2))
        return lambda: b.copy_(a), 8 * count

    def read() -> Work:
        a = torch.ones(count, device=device)
        return a.sum, 4 * count

    def move(to: str) -> Work:
        a = torch.ones(count // 8, pin_memory=True)
        b = torch.ones(count // 8, device=device)
        return (lambda: b.copy_(a)) if to == "device" else (lambda: a.copy_(b)), 4 * (count // 8)

    works: dict[str, Callable[[], Work]] = {"copy": copy, "read": read}
    if device == "cuda":
        works |= {"to the device": partial(move, "device"), "from the device": partial(move, "host")}
    for what, make in works.items():
        yield Limit(
            operation="memory", what=what, way="PyTorch", unit=BYTES, prepare=partial(timed, make, device)
        )


def decoding(folder: Path) -> Iterator[Limit]:
    """Yield decoding the photographs of a folder in one thread and in one a core."""

    def decode_all(threads: int) -> Work:
        files = [path.read_bytes() for path in sorted(folder.glob("*/*.jpg"))]
        pool = ThreadPoolExecutor(threads)
        one = partial(decode.pixels, size=ways.SIZE)
        return lambda: list(pool.map(one, files)), len(files)

    for threads in sorted({1, hardware.usable_cores()}):
        yield Limit(
            operation="decode",
            what=f"JPEG of 240x800, {threads} threads",
            way="Pillow",
            unit=IMAGES,
            prepare=partial(timed, partial(decode_all, threads), "cpu"),
        )


def timed(make: Callable[[], Work], device: str) -> Callable[[], float]:
    """Make work ready, do it twice, and return a function that measures its rate."""
    call, amount = make()
    call()
    start = now(device)
    call()
    calls = max(1, math.ceil(TIMED_S / (now(device) - start)))

    def rate() -> float:
        start = now(device)
        for _ in range(calls):
            call()
        return amount * calls / (now(device) - start)

    return rate
