"""What every engine promises, in every precision it has on a processor."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from tests.backbones.hf_folders import KINDS
from tests.cases import split_cases
from tests.engines.networks import SHALLOW
from tests.engines.samples import (
    BATCH,
    SIZE,
    engine_of,
    features,
    photographs,
    plain_features,
    plan_of,
)
from transfer.backbones import networks
from transfer.backbones.pixels import normalise
from transfer.backbones.preprocessing import Normalisation
from transfer.engines import ENGINES, Engine, build
from transfer.metrics import cosines

WIDTH = {
    "plain": 32,
    "resnet34": 512,
    "mobilenet_v3_small": 1024,
    "squeezenet1_1": 512,
    "convnext_tiny": 192,
}
# Compiling takes seconds for each network, and so does bf16 where the processor only emulates it: a small network
# shows the contract.
USUAL = ("plain", "convnext_tiny")
WAYS = [
    pytest.param(
        name,
        engine,
        precision,
        marks=[pytest.mark.slow] * (engine != "eager") + [pytest.mark.exhaustive] * (name not in USUAL),
    )
    for engine, spec in ENGINES.items()
    for device, precisions in spec.precisions.items()
    if device == "cpu"
    for precision in precisions
    if precision != "int8"
    for name in (
        ["plain"]
        if engine == "compile" or (engine, precision) == ("eager", "bf16")
        else [*WIDTH, "efficientnet_b0"]
    )
]

EVERY_ENGINE = pytest.mark.parametrize(
    "engine",
    [
        "eager",
        pytest.param("openvino", marks=pytest.mark.slow),
        pytest.param("compile", marks=pytest.mark.exhaustive),
    ],
)
# Transformers take images of certain sides; 96 pixels do for all others.
SIDES = {"maxvit_t": 112, "swin_t": 112, "swin_v2_t": 128, "vit_b_32": 224}


@EVERY_ENGINE
@pytest.mark.parametrize(
    "normalisation",
    [
        Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        Normalisation(channel_order="bgr"),
        Normalisation((0.407, 0.458, 0.485), (1 / 255, 1 / 255, 1 / 255), "bgr"),
    ],
    ids=["half", "BGR", "Caffe's"],
)
def test_pixels_are_normalised_as_declared(engine: str, normalisation: Normalisation) -> None:
    x = photographs(BATCH)
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    ready = build(network.eval(), plan_of(engine), SIZE, normalisation=normalisation)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (normalisation.mean, normalisation.std))
    ordered = pixels[:, [2, 1, 0]] if normalisation.channel_order == "bgr" else pixels
    scaled = (ordered / 255 - mean) / std
    torch.testing.assert_close(normalise(pixels, normalisation), scaled)
    with torch.inference_mode():
        expected, usual = network(scaled), network(normalise(pixels))
    found = features(ready, x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert np.abs(found - usual.numpy()).max() > 0.01 * float(usual.abs().max())


JOINED = {
    "resnet18": (None, ("layer3", "layer4")),
    "timm:test_vit": (None, ("blocks.2", "norm")),
    "hf:net": ({"config": {"model_type": "vit", **KINDS["vit"]}}, ("vit.layers.0", "vit.layernorm")),
}


@EVERY_ENGINE
@pytest.mark.slow
@pytest.mark.parametrize("name", JOINED)
def test_layers_are_joined_alike(name: str, engine: str) -> None:
    library = {"timm": "timm", "hf": "transformers"}.get(name.partition(":")[0])
    if library:
        pytest.importorskip(library)
    settings, layers = JOINED[name]
    torch.manual_seed(0)
    network = networks.cut(name, settings=settings)[0].requires_grad_(False).eval()
    size, own = ((64, 64), (64, 64)) if library == "transformers" else (SIZE, (160, 160))
    network = networks.at_size(network, name, size, own, layers)
    x = photographs(BATCH)[:, : size[0], : size[1]]
    with torch.inference_mode():
        expected = network(normalise(torch.tensor(x).permute(0, 3, 1, 2))).numpy()
    ready = build(network, plan_of(engine), size)
    for _ in range(2):  # nothing is left of the batch before
        found = features(ready, x)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("name", "engine", "precision"), WAYS)
def test_the_contract(name: str, engine: str, precision: str) -> None:
    ready = engine_of(name, engine, precision)
    x = photographs(BATCH)
    full = features(ready, x)
    _rows_are_float32(ready, full, name)
    _a_short_batch_gives_the_bits_of_a_full_one(ready, full)
    _neighbours_do_not_change_an_images_bits(ready, full)
    _pixels_are_left_alone_and_may_be_read_only(ready)
    _features_outlive_the_next_batches(ready)
    _batches_in_flight_are_not_mixed_up(ready)


def _rows_are_float32(ready: Engine, full: np.ndarray, name: str) -> None:
    width = WIDTH.get(name, 1280)
    for count in (0, 1, 3, BATCH):
        found = features(ready, photographs(count))
        assert found.dtype == np.float32
        assert found.shape == (count, width)
        assert np.isfinite(found).all()
    assert full.std(axis=0).mean() > 1e-3


def _a_short_batch_gives_the_bits_of_a_full_one(ready: Engine, full: np.ndarray) -> None:
    x = photographs(BATCH)
    for count in (1, BATCH - 3):
        np.testing.assert_array_equal(features(ready, x[:count]), full[:count])


def _neighbours_do_not_change_an_images_bits(ready: Engine, full: np.ndarray) -> None:
    x = photographs(BATCH)
    among_others = np.concatenate([photographs(3, seed=5), x[3:5], photographs(3, seed=6)])
    np.testing.assert_array_equal(features(ready, among_others)[3:5], full[3:5])


def _pixels_are_left_alone_and_may_be_read_only(ready: Engine) -> None:
    for count in (2, BATCH):
        x = photographs(count)
        x.flags.writeable = False
        before = x.copy()
        features(ready, x)
        np.testing.assert_array_equal(x, before)


def _features_outlive_the_next_batches(ready: Engine) -> None:
    first = features(ready, photographs(2))
    copy = first.copy()
    for seed in range(1, 2 + ready.in_flight):
        features(ready, photographs(BATCH, seed=seed))
    np.testing.assert_array_equal(first, copy)


def _batches_in_flight_are_not_mixed_up(ready: Engine) -> None:
    batches = [photographs(BATCH, seed=seed) for seed in range(5)]
    apart = [features(ready, x) for x in batches]
    waiting: deque = deque()
    together = []
    for x in batches:
        waiting.append(ready.submit(x.copy()))  # nothing but the engine holds these pixels
        if len(waiting) == ready.in_flight:
            together.append(waiting.popleft()())
    together += [wait() for wait in waiting]
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_array_equal(one, other)


@EVERY_ENGINE
def test_fp32_features_are_those_of_the_plain_network(engine: str) -> None:
    x = photographs(BATCH + 3)
    ready = engine_of("resnet34", engine, "fp32")
    found = np.concatenate([features(ready, x[:BATCH]), features(ready, x[BATCH:])])
    expected = plain_features("resnet34", x)
    assert expected.std(axis=0).mean() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "openvino"])
@pytest.mark.parametrize("name", ["resnet34", "convnext_tiny"])
def test_bf16_features_point_where_those_of_fp32_do(name: str, engine: str) -> None:
    x = photographs(BATCH)
    exact, coarse = (features(engine_of(name, e, p), x) for e, p in (("eager", "fp32"), (engine, "bf16")))
    assert not np.array_equal(exact, coarse)
    assert cosines(coarse, exact).min() >= 0.99
    a, b = (rows - exact.mean(axis=0) for rows in (exact, coarse))
    assert ((a @ b.T) / np.linalg.norm(b, axis=1)).argmax(axis=1).tolist() == list(range(BATCH))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    split_cases(
        [
            *(name for name in SHALLOW if name not in WIDTH and name != "efficientnet_b0"),
            "convnext_tiny",
            "alexnet",
            "googlenet",
            "mnasnet0_5",
        ],
        usual=["convnext_tiny"],
    ),
)
def test_every_kind_of_network_computes_what_torchvision_does(name: str) -> None:
    size = (SIDES.get(name, 96),) * 2
    x = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    network = networks.build(name, networks.random_state(name, seed=0, batches=[pixels]))
    with torch.inference_mode():
        expected = network(normalise(pixels)).flatten(1).numpy()
    for engine in ("eager", "openvino"):
        found = features(build(network, plan_of(engine, batch=4), size), x)
        assert cosines(found, expected).min() > 0.999999, engine
