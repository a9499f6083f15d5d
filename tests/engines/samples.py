"""Small photographs, untrained networks and plans, shared by the tests of engines."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torchvision import models, transforms

from transfer.backbones import networks
from transfer.backbones.checkpoint import State
from transfer.engines import Engine, Plan, build

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

SIZE = (64, 96)
BATCH = 8


def photographs(count: int, seed: int = 0) -> Pixels:
    """Images `(N, H, W, 3)` with shapes in them, each of its own tint."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, SIZE[0] // 8, SIZE[1] // 8, 3))
    x = coarse.repeat(8, axis=1).repeat(8, axis=2) * rng.uniform(0.3, 1, (count, 1, 1, 3))
    return np.asarray(x, np.uint8)


@cache
def state_of(name: str) -> State:
    images = torch.from_numpy(photographs(8, seed=99)).permute(0, 3, 1, 2)
    return networks.random_state(name, seed=0, batches=[images])


def network_of(name: str) -> nn.Module:
    return networks.build(name, state_of(name))


def plan_of(
    engine: str = "eager", precision: str = "fp32", *, device: str = "cpu", batch: int = BATCH
) -> Plan:
    return Plan(engine=engine, precision=precision, device=device, threads=2, batch=batch)


def engine_of(
    name: str = "resnet18", engine: str = "eager", precision: str = "fp32", *, batch: int = BATCH
) -> Engine:
    if (engine, precision) == ("openvino", "bf16") and "BF16" not in openvino_can():
        pytest.skip("OpenVINO does not compute in bf16 on this processor")
    return build(network_of(name), plan_of(engine, precision, batch=batch), SIZE)


@cache
def openvino_can() -> list[str]:
    import openvino

    capabilities: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capabilities


def features(engine: Engine, x_NHW3: Pixels) -> Features:
    return engine.submit(x_NHW3)()


def plain_features(name: str, x_NHW3: Pixels) -> npt.NDArray[np.float32]:
    """A ResNet's features of each image by itself, from torchvision's own network and transforms."""
    network = models.get_model(name, weights=None).eval()
    network.load_state_dict(state_of(name), strict=False)
    network.fc = nn.Identity()
    usual = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )
    with torch.no_grad():
        return np.stack([network(usual(x_HW3)[None])[0].numpy() for x_HW3 in x_NHW3])
