"""Forward passes and files to features, by engine, precision, batch and device, against the usual ways.

Networks are converted and on their device before the clock starts, and files in the system's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import ways
from bench.conftest import Profile
from bench.references import BATCH
from transfer.config import UserError
from transfer.engines import CAN, Engine
from transfer.environment import has_bf16
from transfer.frozen import Frozen
from transfer.metrics import cosines

DECODE = pytest.mark.benchmark(group="decode, files to pixels")
FORWARD = pytest.mark.benchmark(group="forward, pixels to features")
FILES = pytest.mark.benchmark(group="extract, files to store")
# It takes 5 s a round on 2 cores, and is the last of its operation.
LAB = "lab's extractor"
REFERENCES = [
    pytest.param(name, precision, device, id=f"{name}-{device}")
    for name, precision, devices in (
        ("OpenVINO loop", "bf16" if has_bf16() else "fp32", ["cpu"]),
        ("autocast loop", "bf16", ["cpu", "cuda"]),
        (LAB, "fp32", ["cpu"]),
        (LAB, "tf32", ["cuda"]),  # torch's default for convolutions there
    )
    for device in devices
]
OURS = [
    pytest.param(engine, precision, device, id=f"{engine}-{precision}-{device}")
    for (engine, device), precisions in CAN.items()
    for precision in precisions
]
each_of_ours = pytest.mark.parametrize(("name", "precision", "device"), OURS)
each_reference = pytest.mark.parametrize(("name", "precision", "device"), REFERENCES)
DEAR_ROUNDS = 2


@pytest.fixture(scope="module")
def opened(
    profile: Profile,
    photographs: Callable[[str], Path],
    untrained: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Frozen]]:
    """An untrained network for the photographs that a device is timed with."""
    with ExitStack() as stack:

        @cache
        def for_device(device: str) -> Frozen:
            work = tmp_path_factory.mktemp("frozen")
            return stack.enter_context(ways.opened(photographs(device), work, profile.backbone, untrained))

        yield for_device


@pytest.fixture
def frozen(opened: Callable[[str], Frozen], device: str) -> Frozen:
    return opened(device)


@pytest.fixture(scope="module")
def plain(opened: Callable[[str], Frozen]) -> Callable[[str], Any]:
    """Features in plain fp32 on the processor, of the photographs that a device is timed with."""

    @cache
    def computed(device: str) -> Any:
        eager = ways.engine(opened(device), "eager", "fp32", "cpu")
        return np.concatenate(ways.through(eager, ways.pixels(opened(device))))

    return computed


@pytest.fixture
def agrees(benchmark: Any, plain: Callable[[str], Any], device: str) -> Callable[..., None]:
    """A function that keeps the least cosine with plain fp32 beside the times; `AssertionError` where it is low."""

    def check(x_ND: Any, precision: str, order: Any = slice(None)) -> None:
        cosine = float(cosines(x_ND, plain(device)[order]).min())
        benchmark.extra_info["cosine"] = cosine
        assert cosine > (0.9 if precision == "int8" else 0.99)

    return check


@pytest.fixture(scope="module")
def made(opened: Callable[[str], Frozen]) -> Callable[..., Engine]:
    """A function that makes one of ours, once for forward passes and for files."""

    @cache
    def make(name: str, precision: str, device: str, batch: int | None = None) -> Engine:
        return ways.engine(opened(device), name, precision, device, batch)

    return make


@pytest.fixture
def ours(
    profile: Profile, made: Callable[..., Engine], name: str, precision: str, device: str
) -> Callable[..., Engine]:
    if name == "compile" and not profile.long_setups:
        pytest.skip("compiling takes half a minute each; timed with --profile full")

    def make(batch: int | None = None) -> Engine:
        try:
            return made(name, precision, device, batch)
        except UserError as error:
            return pytest.skip(str(error))

    return make


@pytest.fixture(scope="module")
def usual(opened: Callable[[str], Frozen]) -> Callable[[str, str], ways.Forward]:
    """A function that makes a reference ready, once for forward passes and for files."""

    @cache
    def make(name: str, device: str) -> ways.Forward:
        if "OpenVINO" in name and not find_spec("openvino"):
            pytest.skip("openvino is not installed")
        return ways.references(opened(device), device)[f"reference: {name}"]()

    return make


@FORWARD
@pytest.mark.parametrize("batch", [None, 1, 32])
@each_of_ours
def bench_forward(
    timed: Callable[..., Any],
    profile: Profile,
    frozen: Frozen,
    agrees: Callable[..., None],
    ours: Callable[..., Engine],
    name: str,
    precision: str,
    batch: int | None,
) -> None:
    if batch and batch not in profile.batches:
        pytest.skip("other sizes of batch are timed with --profile full")
    engine = ours(batch)
    batches = ways.pixels(frozen, engine.plan.batch)
    rows = timed(
        lambda: ways.through(engine, batches),
        way=name,
        precision=precision,
        batch=engine.plan.batch,
        images=len(frozen.images),
        shape=list(ways.SIZE),
        network=frozen.name,
    )
    agrees(np.concatenate(rows), precision)


@FORWARD
@each_reference
def bench_reference_forward(
    timed: Callable[..., Any],
    profile: Profile,
    frozen: Frozen,
    agrees: Callable[..., None],
    usual: Callable[[str, str], ways.Forward],
    name: str,
    precision: str,
    device: str,
) -> None:
    if name == LAB and not profile.long_setups:
        pytest.skip("takes 5 s a round, nearly all of what it takes from files; timed with --profile full")
    forward = usual(name, device)
    batches = [ways.normalised(x_NHW3) for x_NHW3 in ways.pixels(frozen)]
    rows = timed(
        lambda: [forward(x_N3HW) for x_N3HW in batches],
        way=name,
        reference=True,
        precision=precision,
        batch=BATCH,
        images=len(frozen.images),
        shape=list(ways.SIZE),
        network=frozen.name,
        warm_up=lambda: forward(batches[0]),
        at_most=DEAR_ROUNDS if name == LAB else None,
    )
    agrees(np.concatenate(rows), precision)


@FILES
@each_of_ours
def bench_extract(
    timed: Callable[..., Any],
    frozen: Frozen,
    agrees: Callable[..., None],
    ours: Callable[..., Engine],
    name: str,
    precision: str,
) -> None:
    engine = ours()
    rows = timed(
        lambda: ways.to_store(frozen, engine),
        way=name,
        precision=precision,
        batch=engine.plan.batch,
        images=len(frozen.images),
        shape=list(ways.SIZE),
        network=frozen.name,
    )
    agrees(rows, precision)


@FILES
@each_reference
def bench_reference_files(
    timed: Callable[..., Any],
    frozen: Frozen,
    photographs: Callable[[str], Path],
    agrees: Callable[..., None],
    usual: Callable[[str, str], ways.Forward],
    name: str,
    precision: str,
    device: str,
) -> None:
    forward, folder = usual(name, device), photographs(device)
    batch = ways.normalised(ways.pixels(frozen)[0])
    rows = timed(
        lambda: ways.from_files(forward, folder),
        way=name,
        reference=True,
        precision=precision,
        batch=BATCH,
        images=len(frozen.images),
        shape=list(ways.SIZE),
        network=frozen.name,
        warm_up=lambda: forward(batch),
        at_most=DEAR_ROUNDS if name == LAB else None,
    )
    order = sorted(range(len(frozen.images)), key=lambda i: frozen.images[i].path.parts)
    agrees(np.concatenate(rows), precision, order)


@DECODE
@pytest.mark.parametrize(("decoder", "device"), [("pillow", "cpu"), ("nvjpeg", "cuda")])
def bench_decode(
    timed: Callable[..., Any], frozen: Frozen, agrees: Callable[..., None], decoder: str
) -> None:
    """What another decoder does to pixels is told by the features of what it decoded."""
    batches = timed(
        lambda: ways.pixels_on_device(frozen) if decoder == "nvjpeg" else ways.pixels(frozen),
        way=decoder,
        images=len(frozen.images),
        shape=list(ways.SIZE),
    )
    decoded = np.concatenate([torch.as_tensor(x_NHW3).cpu().numpy() for x_NHW3 in batches])
    assert np.abs(decoded - np.concatenate(ways.pixels(frozen)).astype(float)).mean() < 3
    eager = ways.engine(frozen, "eager", "fp32", "cpu")
    parts = np.split(decoded, range(BATCH, len(decoded), BATCH))
    agrees(np.concatenate(ways.through(eager, parts)), "fp32")
