from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import WriteRun
from tests.samples import EXAMPLE
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.report.runs import Run, common_and_different, name_runs, read_runs


@pytest.fixture
def example() -> Result:
    return results.load(EXAMPLE)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/x/a/result.json", "/x/b/result.json"], ["a", "b"]),
        (["/x/a/result.json", "/y/a/result.json", "/x/b/result.json"], ["x/a", "y/a", "b"]),
        (["/x/1.json", "/x/2.json", "/x/2/result.json"], ["1", "2", "2 (2)"]),
        (["/x/a/result.json"] * 2, ["a", "a (2)"]),
    ],
)
def test_results_are_named_by_as_much_path_as_tells_them_apart(files: list[str], names: list[str]) -> None:
    assert name_runs([Path(file) for file in files]) == names


def test_given_features_are_told_apart_by_their_contents(example: Result) -> None:
    def given(sha256: str) -> Run:
        backbone = {**example.backbone, "name": "given features", "weights": "no", "weights_sha256": sha256}
        features = {**example.features, "given": "f.npz"}
        return Run(sha256, dataclasses.replace(example, backbone=backbone, features=features))

    assert common_and_different([given("a" * 64), given("b" * 64)])[1] == {
        "weights": ["features aaaaaaaa", "features bbbbbbbb"]
    }


def test_a_result_below_the_current_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_runs([Path("result.json"), Path("other/result.json")]) == [tmp_path.name, "other"]


def test_predictions_beside_a_result_are_read(write_run: WriteRun) -> None:
    with_some, without = read_runs([write_run("a"), write_run("b", predictions=False)])
    assert with_some.answers is not None
    assert len(with_some.answers.labels) == 36
    assert with_some.fault is None
    assert (without.answers, without.fault) == (None, None)


def test_a_pipe_of_the_name_of_predictions_is_not_waited_for(write_run: WriteRun) -> None:
    file = write_run("a", predictions=False)
    os.mkfifo(file.parent / "predictions.csv")
    assert read_runs([file])[0].answers is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("svm:score", "ridge:score", None),
        ("split,file", "file,split", "can't be read as predictions"),
        ("c,c,", "c,a,", "is of another result: its scores differ"),
        ("test,test/a/image 0.jpg", "valid,test/a/image 0.jpg", "is of another result: its scores differ"),
    ],
)
def test_predictions_that_are_not_those_of_the_result_are_left_out(
    old: str, new: str, fault: str | None, write_run: WriteRun
) -> None:
    file = write_run("a", edit=lambda result, text: (result, text.replace(old, new)))
    run = read_runs([file])[0]
    if fault is None:
        assert run.answers
    else:
        assert run.answers is None
        assert fault in str(run.fault)


def test_what_is_common_is_separated_from_what_differs(example: Result) -> None:
    other = dataclasses.replace(
        example,
        backbone={**example.backbone, "name": "resnet50", "input_size": [240, 800]},
        created="2026-12-01T00:00:00+00:00",
        config={**example.config, "groups": "^day"},
    )
    common, different = common_and_different([Run("a", example), Run("b", other)])
    assert {"old protocol", "noise", "random weights", "bf16"} <= set(common)
    assert different == {
        "backbone": ["resnet18", "resnet50"],
        "size": ["48x64", "240x800"],
        "groups": ["", "groups ^day"],
        "date": ["2026-11-23", "2026-12-01"],
    }


def test_other_layers_and_ways_of_resizing_are_distinguished(example: Result) -> None:
    other = dataclasses.replace(
        example, backbone={**example.backbone, "layers": ["layer3", "layer4"], "resize": "crop"}
    )
    _, different = common_and_different([Run("a", example), Run("b", other)])
    assert different == {"resize": ["", "images cropped"], "layers": ["", "layers layer3 + layer4"]}


def test_other_decoders_are_distinguished(example: Result) -> None:
    other = dataclasses.replace(example, engine={**example.engine, "decoder": "nvjpeg"})
    _, different = common_and_different([Run("a", example), Run("b", other)])
    assert different == {"decoder": ["", "decoded by nvjpeg"]}


def test_other_transforms_are_distinguished(example: Result) -> None:
    other = dataclasses.replace(example, config={**example.config, "transform": ["l2", "pca:8"]})
    _, different = common_and_different([Run("a", example), Run("b", other)])
    assert different == {"transform": ["", "features by l2, pca:8"]}
    common, different = common_and_different([Run("a", other), Run("b", other)])
    assert "features by l2, pca:8" in common
    assert not different


def test_weights_of_one_name_and_other_contents_differ(example: Result) -> None:
    def with_weights(network: str, sha256: str) -> Run:
        return Run(
            "a",
            dataclasses.replace(
                example, backbone={**example.backbone, "name": network, "weights_sha256": sha256}
            ),
        )

    same_network = [with_weights("resnet18", "a" * 64), with_weights("resnet18", "b" * 64)]
    assert common_and_different(same_network)[1] == {
        "weights": ["random weights aaaaaaaa", "random weights bbbbbbbb"]
    }
    other_network = [with_weights("resnet18", "a" * 64), with_weights("resnet50", "b" * 64)]
    assert set(common_and_different(other_network)[1]) == {"backbone"}


def test_a_gpu_is_part_of_the_machine_where_it_was_used(example: Result) -> None:
    gpus = {**example.environment, "gpus": [{"name": "H100"}]}

    def on(device: str) -> Run:
        engine: dict[str, Any] = {**example.engine, "device": device}
        return Run(device, dataclasses.replace(example, environment=gpus, engine=engine))

    _, different = common_and_different([on("cpu"), on("cuda")])
    assert different["machine"] == ["AMD EPYC", "H100, AMD EPYC"]


def test_the_methods_shown_are_the_best_of_both_kinds_and_of_all(example: Result) -> None:
    comparison = {**example.comparison, "best": "fc-lab", "best_of_kind": {"SVM": "svm", "fine-tuning": "fc"}}
    run = Run("a", dataclasses.replace(example, comparison=comparison))
    assert [method["name"] for method in run.shown_methods()] == ["fc-lab", "fc", "svm"]
    assert run.best["name"] == "fc-lab"
