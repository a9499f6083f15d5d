from __future__ import annotations

import os
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torchvision import models, transforms

from transfer import backbone, engines
from transfer.config import UserError
from transfer.engines import Eager, Plan, pick_device, plan

Pixels = npt.NDArray[np.uint8]

SIZE = (64, 96)
BATCH = 8
WIDTH = {"resnet18": 512, "mobilenet_v3_small": 1024, "squeezenet1_1": 512, "convnext_tiny": 768}

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def refusal(engine: str, precision: str, device: str) -> str:
    with pytest.raises(UserError) as caught:
        plan(engine, precision, device)
    message = str(caught.value)
    assert "\n" not in message
    return message


def photographs(count: int, seed: int = 0) -> Pixels:
    """Images `(N, H, W, 3)` with shapes in them, each of its own tint."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, SIZE[0] // 8, SIZE[1] // 8, 3))
    x = coarse.repeat(8, axis=1).repeat(8, axis=2) * rng.uniform(0.3, 1, (count, 1, 1, 3))
    return np.asarray(x, np.uint8)


@cache
def state_of(name: str) -> backbone.State:
    images = torch.from_numpy(photographs(8, seed=99)).permute(0, 3, 1, 2)
    return backbone.random_state(name, seed=0, batches=[images])


def network_of(name: str) -> nn.Module:
    return backbone.build(name, state_of(name))


def plan_of(precision: str = "fp32", *, device: str = "cpu", batch: int = BATCH) -> Plan:
    return Plan(engine="eager", precision=precision, device=device, threads=2, batch=batch)


def plain_features(x_NHW3: Pixels) -> npt.NDArray[np.float32]:
    """ResNet18's features of each image by itself, from torchvision's own network and transforms."""
    network = models.resnet18().eval()
    network.load_state_dict(state_of("resnet18"), strict=False)
    network.fc = nn.Identity()
    usual = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )
    with torch.no_grad():
        return np.stack([network(usual(x_HW3)[None])[0].numpy() for x_HW3 in x_NHW3])


def cosines(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The cosine of every row of `one` with every row of `other`, about the mean of `one`."""
    a, b = (np.asarray(x, np.float64) - one.mean(axis=0, dtype=np.float64) for x in (one, other))
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return np.asarray((a @ b.T) / norms)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_on_a_processor_takes_bf16_where_it_is_fast(
    has_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engines, "has_bf16", lambda: has_bf16)
    settled = plan("auto", "auto", "auto")
    assert settled.engine == "eager"
    assert settled.device == "cpu"
    assert settled.precision == ("bf16" if has_bf16 else "fp32")


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_takes_cuda_where_there_is_one(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return has_bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(engines, "has_bf16", lambda: not has_bf16)
    settled = plan("auto", "auto", "auto")
    assert settled.device == "cuda"
    assert settled.precision == ("bf16" if has_bf16 else "fp32")
    assert settled.batch > plan("auto", "auto", "cpu").batch


@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_is_kept(precision: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settled = plan("eager", precision, device)
    assert settled.engine == "eager"
    assert settled.precision == precision
    assert settled.device == ("cuda" if device == "auto" else device)


def test_fp16_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal("auto", "fp16", "cpu")
    for part in ("--precision", "fp16", "bf16", "fp32"):
        assert part in message
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert plan("auto", "fp16", "auto").precision == "fp16"


def test_fp16_is_refused_where_auto_means_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "fp16" in refusal("auto", "fp16", "auto")


def test_the_plan_uses_no_more_threads_than_there_are_cores() -> None:
    settled = plan("auto", "auto", "cpu")
    assert 1 <= settled.threads <= len(os.sched_getaffinity(0))
    assert settled.batch >= 1


@pytest.mark.parametrize(
    ("engine", "precision", "told"),
    [
        ("warp", "auto", ["--engine", "'warp'", "auto", "eager"]),
        ("", "auto", ["--engine", "''", "auto", "eager"]),
        ("auto", "fp64", ["--precision", "'fp64'", "auto", "fp32", "bf16", "fp16"]),
        ("auto", "FP32", ["--precision", "'FP32'", "auto", "fp32", "bf16", "fp16"]),
    ],
)
def test_an_unknown_choice_is_told_with_the_allowed_ones(
    engine: str, precision: str, told: list[str]
) -> None:
    message = refusal(engine, precision, "cpu")
    for part in told:
        assert part in message


@without_cuda
@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_cuda_is_refused_where_there_is_none(precision: str) -> None:
    message = refusal("auto", precision, "cuda")
    assert "--device is cuda" in message
    assert "--device cpu" in message


@pytest.mark.parametrize(
    ("asked", "available", "picked"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_devices_are_picked(
    asked: str, available: bool, picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device(asked) == picked


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 1), ("mobilenet_v3_small", 3), ("convnext_tiny", BATCH), ("squeezenet1_1", 0)],
)
def test_features_are_float32_rows(name: str, precision: str, count: int) -> None:
    found = Eager(network_of(name), plan_of(precision))(photographs(count))
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert found.shape == (count, WIDTH[name])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [*WIDTH, "efficientnet_b0"])
def test_a_short_batch_gives_the_bits_of_a_full_one(name: str, precision: str) -> None:
    engine = Eager(network_of(name), plan_of(precision))
    x = photographs(BATCH)
    full = engine(x)
    for count in (1, BATCH - 3):
        np.testing.assert_array_equal(engine(x[:count]), full[:count])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [*WIDTH, "efficientnet_b0"])
