from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from tests.evaluation.searches import Centroids
from tests.samples import MakeImages
from transfer.config import RunConfig
from transfer.evaluation import learning_curve
from transfer.evaluation.learning_curve import draw_points
from transfer.heads.registry import METHODS, Method
from transfer.report.curve import heading
from transfer.system import schemas
from transfer.system.errors import UserError
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

LABELS = np.repeat([0, 1, 2], [3, 12, 60])


def test_sizes_rise_to_the_whole_split_and_small_classes_give_all_they_have() -> None:
    points = draw_points(LABELS, 3, 4, seed=0)
    assert [point.per_class for point in points] == [1, 2, 5, 10, 20, 50, None]
    assert [len(point.draws) for point in points] == [4, 4, 4, 4, 4, 4, 1]
    assert [point.smaller_classes for point in points] == [0, 0, 1, 1, 2, 2, 0]
    for point in points[:-1]:
        for rows in point.draws:
            assert point.per_class is not None
            assert np.bincount(LABELS[rows]).tolist() == [min(n, point.per_class) for n in (3, 12, 60)]
            assert (np.diff(rows) > 0).all()
    assert points[-1].draws[0].tolist() == list(range(len(LABELS)))


def test_a_smaller_set_is_part_of_the_larger_one_of_its_draw() -> None:
    points = draw_points(LABELS, 3, 4, seed=0)
    for smaller, larger in itertools.pairwise(points[:-1]):
        for own, next_one in zip(smaller.draws, larger.draws, strict=True):
            assert set(own) < set(next_one)


def test_draws_differ_and_follow_from_the_seed() -> None:
    def rows(seed: int, draws: int = 3) -> list[list[int]]:
        return [own.tolist() for own in draw_points(LABELS, 3, draws, seed=seed)[3].draws]

    assert len({tuple(own) for own in rows(0)}) == 3
    assert rows(0) == rows(0)
    assert rows(0) != rows(1)
    assert rows(0, draws=5)[:3] == rows(0)  # more draws leave the first as they were


@pytest.mark.parametrize(
    ("most", "sizes"), [(2, [1]), (5, [1, 2]), (6, [1, 2, 5]), (101, [1, 2, 5, 10, 20, 50, 100])]
)
def test_no_size_is_that_of_the_whole_split(most: int, sizes: list[int]) -> None:
    points = draw_points(np.repeat([0, 1], [most, 1]), 2, 2, seed=0)
    assert [point.per_class for point in points] == [*sizes, None]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(
        data=str(tmp_path / "images"),
        backbone="resnet18",
        weights="random",
        store=tmp_path / "store",
        device="cpu",
        methods=("near", "far"),
    )


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings in (("near", {}), ("far", {"shift": 50.0}), ("none", {"refuse": True})):
        method = Method(name, name, name, lambda _, own=settings: Centroids(**own))  # type: ignore[misc]
        monkeypatch.setitem(METHODS, name, method)


def measure(config: RunConfig, draws: int = 3, **settings: Any) -> dict[str, Any]:
    watch = Stopwatch()
    image_set, features = learning_curve.prepare(config, draws, watch, silent)
    return learning_curve.measure(config, draws, image_set, features, watch, **settings)


