from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision import transforms

from tests.backbones.hf_folders import KINDS, PROCESSOR, TOKENS, save, whole
from tests.engines.samples import plan_of
from tests.refusals import refusal
from transfer.backbones import networks, weights
from transfer.backbones.choice import choose_weights
from transfer.backbones.preprocessing import IMAGENET, Normalisation
from transfer.config import RunConfig
from transfer.engines import build, submit
from transfer.metrics import cosines
from transfer.system.errors import UserError

transformers = pytest.importorskip("transformers")
hf_networks = pytest.importorskip("transfer.backbones.hf_networks")
pytestmark = pytest.mark.slow

AS_THEY_ARE = Normalisation((0.0,) * 3, (1.0,) * 3)


def what_the_classifier_gets(network: nn.Module, kind: str, x: torch.Tensor) -> torch.Tensor:
    """The library's own output that its classification head is applied to."""
    body = network.base_model(x)
    if kind == "vit":
        return body.last_hidden_state[:, 0]
    if kind == "dinov2":
        tokens = body.last_hidden_state
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
    return body.pooler_output.flatten(1)


def choose(backbone: str, **settings: Any) -> Any:
    return choose_weights(RunConfig(data="photos", backbone=backbone, **settings))


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_the_classifier_would_get(kind: str, tmp_path: Path) -> None:
    network, folder = whole(kind, num_labels=7), save(whole(kind, num_labels=7), tmp_path / "net")
    own, settings = hf_networks.describe(str(folder))
    cut = networks.build("hf:net", weights.load(folder / "model.safetensors"), own.normalisation, settings)
    x_NHW3 = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    usual = transforms.Normalize(PROCESSOR["image_mean"], PROCESSOR["image_std"])
    with torch.inference_mode():
        x = usual(torch.from_numpy(x_NHW3).permute(0, 3, 1, 2).float() / 255)
        expected = what_the_classifier_gets(network, kind, x).numpy()
    for engine in ("eager", "openvino"):
        ready = build(cut, plan_of(engine, batch=4), (64, 64), normalisation=own.normalisation)
        found = submit(ready, x_NHW3)()
        assert found.shape == expected.shape
        assert cosines(found, expected).min() > 0.9999, engine


@pytest.mark.slow
def test_compiled_features_agree() -> None:
    settings = {"config": json.loads(whole("vit").config.to_json_string())}
    cut = networks.build("hf:net", whole("vit").state_dict(), settings=settings)
    x_NHW3 = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    plain, fast = (
        submit(build(cut, plan_of(one, batch=4), (64, 64)), x_NHW3)() for one in ("eager", "compile")
    )
    assert cosines(fast, plain).min() > 0.9999


def test_a_vit_interpolates_its_position_embedding_for_another_size(tmp_path: Path) -> None:
    folder = save(whole("vit"), tmp_path / "net")
    own, settings = hf_networks.describe(str(folder))
    cut = networks.build("hf:net", load_file(folder / "model.safetensors"), own.normalisation, settings)
    x = torch.randn(2, 3, 48, 96, generator=torch.Generator().manual_seed(0))
    assert "48x96" in refusal(networks.measure_at_size, cut, "hf:net", (48, 96), own.size)
    with torch.inference_mode():
        found = networks.at_size(cut, "hf:net", (48, 96), own.size)(x)
        expected = whole("vit").vit(x, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("kind", "is_fixed"), [("vit", True), ("dinov2", True), ("resnet", False), ("swin", False)]
)
def test_networks_with_a_position_embedding_have_one_size(kind: str, is_fixed: bool, tmp_path: Path) -> None:
    own, _ = hf_networks.describe(str(save(whole(kind), tmp_path / "net")))
    assert own.is_fixed == is_fixed
    assert own.size == (64, 64)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"resample": 2}, {"resample": "bilinear"}),
        ({"size": 48}, {"size": (48, 48)}),
        ({"size": {"shortest_edge": 80}, "do_center_crop": True, "crop_size": 64}, {"size": (64, 64), "crop": 0.8}),
        ({"size": {"shortest_edge": 64}, "crop_pct": 0.875}, {"crop": 0.875}),
        ({"do_normalize": False}, {"normalisation": AS_THEY_ARE}),
        (
            {"do_normalize": False, "do_flip_channel_order": True},
            {"normalisation": replace(AS_THEY_ARE, channel_order="bgr")},
        ),
        (
            {"rescale_factor": 1 / 127.5, "rescale_offset": True, "image_mean": [0] * 3, "image_std": [1] * 3},
            {"normalisation": Normalisation((0.5,) * 3, (0.5,) * 3)},
        ),
    ],
)  # fmt: skip
def test_images_are_prepared_as_the_image_processors_file_says(
    changed: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    own, _ = hf_networks.describe(str(save(whole("resnet"), tmp_path / "net", {**PROCESSOR, **changed})))
    usual = {
        "normalisation": Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
        "size": (64, 64),
        "resample": "bicubic",
        "crop": None,
    }
    assert {name: getattr(own, name) for name in usual} == {**usual, **expected}


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 0},
        {"size": {"height": 64, "width": -1}},
        {"size": {"shortest_edge": 0}, "do_center_crop": True, "crop_size": 64},
        {"size": {"shortest_edge": -80}, "do_center_crop": True, "crop_size": 64},
    ],
)
def test_sizes_that_no_image_has_are_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    folder = save(whole("resnet"), tmp_path / "net", {**PROCESSOR, **changed})
    with pytest.raises(UserError, match=r"preprocessor_config.json of .* can't be read .*: sizes of"):
        hf_networks.describe(str(folder))


