"""Forward passes and files to features, by engine, precision, batch and device, against the usual ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import ways
from bench.conftest import Profile
from transfer.config import DECODERS, UserError
from transfer.engines import CAN, Engine
from transfer.frozen import Frozen
from transfer.scores import cosines

DECODE = "decode, files to pixels"
FORWARD, FILES = "forward, pixels to features", "extract, files to store"
REFERENCES = ["lab's extractor", "autocast loop", "OpenVINO loop"]
OURS = [
    pytest.param(engine, precision, device, id=f"{engine}-{precision}-{device}")
    for (engine, device), precisions in CAN.items()
    for precision in precisions
]
each_of_ours = pytest.mark.parametrize(("name", "precision", "device"), OURS)


@pytest.fixture(scope="module")
def frozen(profile: Profile, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frozen]:
    with ways.opened(photographs, tmp_path_factory.mktemp("frozen"), profile.backbone) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(frozen: Frozen) -> Any:
    """Features in plain fp32."""
    return np.concatenate(ways.through(ways.engine(frozen, "eager", "fp32", "cpu"), ways.pixels(frozen)))


@pytest.fixture
def ours(profile: Profile, frozen: Frozen, name: str, precision: str, device: str) -> Callable[..., Engine]:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if name == "compile" and not profile.compile:
        pytest.skip("compiling takes half a minute each; timed with --profile full")

    def make(batch: int | None = None) -> Engine:
        try:
            return ways.engine(frozen, name, precision, device, batch)
        except UserError as error:
            return pytest.skip(str(error))

    return make


@pytest.mark.parametrize("batch", [None, 1, 32])
@each_of_ours
def bench_forward(
    timed: Callable[..., Any],
    profile: Profile,
    frozen: Frozen,
    expected: Any,
    ours: Callable[..., Engine],
    name: str,
    precision: str,
    device: str,
    batch: int | None,
) -> None:
    if batch and batch not in profile.batches:
        pytest.skip("other sizes of batch are timed with --profile full")
    engine = ours(batch)
    batches = ways.pixels(frozen, engine.plan.batch)
    rows = timed(
        lambda: ways.through(engine, batches),
        operation=FORWARD,
        way=f"transfer {name} {precision} {device}" + (f", batch {batch}" if batch else ""),
        images=profile.images,
    )
    assert cosines(np.concatenate(rows), expected).min() > (0.9 if precision == "int8" else 0.99)


@each_of_ours
def bench_extract(
    timed: Callable[..., Any],
    profile: Profile,
    frozen: Frozen,
    expected: Any,
    ours: Callable[..., Engine],
    name: str,
    precision: str,
    device: str,
) -> None:
    engine = ours()
    rows = timed(
        lambda: ways.to_store(frozen, engine),
        operation=FILES,
        way=f"transfer {name} {precision} {device}",
        images=profile.images,
    )
    assert cosines(rows, expected).min() > (0.9 if precision == "int8" else 0.99)


@pytest.mark.parametrize("decoder", DECODERS)
def bench_decode(timed: Callable[..., Any], profile: Profile, frozen: Frozen, decoder: str) -> None:
    if decoder == "nvjpeg" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batches = timed(
        lambda: ways.pixels_on_device(frozen) if decoder == "nvjpeg" else ways.pixels(frozen),
        operation=DECODE,
        way=f"transfer {decoder}",
        images=profile.images,
    )
    decoded = np.concatenate([torch.as_tensor(x_NHW3).cpu().numpy() for x_NHW3 in batches])
    assert np.abs(decoded - np.concatenate(ways.pixels(frozen)).astype(float)).mean() < 3


@pytest.mark.parametrize("name", REFERENCES)
def bench_reference_forward(
    timed: Callable[..., Any], profile: Profile, frozen: Frozen, expected: Any, name: str
) -> None:
    forward = reference(frozen, name)
    batches = [ways.normalised(x_NHW3) for x_NHW3 in ways.pixels(frozen)]
    rows = timed(
        lambda: [forward(x_N3HW) for x_N3HW in batches],
        operation=FORWARD,
        way=f"reference: {name}",
        images=profile.images,
    )
    assert cosines(np.concatenate(rows), expected).min() > 0.99


@pytest.mark.parametrize("name", REFERENCES)
def bench_reference_files(
    timed: Callable[..., Any], profile: Profile, frozen: Frozen, photographs: Path, name: str
) -> None:
    forward = reference(frozen, name)
    rows = timed(
        lambda: ways.from_files(forward, photographs),
        operation=FILES,
        way=f"reference: {name}",
        images=profile.images,
    )
    assert np.isfinite(np.concatenate(rows)).all()


def reference(frozen: Frozen, name: str) -> ways.Forward:
    if "OpenVINO" in name and not find_spec("openvino"):
        pytest.skip("openvino is not installed")
    return ways.references(frozen)[f"reference: {name}"]()
