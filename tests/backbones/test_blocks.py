from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.backbones.hf_folders import KINDS
from transfer.backbones import networks
from transfer.backbones.blocks import CantCut, check_blocks, cut_at, freeze_before, unflatten
from transfer.backbones.layers import own_network
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow  # networks are built, traced and run
SIZE = (64, 96)
BLOCKS = {
    "resnet18": ("conv1", "layer3", "layer4", "layer4.1"),
    "mobilenet_v3_small": ("features.10",),
    "googlenet": ("inception5b",),
    "swin_t": ("features.7.1",),
    "timm:test_vit": ("blocks.1",),
    "timm:test_convnext": ("stages.3",),
}
HF_BLOCKS = {"resnet": "stages.1", "vit": "layers.1", "dinov2": "layer.1", "swin": "layers.1"}


def network_of(name: str, settings: dict[str, Any] | None = None) -> nn.Module:
    torch.manual_seed(0)
    return networks.cut(name, settings=settings)[0].requires_grad_(False).eval()


def check_parts(network: nn.Module, name: str, block: str, size: tuple[int, int]) -> None:
    """The two parts compute what the network does, and share its tensors."""
    cut = cut_at(network, name, block, size)
    x_N3HW = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    rows_ND = cut.frozen(x_N3HW)
    assert rows_ND.shape == (3, sum(math.prod(shape) for shape in cut.shapes))
    torch.testing.assert_close(
        cut.rest(*unflatten(rows_ND, cut.shapes)), network(x_N3HW), rtol=1e-4, atol=1e-4
    )
    whole = dict(network.named_parameters())
    assert all(one is whole[key] for key, one in cut.rest.named_parameters())
    assert any(key.split("network.")[-1].startswith(block) for key, _ in cut.rest.named_parameters())


@pytest.mark.parametrize(("name", "block"), [(name, block) for name, own in BLOCKS.items() for block in own])
def test_the_frozen_part_and_the_rest_are_the_network(name: str, block: str) -> None:
    size = {"timm:test_vit": (160, 160)}.get(name, SIZE)
    check_parts(network_of(name), name, block, size)


@pytest.mark.parametrize("kind", HF_BLOCKS)
def test_networks_that_fx_cannot_trace_are_exported(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    settings = {"config": transformers.AutoConfig.for_model(kind, **KINDS[kind]).to_dict()}
    network = network_of(f"hf:{kind}", settings)
    [block] = [key for key, _ in own_network(network).named_modules() if key.endswith(f".{HF_BLOCKS[kind]}")]
    check_parts(network, f"hf:{kind}", block, (64, 64))


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet18", ("layer4.1", "layer3", "layer4")), ("timm:test_vit", ("blocks.0", "blocks.1"))],
)
def test_what_lies_before_several_blocks_gives_the_rows_of_each(name: str, blocks: tuple[str, ...]) -> None:
    size = {"timm:test_vit": (160, 160)}.get(name, SIZE)
    network = network_of(name)
    x_N3HW = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    alone = [cut_at(network, name, block, size).frozen(x_N3HW) for block in blocks]
    assert torch.equal(freeze_before(network, name, blocks, size)(x_N3HW), torch.cat(alone, 1))


def test_a_later_block_leaves_fewer_parameters_to_train() -> None:
    network = network_of("resnet18")
    counts = [
        len(list(cut_at(network, "resnet18", block, SIZE).rest.parameters())) for block in BLOCKS["resnet18"]
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(list(network.parameters()))


def test_maps_lie_in_memory_as_channels_last() -> None:
    rows_ND = torch.arange(2 * 24.0).reshape(2, 24)
    [x_NCHW] = unflatten(rows_ND, [(4, 2, 3)])
    assert x_NCHW.shape == (2, 4, 2, 3)
    assert x_NCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("block", "hint"), [("layer4.3", "did you mean layer4.1"), ("nothing", "it has conv1")]
)
def test_a_name_that_is_not_there_is_refused_with_names_that_are(block: str, hint: str) -> None:
    with torch.device("meta"):
        network = networks.cut("resnet18")[0]
    with pytest.raises(UserError, match=f"resnet18 has no layer {block!r}; ") as refusal:
        check_blocks(network, "resnet18", [block])
    assert hint.split()[0] in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_block_that_is_not_reached_is_refused() -> None:
    network = network_of("resnet18")
    network.spare = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(CantCut, match="computes nothing"):
        cut_at(network, "resnet18", "spare", SIZE)
