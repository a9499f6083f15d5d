from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.refusals import refusal
from transfer.config import RunConfig
from transfer.data.random_splits import SPLITS
from transfer.features.extract import Features, find_features
from transfer.features.given import hash_rows
from transfer.features.image_sets import features_are_given
from transfer.system.progress import silent
from transfer.system.row_storage import is_mapped
from transfer.system.timer import Stopwatch


def features(root: Path, arrays: dict[str, Any], **settings: Any) -> Features:
    np.savez(root / "features.npz", **arrays)
    config = RunConfig(data=str(root / "features.npz"), store=root / "store", **settings)
    assert features_are_given(config)
    return find_features(config, Stopwatch(), silent)[1]


def whole(count: int = 60, seed: int = 0) -> dict[str, Any]:
    x_ND = np.random.default_rng(seed).normal(size=(count, 4))
    return {"X": x_ND, "y": np.arange(count) % 3}


def test_rows_keep_their_features_and_labels_in_the_splits_that_are_drawn(tmp_path: Path) -> None:
    arrays = whole()
    found = features(tmp_path, arrays)
    assert [len(found.splits[split].y_N) for split in SPLITS] == [42, 6, 12]
    rows = [int(name) for name in found.images.samples.names]
    assert sorted(rows) == list(range(60))
    np.testing.assert_array_equal(found.x_ND, arrays["X"][rows].astype(np.float32))
    np.testing.assert_array_equal(found.images.label_N, arrays["y"][rows])
    np.testing.assert_array_equal(np.concatenate([found.splits[split].x_ND for split in SPLITS]), found.x_ND)
    np.testing.assert_array_equal(
        np.concatenate([found.splits[split].y_N for split in SPLITS]), arrays["y"][rows]
    )
    assert not (tmp_path / "store").exists()


def test_features_on_disk_are_those_in_memory(tmp_path: Path) -> None:
    inside, outside = features(tmp_path, whole()), features(tmp_path, whole(), from_disk=True)
    assert is_mapped(outside.x_ND)
    np.testing.assert_array_equal(outside.x_ND, inside.x_ND)
    np.testing.assert_array_equal(outside.images.ids_N32, inside.images.ids_N32)
    assert list((tmp_path / "store").iterdir()) == []


def test_splits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    names = [list(features(tmp_path, whole(), seed=seed).images.samples.names) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_equal_rows_are_copies_and_share_a_split(tmp_path: Path) -> None:
    arrays = whole()
    arrays["X"][30:] = arrays["X"][:30]
    images = features(tmp_path, arrays).images
    split_of = dict(zip(map(int, images.samples.names), images.split_N.tolist(), strict=True))
    assert [split_of[row] for row in range(30)] == [split_of[row] for row in range(30, 60)]


def test_groups_stay_whole(tmp_path: Path) -> None:
    images = features(tmp_path, whole() | {"groups": np.arange(60) // 6}).images
    splits = {}
    assert images.group_N is not None
    for group, split in zip(images.group_N.tolist(), images.split_N.tolist(), strict=True):
        splits.setdefault(group, set()).add(split)
    assert all(len(own) == 1 for own in splits.values())


def test_classes_are_in_the_order_given_without_those_that_have_no_row(tmp_path: Path) -> None:
    arrays = whole() | {"classes": ["z", "unused", "a", "b"]}
    arrays["y"] = np.array([0, 2, 3])[arrays["y"]]
    np.savez(tmp_path / "features.npz", **arrays)
    images, found = find_features(RunConfig(data=str(tmp_path / "features.npz")), Stopwatch(), silent)
    assert found.classes == images.classes == ("z", "a", "b")
    assert images.empty_classes == ("unused",)


def test_rows_are_hashed_by_their_bytes() -> None:
    ids_N32 = hash_rows(np.array([[1, 2], [1, 3], [1, 2]], np.float32))
    assert ids_N32.shape == (3, 32)
    assert (ids_N32[0] == ids_N32[2]).all()
    assert (ids_N32[0] != ids_N32[1]).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weights": "imagenet"}, "`weights` is about images, and"),
        ({"backbone": "resnet18"}, "`backbone` is about images"),
        ({"size": (48, 64)}, "`size` is about images"),
        ({"on_bad_image": "skip"}, "`on_bad_image` is about images"),
        ({"columns": {"label": "y"}}, "`columns` names columns of a table"),
        ({"repeats": "groups"}, "`repeats='groups'` needs groups, and"),
    ],
)
def test_settings_that_features_do_not_have_are_refused(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    assert words in refusal(features, tmp_path, whole(), **settings)
