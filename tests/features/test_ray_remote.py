"""Workers of a Ray cluster with images and the store on an object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.object_store import Bucket
from transfer.config import RunConfig
from transfer.features import image_sets
from transfer.features.extract import Features, extract
from transfer.features.plan import plan_extraction
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own, of many kinds


def test_features_of_a_bucket_are_those_of_a_folder_and_computed_once(
    bucket: Bucket, tmp_path: Path, make_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    photos = make_images(tmp_path / "photos", classes=2)

    def gathered(data: str, store: str, on: str) -> Features:
        config = RunConfig(
            data=data,
            store=store,  # type: ignore[arg-type]
            backbone="resnet18",
            weights="random",
            device="cpu",
            engine="eager",
            precision="fp32",
            on=on,
            workers=2 if on == "ray" else None,
        )
        found = image_sets.find_images(config, Stopwatch(), silent)
        return extract(plan_extraction(config), found, Stopwatch(), silent)

    here = gathered(str(photos), str(tmp_path / "store"), "local")
    url, store = bucket.put_folder(photos, "photos"), f"{bucket.url}/store"
    there = gathered(url, store, "ray")
    np.testing.assert_array_equal(there.x_ND, here.x_ND)
    assert there.extraction.computed == here.extraction.computed > 0
    assert gathered(url, store, "local").extraction.computed == 0
