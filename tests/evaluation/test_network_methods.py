from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from transfer import report
from transfer.cache import inventory
from transfer.config import UNCACHED, RunConfig
from transfer.evaluation import experiment, ladder
from transfer.evaluation.experiment import Experiment
from transfer.evaluation.network_methods import NetworkMethods
from transfer.evaluation.results import Result
from transfer.features.plan import plan_extraction
from transfer.finetuning import checkpoints, method
from transfer.finetuning.adaptation import RATES
from transfer.finetuning.method import find_edges
from transfer.finetuning.rows import MapRows
from transfer.finetuning.training import Training
from transfer.heads.solutions import ranking
from transfer.outputs import folder
from transfer.serving import predictor
from transfer.serving.export import export
from transfer.system import files, schemas
from transfer.system.errors import UserError
from transfer.system.row_storage import is_mapped

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
    if given["unfreeze"]:
        given = {"lr_blocks": (1e-4,), **given}
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
def plain(root: Path) -> Experiment:
    """Heads on frozen features alone."""
    return experiment.compare(settings(root, unfreeze=()))


@pytest.fixture(scope="module")
def out(root: Path, done: Experiment) -> Path:
    (root / "out").mkdir()
    assert folder.save(root / "out", done) == []
    return root / "out"


def answers(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))


def test_it_is_a_row_like_any_other(done: Experiment) -> None:
    result = done.result
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))
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
    monkeypatch.setattr(checkpoints, "Checkpoint", None)
    again = experiment.compare(settings(root)).result
    assert again.method(NAME)["test"] == done.result.method(NAME)["test"]


@pytest.fixture(scope="module")
def searched(root: Path) -> Result:
    """With learning rates of which the largest makes a training diverge."""
    return experiment.compare(settings(root, lr_blocks=(1e-4, 1e-2, 9.0))).result


def test_a_block_is_trained_with_each_of_its_learning_rates(searched: Result, done: Experiment) -> None:
    row, alone = searched.method(NAME), done.result.method(NAME)
    assert [setting["params"]["lr"] for setting in row["sweep"]] == [1e-4, 1e-2, 9.0]
    for split in ("valid", "test"):
        assert row["sweep"][0][split] == alone["sweep"][0][split]
    best = max(row["sweep"], key=lambda setting: setting["valid"]["macro_f1"])
    assert row["best_params"] == best["params"]
    assert row["test"]["macro_f1"] == pytest.approx(best["test"]["macro_f1"])
    assert row["fit_s"] == pytest.approx(sum(setting["fit_s"] for setting in row["sweep"]))


def test_a_training_that_diverges_costs_its_setting_alone(searched: Result) -> None:
    curves = [setting["curve"]["loss"] for setting in searched.method(NAME)["sweep"]]
    assert all(curves[0])
    assert max(loss or 1e9 for loss in curves[2]) > 100
    assert searched.to_json()


@pytest.mark.parametrize(
    ("rates", "scores", "at_edge"),
    [
        ((1e-4, 1e-3), (0.5, 0.4), []),
        ((1e-4, 1e-3, 1e-2), (0.4, 0.5, 0.4), []),
        ((1e-4, 1e-3, 1e-2), (0.4, 0.5, 0.6), ["lr"]),
    ],
)
def test_the_best_of_three_rates_may_be_at_an_end(
    rates: tuple[float, ...], scores: tuple[float, ...], at_edge: list[str]
) -> None:
    rows = [{"macro_f1": score, "accuracy": score} for score in scores]
    assert find_edges(rates, ranking(rows, "macro_f1")[0]) == at_edge


def test_default_learning_rates_are_those_of_what_is_trained(root: Path) -> None:
    given = {"lr_blocks": None, "epochs": 1, "adapt": ("lora:2", "bitfit"), "methods": ("fc",)}
    result = experiment.compare(settings(root, **given)).result
    for name, family in ((NAME, ""), ("lora:layer4", "lora"), ("bitfit:layer4", "bitfit")):
        assert tuple(setting["params"]["lr"] for setting in result.method(name)["sweep"]) == RATES[family]


