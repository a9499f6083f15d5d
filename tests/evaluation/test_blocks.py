from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from transfer import report
from transfer.config import RunConfig
from transfer.evaluation import experiment
from transfer.evaluation.experiment import Experiment
from transfer.finetuning import method as method_module
from transfer.outputs import folder
from transfer.serving import predictor
from transfer.serving.export import export
from transfer.system import schemas
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]
NAME = "unfreeze:layer4"


def settings(root: Path, **given: Any) -> RunConfig:
    own = {
        "backbone": "resnet34",
        "weights": "random",
        "device": "cpu",
        "engine": "eager",
        "precision": "fp32",
    }
    given = {"methods": ("fc-lab", "fc"), "unfreeze": ("layer4",), "epochs": 2, "repeats": 0, **own, **given}
    return RunConfig(data=str(root / "images"), store=root / "store", **given)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_images: Callable[..., Path]) -> Path:
    path = tmp_path_factory.mktemp("blocks")
    make_images(path / "images", train=12, valid=6, test=6)
    return path


@pytest.fixture(scope="module")
def done(root: Path) -> Experiment:
    return experiment.compare(settings(root))


@pytest.fixture(scope="module")
def out(root: Path, done: Experiment) -> Path:
    (root / "out").mkdir()
    assert folder.save(root / "out", done) == []
    return root / "out"


def answers(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))


def test_it_is_a_row_like_any_other(done: Experiment) -> None:
    result = done.result
    jsonschema_rs.validate(schemas.schema("result"), json.loads(result.to_json()))
    assert [one["name"] for one in result.methods] == ["fc-lab", "fc", NAME]
    assert {(pair["a"], pair["b"]) for pair in result.comparison["pairs"]} >= {("fc", NAME)}
    assert result.config["unfreeze"] == ["layer4"]
    row = result.method(NAME)
    assert row["best_params"]["epochs"] == 2
    assert len(row["sweep"][0]["curve"]["loss"]) == 2
    assert row["fit_s"] > 0
    assert {"maps", "train"} <= result.seconds.keys()


def test_it_is_in_the_report_the_page_and_the_predictions(out: Path, done: Experiment) -> None:
    assert NAME in report.markdown(done.result)
    assert NAME in (out / "report.html").read_text()
    rows = answers(out)
    test = [row for row in rows if row["split"] == "test"]
    right = np.mean([row[NAME] == row["label"] for row in test])
    assert right == pytest.approx(done.result.method(NAME)["test"]["accuracy"])
    assert all(0 <= float(row[f"{NAME}:score"]) <= 1 for row in rows)


def test_a_saved_model_predicts_what_the_run_did(root: Path, out: Path) -> None:
    model = predictor.load(out, method=NAME)
    rows = [row for row in answers(out) if row["split"] == "test"]
    found = model.predict([root / "images" / row["file"] for row in rows])
    assert [one.label for one in found] == [row[NAME] for row in rows]
    assert [one.probability for one in found] == pytest.approx(
        [float(row[f"{NAME}:score"]) for row in rows], abs=1e-3
    )
    assert export(out, root / "exported", format="torch", method=NAME).check.passed


def test_a_second_run_trains_nothing_again(
    root: Path, done: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_module, "Checkpoint", None)
    again = experiment.compare(settings(root)).result
    assert again.method(NAME)["test"] == done.result.method(NAME)["test"]


def test_another_run_replaces_its_files(root: Path, out: Path) -> None:
    def names() -> list[str]:
        return sorted(path.name for path in (out / "models").glob("unfreeze*"))

    assert names() == ["unfreeze-layer4.blocks.safetensors", "unfreeze-layer4.safetensors"]
    experiment.compare(settings(root, unfreeze=())).save_models(out / "models")
    assert names() == []