def test_without_an_image_processor_imagenets_statistics_are_taken_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(whole("resnet"), tmp_path / "net", None)
    with caplog.at_level(logging.WARNING):
        assert choose(f"hf:{folder}").normalisation == IMAGENET
    assert "`mean` and `std`" in caplog.text


def test_the_configuration_that_is_kept_names_no_code_and_no_files(tmp_path: Path) -> None:
    folder = save(whole("resnet"), tmp_path / "net")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "auto_map": {"AutoConfig": "evil.Config"},
        "_name_or_path": "/home/someone",
        "_attn_implementation": "org/kernel",
        "attn_implementation": "org/kernel",
        "kernel_size": 3,
        "quantization_config": {"quant_method": "other"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    kept = hf_networks.describe(str(folder))[1]["config"]
    assert kept["hidden_sizes"] == [16, 32]
    assert kept.pop("kernel_size") == 3
    text = json.dumps(kept)
    for part in ("evil", "someone", "kernel", "quant", "id2label"):
        assert part not in text


def test_a_checkpoint_without_a_classifier_or_with_a_pooler_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = transformers.ViTModel(transformers.AutoConfig.for_model("vit", **TOKENS)).eval()
    settings = {"config": json.loads(body.config.to_json_string())}
    cut, remarks = networks.fit("hf:net", dict(body.state_dict()), settings=settings)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(cut(x), body(x).last_hidden_state[:, 0])
    assert len(remarks) == 1
    assert "pooler" in remarks[0]


def test_names_of_older_releases_are_translated() -> None:
    network = whole("vit")
    old = {
        key.replace("vit.layers.", "vit.encoder.layer.").replace(
            ".attention.q_proj.", ".attention.attention.query."
        ): one
        for key, one in network.state_dict().items()
    }
    settings = {"config": json.loads(network.config.to_json_string())}
    if old.keys() == network.state_dict().keys():
        pytest.skip("this release has the older names")
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = networks.build("hf:net", old, settings=settings)(x)
        torch.testing.assert_close(found, network.vit(x).last_hidden_state[:, 0])


def test_weights_of_another_network_are_refused_by_the_names_of_their_tensors() -> None:
    settings = {"config": json.loads(whole("vit").config.to_json_string())}
    message = refusal(networks.build, "hf:net", whole("resnet").state_dict(), settings=settings)
    assert "missing: vit." in message
    assert "unexpected: resnet." in message


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"num_hidden_layers": 3}, "unexpected: vit.layers.2."),
        ({"hidden_size": 64}, "of another shape: "),
    ],
)
def test_weights_of_a_deeper_or_wider_network_are_refused(changed: dict[str, int], fault: str) -> None:
    settings = {"config": json.loads(whole("vit").config.to_json_string())}
    config = transformers.AutoConfig.for_model("vit", **{**TOKENS, **changed})
    state = transformers.ViTForImageClassification(config).state_dict()
    assert fault in refusal(networks.build, "hf:net", state, settings=settings)


def test_loading_draws_nothing_from_torchs_generator() -> None:
    network = whole("resnet")
    settings = {"config": json.loads(network.config.to_json_string())}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    networks.build("hf:net", network.state_dict(), settings=settings)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32}))
    message = refusal(choose, f"hf:{tmp_path}")
    assert "'bert' is no image classification network" in message


def test_a_network_of_timm_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 1000}))
    assert "give timm:resnet18" in refusal(choose, f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("config", "part"),
    [("{", "JSON"), ("[]", "no settings"), ('{"model_type": "resnet", "depths": "many"}', "not valid")],
)
def test_a_broken_configuration_is_refused(config: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    assert part in refusal(choose, f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("./nothing-here", "no such folder"),
        ("/nothing-here", "no such folder"),
        ("org/../../secret", "ORGANISATION/NAME"),
        ("org/net/more", "ORGANISATION/NAME"),
        ("", "ORGANISATION/NAME"),
        ("org/net?x", "ORGANISATION/NAME"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, part: str) -> None:
    assert part in refusal(choose, f"hf:{name}")


def test_a_folder_without_a_configuration_or_weights_is_refused(tmp_path: Path) -> None:
    assert "config.json" in refusal(choose, f"hf:{tmp_path}")
    save(whole("resnet"), tmp_path / "net")
    (tmp_path / "net/model.safetensors").unlink()
    assert "model.safetensors" in refusal(hf_networks.find_pretrained, str(tmp_path / "net"))


def test_all_files_come_from_the_hubs_cache_without_a_network(
    hf_cache: Callable[..., Path], tmp_path: Path
) -> None:
    folder = save(whole("resnet"), tmp_path / "net")
    hf_cache("org/net", list(folder.iterdir()))
    chosen = choose("hf:org/net")
    assert chosen.source == "pretrained"
    assert chosen.normalisation.mean == (0.4, 0.5, 0.6)
    found = hf_networks.find_pretrained("org/net")
    assert found.path.read_bytes() == (folder / "model.safetensors").read_bytes()


def test_an_image_processor_that_the_hub_does_not_have_is_no_error(
    hf_cache: Callable[..., Path], tmp_path: Path
) -> None:
    folder = save(whole("resnet"), tmp_path / "net", None)
    hf_cache("org/net", list(folder.iterdir()), absent=["preprocessor_config.json"])
    assert choose("hf:org/net").normalisation == IMAGENET


def test_without_a_network_the_files_and_the_ways_out_are_named(hf_cache: Callable[..., Path]) -> None:
    message = refusal(choose, "hf:org/net")
    for part in (
        "org/net/resolve/main/config.json",
        "model.safetensors",
        "`backbone='hf:./FOLDER'`",
        "no network",
    ):
        assert part in message
    assert "`backbone='efficientnet_lite0'`" in message