def test_progress_counts_the_trainings_that_are_not_kept(root: Path, done: Experiment) -> None:
    seen: list[tuple[int, int, str]] = []

    def note(phase: str, done: int, total: int, detail: str = "", *_: object) -> None:
        if phase == "train":
            seen.append((done, total, detail.partition(",")[0]))

    experiment.compare(settings(root, lr_blocks=(2e-4, 1e-4, 3e-4)), note)  # the second is kept
    steps = seen[-1][1] // 2
    assert seen[-1] == (2 * steps, 2 * steps, "")
    assert [one[2] for one in seen if one[2]] == ["learning rate 0.0002"] * steps + [
        "learning rate 0.0003"
    ] * steps
    assert [one[0] for one in seen if one[2]] == [*range(2 * steps)]


@pytest.mark.usefixtures("adapted")
def test_the_store_tells_trainings_apart(root: Path) -> None:
    words = [
        entry.words for entry in inventory.list_entries(root / "store") if entry.kind == checkpoints.KIND
    ]
    assert any(f", {NAME}, learning rate 0.0001, 2 epochs, " in one for one in words)
    assert len({*words}) == len(words)


@pytest.fixture(scope="module")
def adapted(root: Path) -> Experiment:
    return experiment.compare(settings(root, adapt=("lora:4", "bitfit")))


def test_adapted_blocks_are_rows_beside_those_that_are_trained_whole(
    root: Path, adapted: Experiment, plain: Experiment, tmp_path: Path
) -> None:
    result = adapted.result
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))
    assert [one["name"] for one in result.methods][2:] == [NAME, "lora:layer4", "bitfit:layer4"]
    assert [one["best_params"].get("rank") for one in result.methods][2:] == [None, 4, None]
    assert result.config["adapt"] == ["lora:4", "bitfit"]
    assert {(one["a"], one["b"]) for one in result.comparison["pairs"]} >= {("lora:layer4", "bitfit:layer4")}
    assert folder.save(tmp_path, adapted) == []
    rows = [row for row in answers(tmp_path) if row["split"] == "test"]
    for name in ("lora:layer4", "bitfit:layer4"):
        assert name in (tmp_path / "report.html").read_text()
        found = predictor.load(tmp_path, method=name).predict([root / "images" / row["file"] for row in rows])
        assert [one.label for one in found] == [row[name] for row in rows]
        assert export(tmp_path, tmp_path / "exported", format="torch", method=name).check.passed
    plain.save_models(tmp_path / "models")
    assert not list((tmp_path / "models").glob("*layer4*"))


def test_an_adapted_training_is_kept_under_a_key_of_its_own(
    root: Path, adapted: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "Checkpoint", None)
    again = experiment.compare(settings(root, adapt=("bitfit", "lora:4"))).result
    for name in (NAME, "lora:layer4", "bitfit:layer4"):
        assert again.method(name)["test"] == adapted.result.method(name)["test"]


def test_another_run_replaces_its_files_and_says_so(
    out: Path, plain: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    def names() -> list[str]:
        return sorted(path.name for path in (out / "models").glob("unfreeze*"))

    assert names() == ["unfreeze-layer4-blocks.safetensors", "unfreeze-layer4.safetensors"]
    with caplog.at_level(logging.INFO, "transfer"):
        plain.save_models(out / "models")
    assert names() == []
    assert (
        f"removed a file of an earlier run: {out / 'models' / 'unfreeze-layer4.safetensors'}" in caplog.text
    )


@pytest.fixture(scope="module")
def repeated(root: Path) -> Result:
    return experiment.compare(settings(root, methods=("fc",), repeats=2)).result


def test_repeats_train_it_on_every_split(repeated: Result) -> None:
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(repeated.to_json()))
    found = repeated.comparison["repeats"]
    assert [one["name"] for one in found["methods"]] == ["fc", NAME]
    assert [params["epochs"] for params in found["methods"][1]["best_params"]] == [2, 2]
    assert found["methods"][1]["accuracy"][0] != found["methods"][1]["accuracy"][1]
    assert (found["pairs"][0]["a"], found["pairs"][0]["b"]) == ("fc", NAME)
    assert report.verdict(repeated)
    assert report.page(repeated, None, lambda file: None)