def test_repeats_leave_it_out_and_say_so(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = experiment.compare(settings(root, methods=("fc",), repeats=2)).result
    assert [one["name"] for one in result.comparison["repeats"]["methods"]] == ["fc"]
    assert f"repeats leave out what trains blocks: {NAME}" in caplog.text
    assert report.verdict(result)
    assert report.page(result, None, lambda file: None)


def test_it_may_be_the_best_of_the_ladder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer.evaluation import comparison

    monkeypatch.setattr(comparison, "ranking", lambda rows, select: [2, 0, 1])
    climbed = experiment.compare(settings(root)).result.comparison["ladder"]
    assert climbed[-1]["step"] == "train blocks"


def test_a_training_that_fails_costs_the_others_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transfer.finetuning.memory.available_bytes", lambda: 1)
    result = experiment.compare(settings(root, unfreeze=("layer3",))).result
    assert [one["name"] for one in result.methods] == ["fc-lab", "fc"]
    assert "training on one image takes" in result.comparison["left_out"]["unfreeze:layer3"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"unfreeze": ("layer5",)}, "no layer 'layer5'; did you mean layer"),
        ({"unfreeze": ("layer4", "layer4")}, "give each once"),
        ({"layers": ("layer3",)}, "`layers` leaves as it is"),
        ({"precision": "int8"}, "`precision='int8'` leaves as it is"),
        ({"unfreeze": (), "views": 2}, "`views` concerns blocks that are trained"),
        ({"unfreeze": (), "max_cache": 10**9}, "`max_cache` concerns blocks that are trained"),
        ({"views": 0}, "`views` is 0; give a whole number from 1 up"),
        ({"views": 2, "decoder": "nvjpeg"}, "`views` are made of what Pillow decodes"),
        ({"max_cache": 1000}, "take 0.00 GB in the store, more than `max_cache`"),
    ],
)
def test_what_cannot_be_is_refused_before_an_image_is_read(
    root: Path, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        experiment.compare(settings(root, **given))


def test_views_are_trained_on_and_named_in_the_result(root: Path, done: Experiment) -> None:
    result = experiment.compare(settings(root, views=3)).result
    jsonschema_rs.validate(schemas.schema("result"), json.loads(result.to_json()))
    assert result.config["views"] == 3
    assert "views" not in done.result.config
    row, before = result.method(NAME), done.result.method(NAME)
    assert row["best_params"]["views"] == 3
    assert "views" not in before["best_params"]
    assert row["sweep"][0]["curve"]["loss"] != before["sweep"][0]["curve"]["loss"]
    for name in ("fc-lab", "fc"):  # heads on frozen features have none
        assert result.method(name)["test"] == done.result.method(name)["test"]


def test_of_several_blocks_one_may_fail(
    root: Path, monkeypatch: pytest.MonkeyPatch, done: Experiment
) -> None:
    from transfer.features import fill_maps

    real = fill_maps.count_numbers

    def fail(weights: Any, maps: Any, size: Any) -> int:
        if maps[0].block == "layer3":
            raise UserError("layer3 can't be cut")
        return real(weights, maps, size)

    monkeypatch.setattr(fill_maps, "count_numbers", fail)
    result = experiment.compare(settings(root, unfreeze=("layer3", "layer4"), seed=1)).result
    assert [one["name"] for one in result.methods] == ["fc-lab", "fc", NAME]
    assert result.comparison["left_out"] == {"unfreeze:layer3": "layer3 can't be cut"}


def test_groups_are_kept_together_in_its_splits_and_intervals(
    tmp_path: Path, make_images: Callable[..., Path]
) -> None:
    make_images(tmp_path / "made", train=12, valid=6, test=6)
    for path in sorted((tmp_path / "made").rglob("*.jpg")):  # class folders alone: splits are drawn
        split, name, number = *path.parts[-3:-1], int(path.stem)
        target = tmp_path / "images" / name / f"day{number % 6}-{split}{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    done = experiment.compare(settings(tmp_path, groups="^day[0-9]", views=2))
    assert NAME in [one["name"] for one in done.result.methods]
    done.save_predictions(tmp_path / "predictions.csv")
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    splits = {(row["group"], row["split"]) for row in rows}
    assert len(splits) == len({group for group, _ in splits}) == 6
    test = [row for row in rows if row["split"] == "test"]
    right = np.mean([row[NAME] == row["label"] for row in test])
    assert right == pytest.approx(done.result.method(NAME)["test"]["accuracy"])


def test_maps_that_the_disk_has_no_room_for_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer.features import maps

    monkeypatch.setattr(maps.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    result = experiment.compare(settings(root, unfreeze=("layer2",))).result
    assert (
        "the store has 0.00 GB left; name a later block" in result.comparison["left_out"]["unfreeze:layer2"]
    )
