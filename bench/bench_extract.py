"""Forward passes and files to features, by engine, precision, batch and device, against the usual ways.

Networks are converted and on their device before the clock starts, and files are in the system's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench import grids, references, ways
from bench.operation import Operation, each_device
from bench.profiles import Profile
from bench.references import BATCH, adam_loop, pytorch_loop, uncached_loop
from transfer.backbones import networks, weights
from transfer.engines import ENGINES, Engine
from transfer.features.extractor import FeatureExtractor
from transfer.metrics import cosines
from transfer.system.errors import UserError
from transfer.system.hardware import has_bf16

LAB_ROUNDS = 1  # it takes 10 s a round on 2 cores, three times as long as any other way
NVJPEG_ERROR = 6  # of 255, the mean over pixels: what nvJPEG and Pillow differ by, tests/data/test_nvjpeg.py
Check = Callable[..., dict[str, float]]


@pytest.fixture
def extractor(opened: Callable[[str], FeatureExtractor], device: str) -> FeatureExtractor:
    """Return the network and the photographs that a device is timed with."""
    return opened(device)


@pytest.fixture(scope="module")
def plain(opened: Callable[[str], FeatureExtractor]) -> Callable[[str], Any]:
    """Return a function that computes features of a device's photographs in plain fp32 on the processor."""

    @cache
    def computed(device: str) -> Any:
        eager = ways.engine(opened(device), "eager", "fp32", "cpu")
        return np.concatenate(ways.compute_batches(eager, ways.pixels(opened(device))))

    return computed


@pytest.fixture
def agrees(plain: Callable[[str], Any], device: str) -> Check:
    """Return a function that gives the smallest cosine of features with plain fp32, and fails if it is low."""

    def check(x_ND: Any, *, least: float, order: Any = slice(None)) -> dict[str, float]:
        cosine = float(cosines(x_ND, plain(device)[order]).min())
        assert cosine > least
        return {"cosine": cosine}

    return check


@pytest.fixture(scope="module")
def make_engine(
    profile: Profile, opened: Callable[[str], FeatureExtractor]
) -> Iterator[Callable[..., Engine]]:
    """Return a function that makes an engine, once for forward passes and files; skips what is not timed here."""

    @cache
    def make(name: str, precision: str, device: str, batch: int | None = None) -> Engine:
        if name == "compile" and not profile.long_setups:
            pytest.skip("compiling takes half a minute each; timed with --profile full")
        if precision == "bf16" and device == "cpu" and not (has_bf16() or profile.emulated):
            pytest.skip("this processor only emulates bf16; timed with --profile full")
        try:
            return ways.engine(opened(device), name, precision, device, batch)
        except UserError as error:
            return pytest.skip(str(error))

    yield make
    make.cache_clear()


@pytest.fixture(scope="module")
def make_reference(opened: Callable[[str], FeatureExtractor]) -> Iterator[Callable[[str, str], ways.Forward]]:
    """Return a function that makes a reference ready, once for forward passes and files."""
    make = cache(lambda name, device: ways.references(opened(device), device)[name]())
    yield make
    make.cache_clear()


@pytest.mark.benchmark(group="decode, files to pixels")
@each_device
def bench_decode(operation: Operation, extractor: FeatureExtractor, agrees: Check, device: str) -> None:
    """Time decoders; features of the decoded pixels show what another decoder changes."""

    def check(batches: list[Any]) -> dict[str, float]:
        decoded = np.concatenate([torch.as_tensor(x_NHW3).cpu().numpy() for x_NHW3 in batches])
        expected = np.stack([np.asarray(Image.open(image.path).convert("RGB")) for image in extractor.images])
        assert np.abs(decoded.astype(float) - expected).mean() <= (NVJPEG_ERROR if device == "cuda" else 0)
        if device == "cpu":
            return {"cosine": 1.0}  # equal pixels have equal features
        eager = ways.engine(extractor, "eager", "fp32", "cpu")
        parts = np.split(decoded, range(BATCH, len(decoded), BATCH))
        return agrees(np.concatenate(ways.compute_batches(eager, parts)), least=0.99)

    operation.add(
        "nvjpeg" if device == "cuda" else "pillow",
        lambda: ways.pixels_on_device(extractor) if device == "cuda" else ways.pixels(extractor),
        check,
        images=len(extractor.images),
        shape=list(ways.SIZE),
    )
    operation.time()


@pytest.mark.benchmark(group="forward, pixels to features")
@each_device
def bench_forward(
    operation: Operation,
    subtests: pytest.Subtests,
    profile: Profile,
    extractor: FeatureExtractor,
    agrees: Check,
    make_engine: Callable[..., Engine],
    make_reference: Callable[[str, str], ways.Forward],
    device: str,
) -> None:
    """Time forward passes of engines and references."""
    if device == "cpu" and not profile.long_setups:
        pytest.skip("nearly all that a processor takes from files to store; timed with --profile full")
    work = _work(extractor, profile)
    for name, precision in _ours(device):
        for batch in (None, *profile.batches):
            with subtests.test(f"{name} {precision}", batch=batch):
                engine = make_engine(name, precision, device, batch)
                batches = ways.pixels(extractor, engine.plan.batch)
                operation.add(
                    name,
                    partial(ways.compute_batches, engine, batches),
                    _checked(agrees, precision),
                    precision=precision,
                    batch=engine.plan.batch,
                    warm_up=partial(ways.compute_batches, engine, batches[:1]),
                    **work,
                )
    tensors = [ways.normalise_images(x_NHW3) for x_NHW3 in ways.pixels(extractor)]
    for name in ways.references(extractor, device):
        with subtests.test(name):
            if name == ways.LAB and not profile.long_setups:
                pytest.skip("takes seconds, nearly all that it takes from files; timed with --profile full")
            forward, described = make_reference(name, device), _described(name, device)
            operation.add(
                name,
                partial(ways.each, forward, tensors),
                _checked(agrees, described["precision"]),
                warm_up=partial(forward, tensors[0]),
                **work | described,
            )
    operation.time()


