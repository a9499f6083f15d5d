"""The weights in the package: whole, loadable, and refused where they do not fit."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tools.pretrain.scenes import FRACTALS, TEXTURES, THINGS
from tools.pretrain.training import Recipe
from transfer.backbones import bundled, networks, weights
from transfer.backbones.choice import choose_weights
from transfer.backbones.pixels import FromPixels
from transfer.config import BUNDLED_BACKBONE, RunConfig
from transfer.data import lagoon
from transfer.evaluation import experiment
from transfer.system.errors import UserError
from transfer.system.files import file_sha256


def test_the_file_is_the_one_that_the_package_names() -> None:
    assert file_sha256(bundled.FILE) == bundled.SHA256
    assert bundled.FILE.stat().st_size < 50e6


def test_the_card_tells_the_recipe_that_is_the_default() -> None:
    card, recipe = " ".join(bundled.FILE.with_name("CARD.md").read_text().split()), Recipe()
    for message in (
        f"{recipe.steps:,} steps of {recipe.batch} pictures",
        f"rate {recipe.lr}",
        f"weight decay {recipe.weight_decay}",
        f"{recipe.side}x{recipe.side} pixels in the first half",
        f"growing to {recipe.last_side}x{recipe.last_side}",
        f"pictures of {recipe.final_side}x{recipe.final_side}",
        f"from seed {recipe.seed}",
        f"{THINGS} classes of *things*",
        f"{FRACTALS} classes of *fractals*",
        f"{TEXTURES} classes of *textures*",
    ):
        assert message in card


def test_a_network_is_built_of_it_and_answers_differently_to_different_images() -> None:
    state = weights.load(bundled.FILE)
    network = networks.build(BUNDLED_BACKBONE, state)
    assert all(value.isfinite().all() for value in network.state_dict().values() if value.is_floating_point())
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 6, 6, generator=generator)
    x_ND = network(torch.nn.functional.interpolate(coarse, (96, 96)) * 4 - 2)
    assert x_ND.shape == (4, 2048)
    assert (x_ND.std(0) > 0).float().mean() > 0.5


@pytest.mark.exhaustive
def test_their_features_tell_boats_apart_better_than_untrained_ones() -> None:
    names, each = ("Gondola", "Mototopo", "VaporettoACTV", "Polizia"), 12
    drawn = [
        lagoon.draw(name, np.random.default_rng((c, i))) for c, name in enumerate(names) for i in range(each)
    ]
    pixels = torch.from_numpy(np.stack([image.resize((240, 72)) for image in drawn]))
    states = {
        "embedded": weights.load(bundled.FILE),
        "untrained": networks.random_state(
            BUNDLED_BACKBONE, seed=0, batches=pixels[::2].permute(0, 3, 1, 2).split(16)
        ),
    }
    right = {}
    for name, state in states.items():
        network = FromPixels(networks.build(BUNDLED_BACKBONE, state))
        with torch.inference_mode():
            x_ND = torch.cat([network(part) for part in pixels.split(16)]).numpy()
        head = make_pipeline(StandardScaler(), RidgeClassifier(1000))
        right[name] = cross_val_score(head, x_ND, np.repeat(np.arange(len(names)), each), cv=4).mean()
    assert right["embedded"] > right["untrained"] + 0.1, right


@pytest.mark.slow
@pytest.mark.usefixtures("timed_once")
def test_a_run_says_whose_weights_it_took(make_images: Callable[..., Path], tmp_path: Path) -> None:
    data = make_images(tmp_path / "images", train=2, valid=1, test=1)
    config = RunConfig(
        data=str(data),
        weights="embedded",
        store=tmp_path,
        methods=("knn",),
        size=(32, 32),
        device="cpu",
        engine="eager",
    )
    backbone = experiment.run(config).backbone
    assert (backbone["weights"], backbone["weights_sha256"]) == ("embedded", bundled.SHA256)


def test_another_backbone_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UserError, match="`weights='embedded'` is a resnet50, and `backbone='resnet18'`"):
        choose_weights(RunConfig(backbone="resnet18", weights="embedded"))


@pytest.mark.parametrize("damage", ["absent", "changed"])
def test_a_damaged_installation_says_so(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "resnet50.safetensors"
    if damage == "changed":
        path.write_bytes(b"x")
    monkeypatch.setattr(bundled, "FILE", path)
    with pytest.raises(UserError, match="install transfer again"):
        weights._embedded_file()


@pytest.mark.slow
def test_a_wheel_keeps_them(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=root, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 60e6
    with zipfile.ZipFile(wheel) as held:
        assert "transfer/backbones/bundled/CARD.md" in held.namelist()
        data = held.read(f"transfer/backbones/bundled/{bundled.FILE.name}")
    assert hashlib.sha256(data).hexdigest() == bundled.SHA256