def test_neighbours_do_not_change_an_images_bits(name: str, precision: str) -> None:
    engine = Eager(network_of(name), plan_of(precision))
    x = photographs(BATCH)
    among_others = np.concatenate([photographs(3, seed=5), x[3:5], photographs(3, seed=6)])
    np.testing.assert_array_equal(engine(among_others)[3:5], engine(x)[3:5])


def test_fp32_features_are_those_of_the_plain_network() -> None:
    x = photographs(BATCH + 3)
    engine = Eager(network_of("resnet18"), plan_of("fp32"))
    found = np.concatenate([engine(x[:BATCH]), engine(x[BATCH:])])
    expected = plain_features(x)
    assert expected.std(axis=0).mean() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", WIDTH)
def test_bf16_features_point_where_those_of_fp32_do(name: str) -> None:
    x = photographs(BATCH)
    exact, coarse = (Eager(network_of(name), plan_of(precision))(x) for precision in ("fp32", "bf16"))
    assert not np.array_equal(exact, coarse)
    dots = (exact.astype(np.float64) * coarse).sum(axis=1)
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(coarse, axis=1)
    assert (dots / norms).min() >= 0.99
    np.testing.assert_array_equal(cosines(exact, coarse).argmax(axis=1), np.arange(BATCH))


@pytest.mark.parametrize("batch", [1, 4])
def test_the_size_of_the_batch_changes_little(batch: int) -> None:
    x = photographs(4)
    whole = Eager(network_of("resnet18"), plan_of(batch=8))(x)
    engine = Eager(network_of("resnet18"), plan_of(batch=batch))
    parts = np.concatenate([engine(x[i : i + batch]) for i in range(0, 4, batch)])
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


def test_pixels_are_left_alone_and_may_be_read_only() -> None:
    x = photographs(2)
    x.flags.writeable = False
    before = x.copy()
    Eager(network_of("squeezenet1_1"), plan_of())(x)
    np.testing.assert_array_equal(x, before)


def test_features_outlive_the_next_batch() -> None:
    engine = Eager(network_of("squeezenet1_1"), plan_of())
    first = engine(photographs(2))
    copy = first.copy()
    engine(photographs(2, seed=1))
    np.testing.assert_array_equal(first, copy)


@with_cuda
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.9999), ("bf16", 0.99), ("fp16", 0.999)])
def test_cuda_gives_the_features_of_the_processor(precision: str, least: float) -> None:
    x = photographs(BATCH)
    exact = Eager(network_of("resnet18"), plan_of("fp32"))(x)
    engine = Eager(network_of("resnet18"), plan_of(precision, device="cuda"))
    found = engine(x)
    assert found.dtype == np.float32
    assert np.diag(cosines(exact, found)).min() >= least
    np.testing.assert_array_equal(engine(x[:3]), found[:3])