@pytest.mark.benchmark(group="extract, files to store")
@each_device
def bench_extract(
    operation: Operation,
    subtests: pytest.Subtests,
    profile: Profile,
    extractor: FeatureExtractor,
    photographs: Callable[[str], Path],
    agrees: Check,
    make_engine: Callable[..., Engine],
    make_reference: Callable[[str, str], ways.Forward],
    device: str,
) -> None:
    """Time the way from files to the store, or to features in memory for the references."""
    work, some = _work(extractor, profile), ways.pixels(extractor)[:1]
    for name, precision in _ours(device):
        with subtests.test(f"{name} {precision}"):
            engine = make_engine(name, precision, device)
            operation.add(
                name,
                partial(ways.to_store, extractor, engine),
                _checked(agrees, precision),
                precision=precision,
                batch=engine.plan.batch,
                warm_up=partial(ways.compute_batches, engine, some),
                **work,
            )
    order = sorted(range(len(extractor.images)), key=lambda i: extractor.images[i].path.parts)
    for name in ways.references(extractor, device):
        with subtests.test(name):
            forward, described = make_reference(name, device), _described(name, device)
            operation.add(
                name,
                partial(ways.from_files, forward, photographs(device)),
                _checked(agrees, described["precision"], order),
                warm_up=partial(forward, ways.normalise_images(some[0])),
                **work | described,
            )
    operation.time()


@pytest.mark.benchmark(group="train, files to last layer, 4 rates, 10 epochs")
@each_device
def bench_train_from_files(
    operation: Operation,
    profile: Profile,
    extractor: FeatureExtractor,
    photographs: Callable[[str], Path],
    untrained: Path,
    agrees: Check,
    make_engine: Callable[..., Engine],
    device: str,
) -> None:
    """Time the way from the same files to the same four layers, trained for ten epochs.

    Ours runs the network once and then the method `fc-lab`, all of it timed. The tutorial's loop runs the network in
    every epoch of every rate; one epoch is timed and counted 40 times.
    """
    plan = ways.usual_plan(device)
    engine, work = make_engine(plan.engine, plan.precision, device), _work(extractor, profile)
    folders = sorted(path.name for path in photographs(device).iterdir())
    y_N = np.array([folders.index(image.path.parent.name) for image in extractor.images])

    def extract_and_train() -> tuple[Any, Any]:
        x_ND = ways.to_store(extractor, engine)
        return x_ND, grids.search("fc-lab", device).fit(x_ND, y_N, x_ND, y_N)

    operation.add(
        "network once, then fc-lab",
        extract_and_train,
        lambda answer: agrees(answer[0], least=ways.least_cosine(plan.precision)),
        precision=plan.precision,
        warm_up=lambda: ways.compute_batches(engine, ways.pixels(extractor)[:1]),
        **work,
    )
    body = pytorch_loop.prepare(networks.build(profile.backbone, weights.load(untrained))).to(device)
    loader = references.loader(photographs(device), ways.SIZE)

    def on_device() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return ((x_N3HW.to(device), y_N.to(device)) for x_N3HW, y_N in loader)

    width = pytorch_loop.features(body, next(on_device())[0]).shape[1]  # warms it up too

    def one_epoch() -> nn.Linear:
        layer = nn.Linear(width, len(folders)).to(device)
        adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
        uncached_loop.epoch(partial(pytorch_loop.features, body), layer, adam, on_device())
        return layer

    def check(layer: nn.Linear) -> dict[str, float]:
        assert torch.isfinite(layer.weight).all()
        return {}

    operation.add(
        "network in every epoch",
        one_epoch,
        check,
        reference=True,
        precision=pytorch_loop.precision(device),
        warm_up=lambda: None,
        scaled_by=float(adam_loop.LAB["epochs"] * len(adam_loop.LAB["lr"])),
        **work,
    )
    operation.time()


def _ours(device: str) -> list[tuple[str, str]]:
    """Return our engines and precisions on a device."""
    return [
        (name, precision) for name, spec in ENGINES.items() for precision in spec.precisions.get(device, ())
    ]


def _work(extractor: FeatureExtractor, profile: Profile) -> dict[str, Any]:
    """Return the amount of work that all ways of an operation do, and how often."""
    return {
        "images": len(extractor.images),
        "shape": list(ways.SIZE),
        "network": extractor.weights.backbone,
        "at_most": profile.network_rounds,
    }


def _described(reference: str, device: str) -> dict[str, Any]:
    """Return what is recorded of a reference, and how often it is timed where it takes long."""
    found = {"reference": True, "precision": ways.reference_precision(reference, device), "batch": BATCH}
    return found | ({"at_most": LAB_ROUNDS} if reference == ways.LAB else {})


def _checked(agrees: Check, precision: str, order: Any = slice(None)) -> Callable[[Any], dict[str, float]]:
    """Return a check of features, whole or in batches, as strict as their precision allows."""
    return lambda x: agrees(
        np.concatenate(x) if isinstance(x, list) else x, least=ways.least_cosine(precision), order=order
    )
