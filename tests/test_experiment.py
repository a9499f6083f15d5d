from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from transfer import experiment, images, scores
from transfer.config import RunConfig, UserError
from transfer.heads import METHODS
from transfer.results import Result, schema

MakeImages = Callable[..., Path]


def run(root: Path, **settings: Any) -> Result:
    given = {"backbone": "resnet18", "weights": "random", "device": "cpu", **settings}
    return experiment.run(
        RunConfig(data=str(root / "images"), store=root / "store", **given), lambda *_: None
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("valid", 6), ("test", 8)):
        for c in range(3):
            (folder / "images" / split / f"class{c}").mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 200, (48, 64, 3))
                pixels[..., c] += 40
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / f"images/{split}/class{c}/{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def result(root: Path) -> Result:
    return run(root)


def test_the_result_keeps_the_published_schema(result: Result) -> None:
    jsonschema.validate(json.loads(result.to_json()), schema())


def test_every_method_has_a_row_and_every_pair_a_test(result: Result) -> None:
    assert [method["name"] for method in result.methods] == list(METHODS)
    assert len(result.comparison["pairs"]) == len(METHODS) * (len(METHODS) - 1) // 2


def test_settings_and_champions_are_chosen_on_the_validation_split(result: Result) -> None:
    for method in result.methods:
        best = max(row["valid"]["macro_f1"] for row in method["sweep"])
        chosen = next(row for row in method["sweep"] if row["params"] == method["best_params"])
        assert chosen["valid"]["macro_f1"] == best
        assert chosen["test"] == method["test"]
    best = max(method["valid"]["macro_f1"] for method in result.methods)
    assert result.method(result.comparison["best"])["valid"]["macro_f1"] == best
    for kind, name in result.comparison["best_of_kind"].items():
        same = [m["valid"]["macro_f1"] for m in result.methods if m["kind"] == kind]
        assert result.method(name)["valid"]["macro_f1"] == max(same)


def test_the_test_labels_reach_no_search(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the test split's labels scrambled, every choice stays what it was."""
    before = run(root)
    real = images.find

    def scrambled(folder: Path, **settings: Any) -> images.ImageSet:
        found = real(folder, **settings)
        test = tuple(images.Sample(s.path, 2 - s.label) for s in found.splits["test"])
        return experiment.ImageSet(**{**vars(found), "splits": {**found.splits, "test": test}})

    monkeypatch.setattr(images, "find", scrambled)
    after = run(root)
    assert [m["best_params"] for m in after.methods] == [m["best_params"] for m in before.methods]
    assert after.comparison["best"] == before.comparison["best"]
    assert after.methods[0]["test"] != before.methods[0]["test"]


def test_scores_follow_from_the_confusion(result: Result) -> None:
    for method in result.methods:
        counts = np.array(method["test"]["confusion"])
        assert counts.sum() == 24
        assert method["test"]["accuracy"] == pytest.approx(float(scores.accuracy(counts)))


def test_the_phases_are_part_of_the_total(result: Result) -> None:
    phases = {name: values for name, values in result.seconds.items() if name != "total"}
    assert set(phases) == {"read", "weights", "extract", "load", "fit", "predict", "score"}
    assert len(phases["fit"]) == len(METHODS)
    assert sum(map(sum, phases.values())) <= result.seconds["total"]


def test_two_runs_agree_on_everything_but_time(root: Path, result: Result) -> None:
    again = run(root)
    assert again.features["computed"] == 0
    for one, two in zip(result.methods, again.methods, strict=True):
        assert {k: v for k, v in one.items() if k in ("best_params", "test", "valid")} == {
            k: v for k, v in two.items() if k in ("best_params", "test", "valid")
        }


def test_methods_can_be_chosen(root: Path) -> None:
    chosen = run(root, methods=("svm-lab", "fc"))
    assert [method["name"] for method in chosen.methods] == ["svm-lab", "fc"]
    with pytest.raises(UserError, match="'forest'.*fc-lab, fc, svm-lab, svm"):
        run(root, methods=("forest",))


@pytest.mark.slow
def test_real_photographs_end_to_end(boats: Path, tmp_path: Path) -> None:
    config = RunConfig(
        data=str(boats), store=tmp_path, backbone="resnet18", weights="random", size=(64, 224), device="cpu"
    )
    result = experiment.run(config, lambda *_: None)
    assert result.features["computed"] == 1248
    assert len(result.data["classes"]) == 16
    # Four in ten test images are of the two largest classes; an untrained network tells more than that.
    assert result.method("svm")["test"]["accuracy"] > 0.45
