from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from tests.backbones.hf_folders import KINDS
from transfer.backbones import networks
from transfer.backbones.flops import count_flops
from transfer.backbones.layers import check_layers, join_layers
from transfer.backbones.memory import count_activation_bytes
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow  # networks are built and run
SIZE = (64, 96)
GAPS = {"resnet18": ("layer3", "layer4"), "mobilenet_v3_small": ("features.6", "features.12")}


def network_of(name: str, settings: dict[str, Any] | None = None) -> nn.Module:
    torch.manual_seed(0)
    return networks.cut(name, settings=settings)[0].requires_grad_(False).eval()


def images(size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def noted(network: nn.Module, layers: tuple[str, ...], x_N3HW: torch.Tensor) -> list[torch.Tensor]:
    """What modules give, by plain hooks."""
    found: dict[str, Any] = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda part, given, made, layer=layer: found.update({layer: made})
        )
    network(x_N3HW)
    made = [found[layer] for layer in layers]
    return [one if isinstance(one, torch.Tensor) else one[0] for one in made]


@pytest.mark.parametrize("name", GAPS)
def test_maps_are_averaged_and_joined_as_torchvisions_own_extractor_gives_them(name: str) -> None:
    network, layers = network_of(name), GAPS[name]
    maps = create_feature_extractor(copy.deepcopy(network), list(layers))(images())
    expected = torch.cat([maps[layer].mean((2, 3)) for layer in layers], 1)
    torch.testing.assert_close(join_layers(network, name, layers, SIZE)(images()), expected)


def test_the_last_layer_alone_gives_the_features_of_a_resnet() -> None:
    network = network_of("resnet18")
    joined = join_layers(network, "resnet18", ("layer4",), SIZE)
    torch.testing.assert_close(joined(images()), network(images()))


@pytest.mark.parametrize("layer", ["conv1", "avgpool", "layer4.1.conv2"])
def test_a_layer_without_parts_is_one_too(layer: str) -> None:
    network = network_of("resnet18")
    [expected] = noted(copy.deepcopy(network), (layer,), images())
    torch.testing.assert_close(
        join_layers(network, "resnet18", (layer,), SIZE)(images()), expected.mean((2, 3))
    )


@pytest.mark.parametrize("size", [(64, 64), (64, 160)])
def test_maps_that_end_in_channels_are_averaged_over_space(size: tuple[int, int]) -> None:
    network, layers = network_of("swin_t"), ("features.3", "features.5")
    first, second = noted(copy.deepcopy(network), layers, images(size))
    expected = torch.cat([first.mean((1, 2)), second.mean((1, 2))], 1)
    assert expected.shape[1] == 192 + 384
    torch.testing.assert_close(join_layers(network, "swin_t", layers, size)(images(size)), expected)


def test_of_tokens_the_class_token_is_taken_where_there_is_one() -> None:
    network, layers = network_of("vit_b_32"), ("encoder.layers.encoder_layer_1", "encoder.ln")
    x_N3HW = images((224, 224))
    first, _ = noted(copy.deepcopy(network), layers, x_N3HW)
    expected = torch.cat([first[:, 0], network(x_N3HW)], 1)
    torch.testing.assert_close(join_layers(network, "vit_b_32", layers, (224, 224))(x_N3HW), expected)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("timm:test_vit", "norm"), ("timm:test_convnext", "stages.3"), ("timm:test_vit3", "norm")],
)
def test_of_timms_networks_tokens_are_pooled_as_they_pool_them(name: str, layer: str) -> None:
    timm = pytest.importorskip("timm")
    if name.removeprefix("timm:") not in timm.list_models():
        pytest.skip("this timm has no such network")
    network = network_of(name)
    [made] = noted(copy.deepcopy(network), (layer,), images((160, 160)))
    expected = network.pool(made) if made.ndim == 3 else made.mean((2, 3))  # type: ignore[operator]
    torch.testing.assert_close(join_layers(network, name, (layer,), (160, 160))(images((160, 160))), expected)


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("resnet", ("resnet.encoder.stages.0", "resnet.encoder.stages.1")),
        ("vit", ("vit.layers.0", "vit.layernorm")),
        ("swin", ("swin.encoder.layers.0", "swin.layernorm")),
    ],
)
def test_networks_of_transformers_are_named_as_they_name_their_modules(
    kind: str, layers: tuple[str, ...]
) -> None:
    pytest.importorskip("transformers")
    network = network_of("hf:net", {"config": {"model_type": kind, **KINDS[kind]}})
    made = noted(copy.deepcopy(network).network, layers, images((64, 64)))  # type: ignore[arg-type]
    pooled = [
        one.mean((2, 3)) if one.ndim == 4 else one[:, 0] if kind == "vit" else one.mean(1) for one in made
    ]
    joined = join_layers(network, "hf:net", layers, (64, 64))
    torch.testing.assert_close(joined(images((64, 64))), torch.cat(pooled, 1))


def test_what_comes_after_the_last_layer_is_neither_computed_nor_counted() -> None:
    network = network_of("resnet18")
    shallow, deep = (
        join_layers(network, "resnet18", layers, SIZE) for layers in (("layer2",), ("layer2", "layer4"))
    )
    assert count_flops(deep, SIZE) == count_flops(network, SIZE)
    assert count_flops(shallow, SIZE) < 0.6 * count_flops(network, SIZE)
    assert count_activation_bytes(shallow, SIZE) <= count_activation_bytes(network, SIZE)
    assert not [name for name, _ in shallow.named_parameters() if "layer3" in name]


def test_the_network_is_left_as_it_is_and_its_tensors_are_shared() -> None:
    network = network_of("resnet18")
    before = network(images())
    joined = join_layers(network, "resnet18", ("layer1", "layer4"), SIZE)
    torch.testing.assert_close(network(images()), before)
    assert not any(part._forward_hooks for part in network.modules())
    shared = {one.data_ptr() for one in network.parameters()}
    assert {one.data_ptr() for one in joined.parameters()} <= shared


@pytest.mark.parametrize(
    ("name", "layer", "hint"),
    [
        ("resnet18", "layer5", "did you mean layer4"),
        ("resnet18", "none", "it has layer1, layer2, layer3, layer4, layer1.0"),
        ("resnet18", "", "it has layer1"),
        ("vit_b_32", "encoder.layer", "did you mean encoder"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_some_that_are(name: str, layer: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no layer {layer!r}; {hint}"):
        check_layers(network_of(name), name, (layer,))


def test_a_module_that_does_not_run_is_refused() -> None:
    network = network_of("resnet18")
    network.add_module("idle", nn.Linear(3, 3))
    with pytest.raises(UserError, match="idle of resnet18 gives no output"):
        join_layers(network, "resnet18", ("idle",), SIZE)
