from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.refusals import refusal
from transfer.backbones import sources
from transfer.backbones.choice import WeightsChoice, choose_weights
from transfer.config import PACKAGED_BACKBONE, RunConfig


def choose(**settings: Any) -> WeightsChoice:
    return choose_weights(RunConfig(data="photos", **settings))


def test_keys_of_torchvisions_networks_are_those_of_before_there_were_sources() -> None:
    layer = "before the last linear or convolutional layer"
    assert sources.declare("resnet50", {}) == {"backbone": "resnet50", "layer": layer}


def test_the_version_of_a_library_is_part_of_the_key() -> None:
    pytest.importorskip("timm")
    assert sources.declare("timm:test_vit", {})["timm"] == metadata.version("timm")


def test_a_network_that_its_settings_describe_has_no_name_in_the_key() -> None:
    pytest.importorskip("transformers")
    settings = {"config": {"model_type": "resnet"}}
    assert sources.declare("hf:one", settings) == sources.declare("hf:other", settings)
    assert sources.declare("hf:one", settings) != sources.declare("hf:one", {"config": {"model_type": "vit"}})


def test_an_unknown_source_is_refused_with_those_there_are() -> None:
    message = refusal(choose, backbone="tim:resnet18")
    assert "'tim'" in message
    assert "timm:NAME" in message
    assert "hf:NAME" in message


@pytest.mark.parametrize("name", [":resnet18", f"{PACKAGED_BACKBONE}:x"])
def test_a_colon_needs_a_source_before_it(name: str) -> None:
    assert "there is no source of networks" in refusal(choose, backbone=name)


@pytest.mark.parametrize(
    ("name", "package"),
    [("timm:test_vit", "timm"), ("hf:org/net", "transformers"), (PACKAGED_BACKBONE, "timm")],
)
def test_a_library_that_is_not_installed_is_named(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    message = refusal(choose, backbone=name)
    assert f"the package {package}" in message
    assert message.endswith(f"run: pip install {package}")


@pytest.mark.slow
def test_libraries_are_imported_only_for_their_own_networks() -> None:
    code = (
        "import sys\n"
        "from transfer.backbones.choice import choose_weights\n"
        "from transfer.config import RunConfig\n"
        "choose_weights(RunConfig(weights='random', backbone='resnet18', data='photos'))\n"
        "print([name for name in ('timm', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_pretrained_is_a_word_for_all_sources_and_imagenet_for_torchvisions() -> None:
    def default(backbone: str, **settings: Any) -> str:
        return RunConfig(backbone=backbone, **settings).weights_or_default

    assert default("resnet50", data="photos") == default("resnet50", weights="pretrained") == "imagenet"
    assert default("timm:resnet18") == default("hf:org/net", weights="pretrained") == "pretrained"
    assert default(PACKAGED_BACKBONE) == default(PACKAGED_BACKBONE, weights="pretrained") == "package"
    assert default("timm:resnet18", weights="random") == "random"


def test_imagenet_and_package_are_refused_for_other_networks() -> None:
    pytest.importorskip("timm")
    for backbone, given in (
        ("timm:resnet18", "imagenet"),
        ("resnet18", "package"),
        ("timm:resnet18", "package"),
    ):
        message = refusal(choose, backbone=backbone, weights=given)
        assert f"`weights='{given}'`" in message
        assert "pretrained" in message


def test_of_a_folder_the_name_alone_is_recorded(tmp_path: Path) -> None:
    assert sources.recorded_name(f"hf:{tmp_path}/my net") == "hf:my_net"
    assert sources.recorded_name(f"hf:{tmp_path}/a..b") == "hf:a_.b"
    assert sources.recorded_name("hf:org/net") == "hf:org/net"
    assert sources.recorded_name("timm:test_vit") == "timm:test_vit"
