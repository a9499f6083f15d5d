from __future__ import annotations

import pytest

from transfer.backbones.licences import describe_licence


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("resnet50", "random", "none"),
        ("resnet50", "embedded", "MIT"),
        ("resnet50", "imagenet", "torchvision"),
        ("efficientnet_lite0", "package", "Apache 2.0"),
        ("hf:microsoft/resnet-50", "pretrained", "https://huggingface.co/microsoft/resnet-50"),
        ("resnet50", "boats.pth", "not known: ask who made boats.pth"),
        ("timm:resnet18", "boats.pth", "not known"),
    ],
)
def test_what_is_known_is_said(name: str, weights: str, expected: str) -> None:
    assert expected in describe_licence(name, weights)


def test_timm_names_those_of_its_weights() -> None:
    pytest.importorskip("timm")
    assert describe_licence("timm:resnet18.a1_in1k", "pretrained") == "apache-2.0 (timm)"
    assert describe_licence("timm:test_no_such_network", "pretrained") == "not known: timm names none"
