from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.features.test_extract import config
from tests.samples import MakeImages
from transfer.data import dataset
from transfer.features.extract import extract
from transfer.features.plan import plan_extraction
from transfer.features.reading import read_alone
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets")]


def test_a_part_of_the_images_has_the_features_that_all_have(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images", train=20)
    found, plan = dataset.find(tmp_path / "images"), plan_extraction(config(tmp_path))
    read = read_alone(found, config(tmp_path), silent)
    rows_N = np.arange(len(read.indexed)) % 4 == 0
    rows_N &= read.indexed.split_N < 2
    watch = Stopwatch()
    part = extract(plan, read, watch, silent, rows_N)
    assert part.extraction.computed == rows_N.sum()
    assert len(part.splits["test"].y_N) == 0
    assert watch.seconds["read"] == [read.seconds]
    whole = extract(plan, read, Stopwatch(), silent)
    assert whole.extraction.computed == (~rows_N).sum()
    assert whole.extraction.table.key == part.extraction.table.key
    np.testing.assert_array_equal(part.x_ND, whole.x_ND[rows_N])


def test_bad_images_are_left_out_once_for_all_networks(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "images")
    (tmp_path / "images/train/class0/0.jpg").write_bytes(b"broken")
    found = dataset.find(tmp_path / "images")
    read = read_alone(found, config(tmp_path, on_bad_image="skip"), silent)
    assert list(read.skipped) == ["train/class0/0.jpg"]
    for backbone in ("resnet18", "resnet34"):
        plan = plan_extraction(config(tmp_path, backbone=backbone, on_bad_image="skip"))
        assert extract(plan, read, Stopwatch(), silent).skipped == read.skipped