@pytest.mark.slow
@pytest.mark.usefixtures("slim_resnets", "timed_once", "methods")
class TestOfImages:
    def test_the_record_keeps_the_published_schema(self, config: RunConfig, make_images: MakeImages) -> None:
        make_images(Path(config.data), train=12)
        steps: list[Any] = []
        record = measure(config, on_progress=lambda *step: steps.append(step))
        text = json.dumps(record, allow_nan=False)
        jsonschema_rs.validate(schemas.load_schema("curve"), json.loads(text))
        assert [point["images"] for point in record["points"]] == [3, 6, 15, 30, 36]
        for method in record["methods"]:
            assert [len(point["accuracy"]) for point in method["points"]] == [3, 3, 3, 3, 1]
        assert steps[0][:3] == ("fit", 0, 26)
        assert steps[-1] == ("fit", 26, 26)

    def test_the_last_point_is_the_fit_to_the_whole_training_split(
        self, config: RunConfig, make_images: MakeImages
    ) -> None:
        make_images(Path(config.data))
        watch = Stopwatch()
        _, features = learning_curve.prepare(config, 2, watch, silent)
        train, valid, test = (features.splits[split] for split in ("train", "valid", "test"))
        search = Centroids().fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
        expected = float((search.predict(test.x_ND) == test.y_N).mean())
        assert measure(config, 2)["methods"][0]["points"][-1]["accuracy"] == [expected]

    def test_fits_see_training_and_validation_rows_alone(
        self, config: RunConfig, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_images(Path(config.data))
        seen: list[list[Any]] = []

        class Watched(Centroids):
            def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Any:
                seen.append([X, y, X_valid, y_valid])
                return super().fit(X, y, X_valid, y_valid)

        monkeypatch.setitem(METHODS, "near", Method("near", "near", "near", lambda _: Watched()))  # type: ignore[arg-type,return-value]
        watch = Stopwatch()
        image_set, features = learning_curve.prepare(config, 2, watch, silent)
        learning_curve.measure(replace(config, methods=("near",)), 2, image_set, features, watch)
        train, valid = features.splits["train"], features.splits["valid"]
        label_of = {row.tobytes(): label for row, label in zip(train.x_ND, train.y_N, strict=True)}
        assert [len(y) for _, y, _, _ in seen] == [3, 3, 6, 6, 15, 15, 24]
        for X, y, X_valid, y_valid in seen:
            assert [label_of[row.tobytes()] for row in X] == y.tolist()
            assert (X_valid == valid.x_ND).all()
            assert (y_valid == valid.y_N).all()

    def test_layers_and_resizing_are_recorded(self, config: RunConfig, make_images: MakeImages) -> None:
        make_images(Path(config.data))
        record = measure(replace(config, layers=("layer3",), resize="crop"), 2)
        jsonschema_rs.validate(schemas.load_schema("curve"), record)
        assert (record["backbone"]["layers"], record["backbone"]["resize"]) == (["layer3"], "crop")
        assert heading(record).endswith("weights), images cropped, layers layer3")

    def test_each_training_set_has_a_transform_of_its_own(
        self, config: RunConfig, make_images: MakeImages
    ) -> None:
        make_images(Path(config.data))
        record = measure(replace(config, transform=("l2", "pca:8", "whiten")), 2)
        jsonschema_rs.validate(schemas.load_schema("curve"), record)
        assert record["config"]["transform"] == ["l2", "pca:8", "whiten"]
        assert record["points"][0]["images"] == 3  # they have two components
        with pytest.raises(UserError, match="pca:24, but 24 training images with"):
            measure(replace(config, transform=("pca:24",)), 2)
        with pytest.raises(UserError, match="computed in memory, and these features are on disk"):
            measure(replace(config, transform=("l2",), from_disk=True), 2)

    def test_a_method_that_fails_is_left_out(self, config: RunConfig, make_images: MakeImages) -> None:
        make_images(Path(config.data))
        record = measure(replace(config, methods=("none", "near")))
        assert [method["name"] for method in record["methods"]] == ["near"]
        assert record["left_out"] == {"none": "these images are refused"}
        with pytest.raises(UserError, match="these images are refused"):
            measure(replace(config, methods=("none",)))

    @pytest.mark.parametrize("draws", [1, 0, -1, 1001])
    def test_the_number_of_draws_is_checked(
        self, config: RunConfig, make_images: MakeImages, draws: int
    ) -> None:
        make_images(Path(config.data))
        with pytest.raises(UserError, match=f"`draws` is {draws}; give a whole number from 2 to 1000"):
            measure(config, draws)
        assert not config.store.exists()

    def test_one_training_image_of_each_class_makes_no_curve(
        self, config: RunConfig, make_images: MakeImages
    ) -> None:
        make_images(Path(config.data), train=1)
        with pytest.raises(UserError, match="no class has two training images"):
            measure(config)

    def test_with_few_images_nothing_is_extrapolated(
        self, config: RunConfig, make_images: MakeImages
    ) -> None:
        make_images(Path(config.data), train=2)
        record = measure(config)
        assert [point["images"] for point in record["points"]] == [3, 6]
        assert "too few points" in record["methods"][0]["extrapolation"]["macro_f1"]["reason"]


@pytest.mark.slow
@pytest.mark.usefixtures("slim_resnets", "timed_once")
def test_every_method_can_be_measured(config: RunConfig, make_images: MakeImages) -> None:
    make_images(Path(config.data), train=3)
    record = measure(replace(config, methods=tuple(METHODS), epochs=1), 2)
    assert [method["name"] for method in record["methods"]] == list(METHODS)