def test_on_the_split_of_the_run_a_repeat_is_the_run(
    root: Path, done: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "Checkpoint", None)
    computed: list[int] = []
    real = Training.features

    def features(self: Training, rows: MapRows, *more: Any) -> Any:
        computed.append(len(rows))
        return real(self, rows, *more)

    monkeypatch.setattr(Training, "features", features)
    ends = np.cumsum([len(split.y_N) for split in done.features.splits.values()])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    reports: list[tuple[float, str]] = []
    found = NetworkMethods(settings(root), done.features, plan_extraction(settings(root))).score_splits(
        NAME, [tuple(rows)], len(done.features.classes), lambda *report: reports.append(report)
    )
    row = done.result.method(NAME)
    assert (found["accuracy"], found["macro_f1"]) == ([row["test"]["accuracy"]], [row["test"]["macro_f1"]])
    assert found["best_params"] == [row["best_params"]]
    assert reports[-1] == (1,)
    assert computed == [len(done.features.splits[split].y_N) for split in ("valid", "test")]


def test_what_repeats_take_is_said_before_they_begin(
    root: Path, repeated: Result, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str]] = []

    def note(phase: str, done: int, total: int, detail: str = "", *_: object) -> None:
        if phase == "repeat" and NAME in detail:
            seen.append((detail, caplog.text))

    with caplog.at_level(logging.INFO, "transfer"):
        experiment.compare(settings(root, methods=("fc",), repeats=2, seed=1), note)
    assert re.search(rf"training {NAME} on 2 other splits takes about \d+ min, and [\d.]+ kB", seen[0][1])
    assert any("split 2 of 2, learning rate 0.0001, epoch 2 of 2, loss" in one for one, _ in seen)


def test_repeats_made_again_train_nothing_and_a_store_without_room_is_said_to_be(
    root: Path, repeated: Result, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "Checkpoint", None)  # all of it is kept
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    found = experiment.compare(settings(root, methods=("fc",), repeats=2)).result.comparison["repeats"]
    assert found["methods"] == repeated.comparison["repeats"]["methods"]
    assert "the store has 1.0 kB left" in caplog.text


def test_a_split_that_can_t_be_trained_is_named_in_the_result(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = method.train_blocks, itertools.count()

    def fail(*args: Any, **words: Any) -> Any:
        if next(calls) == 2:
            raise MemoryError("no room")
        return real(*args, **words)

    monkeypatch.setattr(method, "train_blocks", fail)
    result = experiment.compare(settings(root, methods=("fc",), repeats=2)).result
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))
    assert result.comparison["repeats"]["left_out"] == {NAME: "no room"}
    assert f"{NAME} is left out of the other splits: no room" in "\n".join(report.notes(result))


def test_views_of_repeats_are_made_of_all_images_and_count(root: Path) -> None:
    result = experiment.compare(settings(root, views=2, repeats=2, methods=("fc",))).result
    assert [one["name"] for one in result.comparison["repeats"]["methods"]] == ["fc", NAME]
    for repeats, views in ((0, 72), (2, 144)):
        with pytest.raises(UserError, match=f"of 72 images and {views} views take .* more than `max_cache`"):
            experiment.compare(settings(root, views=3, repeats=repeats, max_cache=1000))


def test_a_group_left_out_may_be_all_that_there_is_of_a_class(
    tmp_path: Path, make_images: Callable[..., Path]
) -> None:
    make_images(tmp_path / "made", train=12, valid=6, test=6)
    for path in sorted((tmp_path / "made").rglob("*.jpg")):
        split, name, number = *path.parts[-3:-1], int(path.stem)
        day = 9 if name == "class0" else number % 3
        target = tmp_path / "images" / split / name / f"day{day}-{split}{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    config = settings(tmp_path, methods=("fc",), groups="^day[0-9]", repeats="groups")
    found = experiment.compare(config).result.comparison["repeats"]
    assert found["names"] == ["day0", "day1", "day2", "day9"]
    for one in found["methods"]:
        assert one["accuracy"][3] == 0
        assert min(one["accuracy"][:3]) > 0


def test_it_may_be_the_best_of_the_ladder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer.evaluation import comparison

    monkeypatch.setattr(comparison, "ranking", lambda rows, select: [2, 0, 1])
    climbed = experiment.compare(settings(root)).result.comparison["ladder"]
    assert climbed[-1]["step"] == "train blocks"


@pytest.fixture(scope="module")
def uncached(root: Path) -> Experiment:
    return experiment.compare(
        settings(root, unfreeze=(), bn="train", methods=("fc-lab", "fc"), batch_size=16)
    )


