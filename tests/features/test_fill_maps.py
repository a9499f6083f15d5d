from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transfer.backbones.blocks import cut_at
from transfer.backbones.pixels import FromPixels
from transfer.config import RunConfig
from transfer.data.dataset import find
from transfer.data.views import View
from transfer.features.fill import Extraction, fill
from transfer.features.fill_maps import Tables, fill_maps
from transfer.features.plan import plan_extraction
from transfer.system.errors import UserError
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets")]
TRAIN, ALL = 3 * 6, 3 * 12
SETTINGS = {
    "backbone": "resnet18",
    "weights": "random",
    "device": "cpu",
    "engine": "eager",
    "precision": "fp32",
    "size": (64, 64),
    "unfreeze": ("layer4", "layer3"),
}


@pytest.fixture
def root(tmp_path: Path, make_images: Callable[..., Path]) -> Path:
    make_images(tmp_path / "images", train=6, valid=3, test=3)
    return tmp_path


class Filled:
    """Maps filled by a configuration, and the images that went through the network for them."""

    def __init__(self, root: Path, blocks: tuple[str, ...] = ("layer4", "layer3"), **given: Any) -> None:
        config = RunConfig(data=str(root / "images"), store=root / "store", **{**SETTINGS, **given})
        self.plan = plan_extraction(config)
        self.found: Extraction = fill(self.plan, find(root / "images"), Stopwatch(), silent)
        self.passed: list[int] = []
        self.tables: dict[str, Tables] = fill_maps(blocks, self.plan, self.found, self.note)

    def note(self, phase: str, done: int, total: int, *more: object) -> None:
        if phase == "maps" and done == 0:
            self.passed.append(total)

    def rows(self, block: str, view: int = 0) -> np.ndarray:
        images = self.found.images.in_split("train") if view else self.found.images
        return self.tables[block][view].gather(images.ids_N32)


def test_one_pass_gives_the_maps_of_several_blocks_bit_for_bit(root: Path) -> None:
    both = Filled(root, views=2)
    assert both.passed == [ALL, TRAIN]
    again = root / "again"
    again.mkdir()
    (root / "images").rename(again / "images")
    for block in ("layer4", "layer3"):
        alone = Filled(again, (block,), views=2)
        for view in (0, 1):
            assert alone.tables[block][view].key == both.tables[block][view].key
            assert (alone.rows(block, view) == both.rows(block, view)).all()


def test_they_are_what_the_network_gives_for_the_views(root: Path) -> None:
    filled = Filled(root, views=3)
    network = filled.found.weights.network
    frozen = cut_at(network, "resnet18", "layer4", (64, 64)).frozen
    train = replace(filled.found.images.in_split("train"), view=View(2, 0))
    x_NHW3 = torch.from_numpy(np.stack([image.pixels((64, 64)) for image in train]))
    whole = FromPixels(frozen, filled.found.weights.normalisation)
    with torch.no_grad():
        np.testing.assert_allclose(filled.rows("layer4", 2), whole(x_NHW3).numpy(), rtol=1e-4, atol=1e-4)


def test_only_views_that_are_missing_are_computed(root: Path) -> None:
    assert Filled(root, views=2).passed == [ALL, TRAIN]
    assert Filled(root, views=4).passed == [TRAIN, TRAIN]
    assert Filled(root, views=3).passed == []
    assert Filled(root).passed == []
    other = Filled(root, views=2)
    assert other.plan.maps
    seed_1 = replace(other.plan, maps=replace(other.plan.maps, seed=1))
    fill_maps(["layer4"], seed_1, other.found, other.note)
    assert other.passed == [TRAIN]


def test_of_one_block_the_other_gets_what_it_lacks_and_the_first_nothing_twice(root: Path) -> None:
    first = Filled(root, ("layer4",), views=2)
    files = set(first.tables["layer4"][0].folder.iterdir())
    assert Filled(root, views=2).passed == [ALL, TRAIN]
    assert set(first.tables["layer4"][0].folder.iterdir()) == files


def test_validation_and_test_images_have_no_views(root: Path) -> None:
    filled = Filled(root, views=2)
    for split in ("valid", "test"):
        ids_N32 = filled.found.images.in_split(split).ids_N32
        assert filled.tables["layer4"][0].holds(ids_N32).all()
        assert not filled.tables["layer4"][1].holds(ids_N32).any()


def test_the_size_is_logged_before_a_pass(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "transfer"):
        Filled(root, ("layer4",), views=3)
    assert (
        f"the maps before layer4 of {ALL} images and {2 * TRAIN} views take 147 kB in the store"
        in caplog.text
    )


def test_a_limit_is_held_before_a_pass_over_the_images(root: Path) -> None:
    with pytest.raises(
        UserError, match="more than `max_cache`, 1.0 kB; give fewer `views`, a later block"
    ) as refused:
        Filled(root, views=2, max_cache=1000)
    assert f"the maps before layer4, layer3 of {ALL} images and {TRAIN} views take 332 kB" in str(
        refused.value
    )
    assert not list((root / "store").glob("features/*/*.parquet"))
    numbers = 32 * 4 * 4 + 16 * 8 * 8
    needed = 4 * numbers * (ALL + TRAIN)
    assert Filled(root, views=2, max_cache=needed).passed == [ALL, TRAIN]
    with pytest.raises(UserError, match="give fewer"):
        Filled(root, views=2, max_cache=needed - 1)


def test_images_that_changed_end_it(root: Path) -> None:
    config = RunConfig(data=str(root / "images"), store=root / "store", **SETTINGS, on_bad_image="skip")
    plan = plan_extraction(config)
    found = fill(plan, find(root / "images"), Stopwatch(), silent)
    next((root / "images" / "train").rglob("*.jpg")).write_bytes(b"other")
    with pytest.raises(UserError, match="images changed while they were used"):
        fill_maps(["layer4"], plan, found, silent)
