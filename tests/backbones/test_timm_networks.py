from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms

from tests.engines.samples import photographs, plan_of
from tests.refusals import refusal
from transfer.backbones import networks, weights
from transfer.backbones.choice import choose_weights
from transfer.backbones.preprocessing import Normalisation
from transfer.backbones.sources import check_name
from transfer.config import RunConfig
from transfer.engines import build, submit
from transfer.metrics import cosines

timm = pytest.importorskip("timm")
timm_networks = pytest.importorskip("transfer.backbones.timm_networks")
pytestmark = pytest.mark.slow

# Small networks that timm has for tests: of 160x160 alone, and of any size.
VIT, RESNET = "test_vit", "test_resnet"
CASES = [(VIT, (160, 160)), (VIT, (64, 96)), (RESNET, (64, 96))]


def whole(name: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, **settings)
    return network.eval()


def library_features(network: nn.Module, x_NHW3: np.ndarray) -> np.ndarray:
    """What timm's own forward pass gives, normalised as timm's configuration says."""
    own = network.pretrained_cfg
    usual = transforms.Normalize(own["mean"], own["std"])
    with torch.inference_mode():
        x = usual(torch.from_numpy(x_NHW3).permute(0, 3, 1, 2).float() / 255)
        found: torch.Tensor = network.forward_head(network.forward_features(x), pre_logits=True)
    return found.numpy()


@pytest.mark.parametrize(
    ("name", "size", "engine"),
    [
        *((name, size, engine) for name, size in CASES for engine in ("eager", "openvino")),
        pytest.param(VIT, (64, 96), "compile", marks=pytest.mark.slow),
    ],
)
def test_features_are_those_of_timms_own_forward_pass(name: str, size: tuple[int, int], engine: str) -> None:
    network = whole(name)
    own, settings = timm_networks.describe(name)
    cut = networks.build(f"timm:{name}", network.state_dict(), own.normalisation, settings)
    cut = networks.at_size(cut, name, size, own.size)
    if name == VIT:
        network.set_input_size(size)
    x_NHW3 = np.random.default_rng(0).integers(0, 256, (4, *size, 3), np.uint8)
    ready = build(cut, plan_of(engine, batch=4), size, normalisation=own.normalisation)
    found, expected = submit(ready, x_NHW3)(), library_features(network, x_NHW3)
    assert found.shape == expected.shape
    assert cosines(found, expected).min() > 0.9999


@pytest.mark.parametrize("name", [VIT, RESNET, "test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_images_are_prepared_as_timms_configuration_says(name: str) -> None:
    own, _ = timm_networks.describe(name)
    expected = timm.get_pretrained_cfg(name)
    assert own.normalisation.mean == expected.mean
    assert own.normalisation.std == expected.std
    assert own.size == expected.input_size[1:]
    assert own.is_fixed == expected.fixed_input_size
    assert own.resample == expected.interpolation
    assert own.crop == expected.crop_pct


def test_the_tag_of_a_name_chooses_the_configuration() -> None:
    first, second = (
        timm_networks.describe(f"vit_base_patch16_224.{tag}")[0] for tag in ("augreg_in21k_ft_in1k", "mae")
    )
    assert first.normalisation != second.normalisation


def test_what_a_user_gives_replaces_the_networks_own() -> None:
    config = RunConfig(data="photos", backbone=f"timm:{VIT}", weights="random", mean=(0.4, 0.5, 0.6))
    own = timm_networks.describe(VIT)[0].normalisation
    assert choose_weights(config).normalisation == Normalisation((0.4, 0.5, 0.6), own.std)


def test_a_network_of_one_size_says_which_at_another_that_it_cannot_take() -> None:
    cut = networks.build(f"timm:{VIT}", whole(VIT).state_dict())
    cut = networks.at_size(cut, f"timm:{VIT}", (50, 64), (160, 160))
    message = refusal(networks.measure_at_size, cut, f"timm:{VIT}", (50, 64), (160, 160))
    assert "50x64" in message
    assert "`size=160x160`" in message


def test_the_classifier_of_a_checkpoint_may_have_any_number_of_classes() -> None:
    state = whole(RESNET, num_classes=3).state_dict()
    network, remarks = networks.fit(f"timm:{RESNET}", {f"module.{key}": one for key, one in state.items()})
    assert remarks == []
    assert torch.equal(network.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_names_that_the_authors_gave_are_translated_by_timm() -> None:
    state = dict(whole("test_convnext").state_dict())
    renames = [
        (r"stem\.", "downsample_layers.0."),
        (r"stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"stages\.(\d)\.blocks\.", r"stages.\1."),
        ("conv_dw", "dwconv"),
        (r"mlp\.fc", "pwconv"),
        (r"head\.fc\.", "head."),
        (r"head\.norm\.", "norm."),
    ]
    theirs = {}
    for key, value in state.items():
        for pattern, name in renames:
            key = re.sub(pattern, name, key)
        theirs[key] = value
    assert "stem.0.weight" not in theirs
    found = networks.build("timm:test_convnext", theirs).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.items())


def test_weights_of_another_network_are_refused_by_the_names_of_their_tensors() -> None:
    message = refusal(networks.build, f"timm:{VIT}", whole(RESNET).state_dict())
    assert "missing: " in message
    assert "blocks.0.attn" in message


def test_a_tensor_of_another_shape_is_named() -> None:
    state = {**whole(VIT).state_dict(), "norm.weight": torch.zeros(3)}
    assert "of another shape: norm.weight" in refusal(networks.build, f"timm:{VIT}", state)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("test_vitt", "test_vit"),
        ("resnet_50", "resnet50"),
        ("test_vit.r160_in1", "r160_in1k"),
        ("test_vit.", "r160_in1k"),
        ("../../etc/passwd", "timm:resnet50"),
        ("hf-hub:timm/test_vit", "timm:resnet50"),
        ("", "timm:resnet50"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(name: str, hint: str) -> None:
    message = refusal(check_name, f"timm:{name}")
    assert hint in message.split(";")[1]


def test_weights_come_from_the_hubs_cache_without_a_network(
    hf_cache: Callable[..., Path], tmp_path: Path
) -> None:
    state = dict(whole(RESNET).state_dict())
    save_file(state, tmp_path / "model.safetensors")
    hf_cache(f"timm/{RESNET}.r160_in1k", [tmp_path / "model.safetensors"])
    found = timm_networks.find_pretrained(RESNET)
    assert found.path.read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    assert networks.fit(f"timm:{RESNET}", weights.load(found.path))[1] == []


def test_without_a_network_the_file_and_the_ways_out_are_named(hf_cache: Callable[..., Path]) -> None:
    message = refusal(timm_networks.find_pretrained, RESNET)
    assert f"timm/{RESNET}.r160_in1k/resolve/main/model.safetensors" in message
    assert "no network" in message
    assert "`weights=FILE`" in message
    assert "`backbone='efficientnet_lite0'`" in message


def test_offline_mode_is_named(hf_cache: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub as hub

    monkeypatch.undo()
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", "/nowhere")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(timm_networks.find_pretrained, RESNET)


def test_a_network_without_published_weights_is_refused() -> None:
    name = next(
        name
        for name in timm.list_models()
        if not (own := timm_networks._configuration(name)).get("hf_hub_id") and not own.get("url")
    )
    assert "`weights=FILE`" in refusal(timm_networks.find_pretrained, name)


def test_random_weights_follow_from_the_seed() -> None:
    batches = [torch.from_numpy(photographs(4)).permute(0, 3, 1, 2)]
    first, second, other = (
        networks.random_state(f"timm:{RESNET}", seed=seed, batches=batches) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])