def test_the_network_in_train_mode_is_a_row_like_any_other(
    root: Path, uncached: Experiment, plain: Experiment, tmp_path: Path
) -> None:
    result = uncached.result
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))
    assert [one["name"] for one in result.methods] == ["fc-lab", "fc", UNCACHED]
    assert result.config["bn"] == "train"
    row, lab = result.method(UNCACHED), result.method("fc-lab")
    assert [one["params"] for one in row["sweep"]] == [one["params"] for one in lab["sweep"]]
    assert row["kind"] != lab["kind"]
    assert folder.save(tmp_path, uncached) == []
    text = report.markdown(result)
    assert text.count("fc-lab-uncached is fc-lab with the network in train mode") == 1
    assert "points of macro F1 against fc-lab" in text
    rows = [row for row in answers(tmp_path) if row["split"] == "test"]
    found = predictor.load(tmp_path, method=UNCACHED).predict([root / "images" / row["file"] for row in rows])
    assert [one.label for one in found] == [row[UNCACHED] for row in rows]
    assert export(tmp_path, tmp_path / "exported", format="torch", method=UNCACHED).check.passed
    assert sorted(path.name for path in (tmp_path / "models").glob("fc-lab-*")) == [
        "fc-lab-uncached-blocks.safetensors",
        "fc-lab-uncached.safetensors",
    ]
    plain.save_models(tmp_path / "models")
    assert not list((tmp_path / "models").glob("fc-lab-*"))


def test_a_second_run_in_train_mode_trains_nothing_again(
    root: Path, uncached: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "Checkpoint", None)
    again = experiment.compare(uncached.config).result
    assert again.method(UNCACHED)["test"] == uncached.result.method(UNCACHED)["test"]


def test_repeats_run_the_network_in_train_mode_on_every_split(uncached: Experiment) -> None:
    config = dataclasses.replace(uncached.config, methods=("fc-lab",), repeats=2)
    found = experiment.compare(config).result.comparison["repeats"]
    assert [one["name"] for one in found["methods"]] == ["fc-lab", UNCACHED]
    assert all(0 < score <= 1 for score in found["methods"][1]["accuracy"])


def test_the_ladder_to_the_network_in_train_mode_has_one_step() -> None:
    steps = list(ladder.steps(RunConfig(), UNCACHED))
    assert [step.name for step in steps] == ["fc-lab", "batch norm in train mode"]


def test_the_ladder_names_what_is_trained() -> None:
    found = [list(ladder.steps(RunConfig(), name))[-1].name for name in ("lora:layer4", "bitfit:layer4")]
    assert found == ["train low-rank updates of blocks", "train biases of blocks"]


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
        ({"unfreeze": (), "bn": "train", "layers": ("layer3",)}, "`bn` changes the network, which `layers`"),
        ({"unfreeze": (), "bn": "train", "backbone": "timm:test_vit"}, "test_vit has no batch norm"),
        ({"unfreeze": (), "views": 2}, "`views` concerns blocks that are trained"),
        ({"unfreeze": (), "max_cache": 10**9}, "`max_cache` concerns blocks that are trained"),
        ({"views": 0}, "`views` is 0; give a whole number from 1 up"),
        ({"views": 2, "decoder": "nvjpeg"}, "`views` are made of what Pillow decodes"),
        ({"max_cache": 1000}, "take .* kB in the store, more than `max_cache`, 1.0 kB; give"),
    ],
)
def test_what_cannot_be_is_refused_before_an_image_is_read(
    root: Path, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        experiment.compare(settings(root, **given))


def test_views_are_trained_on_and_named_in_the_result(root: Path, done: Experiment) -> None:
    result = experiment.compare(settings(root, views=3)).result
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))
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
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    result = experiment.compare(settings(root, unfreeze=("layer2",))).result
    assert (
        "the store has 0 bytes left; name a later block" in result.comparison["left_out"]["unfreeze:layer2"]
    )


@pytest.mark.parametrize(("run", "name"), [("done", NAME), ("uncached", UNCACHED)])
def test_features_of_blocks_are_held_on_disk_where_the_others_are(
    run: str, name: str, request: pytest.FixtureRequest
) -> None:
    inside = request.getfixturevalue(run)
    outside = experiment.compare(dataclasses.replace(inside.config, from_disk=True))
    for split, own in inside.fitted[name].splits.items():
        mapped = outside.fitted[name].splits[split]
        assert is_mapped(mapped.x_ND)
        np.testing.assert_array_equal(mapped.x_ND, own.x_ND)
    assert outside.result.method(name)["test"] == inside.result.method(name)["test"]
