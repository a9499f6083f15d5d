from __future__ import annotations

import csv
import itertools
import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from PIL import Image

from tests.reports import Reports
from transfer import metrics
from transfer.cache import shards
from transfer.cache.store import Store
from transfer.config import RunConfig
from transfer.data import dataset, lagoon
from transfer.engines import autotune
from transfer.evaluation import experiment
from transfer.evaluation.results import Result
from transfer.heads import knn
from transfer.heads.calibration import Calibration
from transfer.heads.registry import default_methods
from transfer.report.notes import notes
from transfer.system import schemas
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]


def run(root: Path, on_progress: Progress = silent, **settings: Any) -> Result:
    given = {"backbone": "resnet18", "weights": "random", "device": "cpu", "epochs": 2, **settings}
    return experiment.run(RunConfig(data=str(root / "images"), store=root / "store", **given), on_progress)


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
def reports() -> Reports:
    """What the run below reports of its progress."""
    return Reports()


@pytest.fixture(scope="module")
def result(root: Path, reports: Reports) -> Result:
    return run(root, reports)


@pytest.fixture(scope="module")
def again(root: Path, result: Result) -> Result:
    """The same run, with the features in the store."""
    return run(root)


def test_the_result_keeps_the_published_schema(result: Result) -> None:
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(result.to_json()))


def test_every_method_has_a_row_and_every_pair_a_test(result: Result) -> None:
    assert [method["name"] for method in result.methods] == list(default_methods())
    n_methods = len(default_methods())
    assert len(result.comparison["pairs"]) == n_methods * (n_methods - 1) // 2


def test_settings_and_champions_are_chosen_on_the_validation_split(result: Result) -> None:
    for method in result.methods:
        best = max(row["valid"]["macro_f1"] for row in method["sweep"])
        chosen = next(row for row in method["sweep"] if row["params"] == method["best_params"])
        assert chosen["valid"]["macro_f1"] == best
        assert chosen["test"].items() <= method["test"].items()
    best = max(method["valid"]["macro_f1"] for method in result.methods)
    assert result.method(result.comparison["best"])["valid"]["macro_f1"] == best
    for kind, name in result.comparison["best_of_kind"].items():
        same = [m["valid"]["macro_f1"] for m in result.methods if m["kind"] == kind]
        assert result.method(name)["valid"]["macro_f1"] == max(same)


def test_the_test_labels_reach_no_search(root: Path, result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the test split's labels scrambled, every choice stays what it was."""
    real = dataset.find

    def scrambled(folder: Path, **settings: Any) -> dataset.ImageSet:
        found = real(folder, **settings)
        test = found.splits["test"]
        return replace(found, splits={**found.splits, "test": replace(test, label_N=2 - test.label_N)})

    monkeypatch.setattr(dataset, "find", scrambled)
    after = run(root)
    assert [m["best_params"] for m in after.methods] == [m["best_params"] for m in result.methods]
    assert after.comparison["best"] == result.comparison["best"]
    assert after.method("svm")["test"] != result.method("svm")["test"]


def test_labels_of_all_splits_are_checked(result: Result) -> None:
    found = result.comparison["suspects"]
    assert found["images"] == found["of"] == 3 * (12 + 6 + 8)
    assert len(found["first"]) == min(50, found["contradicted"])


def test_labels_that_can_not_be_checked_cost_nothing_else(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(experiment.suspects, "find_suspects", fail)
    after = run(root, methods=("knn",))
    assert after.comparison["suspects"] is None
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(after.to_json()))


def test_fine_tuning_keeps_its_learning_curves(result: Result) -> None:
    method = result.method("fc")
    row = next(row for row in method["sweep"] if row["params"] == method["best_params"])
    assert row["curve"]["step"][-1] == row["params"]["steps"]
    assert row["curve"]["macro_f1"][-1] == pytest.approx(row["valid"]["macro_f1"])


def test_a_longer_extraction_is_compared_with_the_machine(
    root: Path, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result.features["flops_per_image"] is None
    monkeypatch.setattr("transfer.features.matmul_share.LEAST_COMPARED", 1)
    monkeypatch.setattr("transfer.features.matmul_share.measure_matmul", lambda device, precision: 1e12)
    (tmp_path / "images").symlink_to(root / "images")
    features = run(tmp_path, methods=("knn",)).features
    assert features["flops_per_image"] > 1e6
    assert features["matmul_flops_per_s"] == 1e12
    # Kept with the trial of the engine, for `transfer env`.
    [entry] = Store(tmp_path / "store").all_trials()
    [share] = [trial["share"] for trial in entry["trials"] if trial["share"]]
    assert share == pytest.approx(features["images_per_s"] * features["flops_per_image"] / 1e12)
    assert run(tmp_path, methods=("knn",)).features["flops_per_image"] is None


def test_scores_follow_from_the_confusion(result: Result) -> None:
    for method in result.methods:
        counts = np.array(method["test"]["confusion"])
        assert counts.sum() == 24
        assert method["test"]["accuracy"] == pytest.approx(float(metrics.accuracy(counts)))


def test_the_engine_is_reported_with_the_trials_that_chose_it(result: Result, again: Result) -> None:
    assert result.engine["reason"] == "measured"
    trials = {(trial["engine"], trial["precision"]): trial for trial in result.engine["trials"]}
    assert trials["eager", "fp32"]["cosine"] == 1.0
    chosen = trials[result.engine["name"], result.engine["precision"]]
    assert chosen["cosine"] >= 0.999
    assert chosen["images_per_s"] > 0
    for key in ("name", "precision"):
        assert again.engine[key] == result.engine[key]
    assert again.engine["reason"] == autotune.CACHED


@pytest.mark.exhaustive
def test_the_cost_of_int8_is_reported(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    root = Path(shutil.copytree(root / "images", tmp_path / "images")).parent
    found = run(root, precision="int8", methods=("svm-lab", "fc"))
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(found.to_json()))
    assert (found.engine["name"], found.engine["precision"]) == ("openvino", "int8")
    assert found.engine["cosine_with_fp32"]["images"] == 16
    assert 0.9 < found.engine["cosine_with_fp32"]["min"] <= found.engine["cosine_with_fp32"]["median"] < 1
    for method in found.methods:
        cost = method["int8_against_fp32"]
        assert cost["images"] == 16
        low, high = cost["accuracy_difference_ci95"]
        assert low <= cost["accuracy_difference"] <= high
        assert abs(cost["accuracy_difference"]) <= cost["changed"] <= 1
    again = run(root, precision="int8", methods=("svm-lab", "fc"))
    assert again.features["computed"] == 0
    assert again.methods[0]["int8_against_fp32"] == found.methods[0]["int8_against_fp32"]
    assert again.features["cold_seconds"] == pytest.approx(found.features["cold_seconds"])
    assert found.features["cold_seconds"] >= found.seconds["calibrate"][0] / 2


def test_the_phases_are_part_of_the_total(result: Result) -> None:
    phases = {name: values for name, values in result.seconds.items() if name != "total"}
    assert set(phases) == {
        "read",
        "weights",
        "open cache",
        "choose",
        "prepare",
        "extract",
        "load",
        "fit",
        "predict",
        "score",
        "probabilities",
        "compare",
        "ladder",
        "check labels",
        "describe data",
    }
    for method in result.methods:
        assert set(method["fit_seconds"]) <= set(phases["fit"])
        assert method["fit_s"] == statistics.median(method["fit_seconds"])
        assert method["predict_s"] == statistics.median(method["predict_seconds"])
    assert sum(map(sum, phases.values())) <= result.seconds["total"]


def test_every_phase_is_reported_in_order_and_to_its_end(result: Result, reports: Reports) -> None:
    phases = [phase for phase, _ in itertools.groupby(reports.phases())]
    first = [
        "read",
        "weights",
        "prepare",
        "choose",
        "open cache",
        "prepare",
        "extract",
        "load",
        "fit",
    ]
    rest = ["score", "compare", "ladder", "check labels", "describe data"]
    assert phases in (first + rest, [*first, "fit again", *rest])
    assert set(phases) - {"fit again"} <= set(result.seconds)
    assert [detail for phase, *_, detail in reports.calls if phase == "fit"] == [*default_methods(), ""]


def test_two_runs_agree_on_everything_but_time(result: Result, again: Result) -> None:
    assert again.features["computed"] == 0
    for one, two in zip(result.methods, again.methods, strict=True):
        assert {k: v for k, v in one.items() if k in ("best_params", "test", "valid")} == {
            k: v for k, v in two.items() if k in ("best_params", "test", "valid")
        }


def test_cold_seconds_hold_everything_that_an_empty_store_costs(
    root: Path, result: Result, again: Result
) -> None:
    store = root / "store"
    made = [json.loads(path.read_text())["seconds"] for path in store.glob("weights/*/made.json")]
    computed = [
        shard.seconds for folder in store.glob("features/*") for shard, _ in shards.read_headers(folder)
    ]
    assert result.features["cold_seconds"] == pytest.approx(sum(made) + sum(computed))
    assert sum(made) <= result.seconds["weights"][0]
    # Between these phases there is a little more, which belongs to them: all that no other phase has.
    own = ("choose", "prepare", "extract", "total")
    others = sum(sum(raw) for phase, raw in result.seconds.items() if phase not in own)
    assert sum(computed) <= result.seconds["total"] - others
    assert again.features["cold_seconds"] == pytest.approx(result.features["cold_seconds"])


def test_cold_seconds_of_another_machine_are_not_passed_off_as_this_ones(
    root: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer.features.forward.processor", lambda: ("another processor", ()))
    elsewhere = run(root, methods=("knn",))
    assert elsewhere.features["computed"] == 0
    assert elsewhere.features["cold_seconds"] is None


def test_test_images_that_are_training_images_are_counted(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "images", tmp_path / "images")
    shutil.copy(root / "images/train/class1/0.jpg", tmp_path / "images/test/class1/copy.jpg")
    shutil.copy(root / "images/train/class1/1.jpg", tmp_path / "images/test/class2/copy.jpg")
    data = run(tmp_path, methods=("svm-lab",)).data
    assert data["test_in_train"] == 2
    assert data["copies"] == {"train-valid": 0, "train-test": 2, "valid-test": 0}
    assert data["copies_of_another_class"] == {"train-valid": 0, "train-test": 1, "valid-test": 0}
    shutil.copy(root / "images/train/class1/0.jpg", tmp_path / "images/train/class2/copy.jpg")
    shutil.copy(root / "images/train/class1/1.jpg", tmp_path / "images/train/class1/copy.jpg")
    data = run(tmp_path, methods=("svm-lab",)).data
    assert data["in_two_classes"] == {"images": 1, "classes": ["class1", "class2"]}
    assert data["copies_within"] == {"train": 1, "valid": 0, "test": 0}


def test_mistakes_known_in_advance_are_reported_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lagoon, "make", lambda *_, **__: pytest.fail("drawn"))
    for settings in ({"backbone": "resnet5"}, {"weights": "none.pth"}, {"precision": "fp8"}):
        with pytest.raises(UserError):
            experiment.run(RunConfig(store=tmp_path, **settings), silent)


def test_methods_can_be_chosen(root: Path) -> None:
    chosen = run(root, methods=("svm-lab", "fc"))
    assert [method["name"] for method in chosen.methods] == ["svm-lab", "fc"]
    with pytest.raises(UserError, match="'forest'.*fc-lab, fc, svm-lab, svm"):
        run(root, methods=("forest",))


def test_every_pair_is_compared_in_both_scores(result: Result) -> None:
    for pair in result.comparison["pairs"]:
        test = [result.method(pair[side])["test"] for side in "ab"]
        for score in ("accuracy", "macro_f1"):
            entry = pair[score]
            assert entry["difference"] == pytest.approx(test[0][score] - test[1][score])
            assert entry["ci95"][0] <= entry["difference"] <= entry["ci95"][1]
            assert entry["p"] <= entry["p_holm"] <= 1


def test_the_ladder_leads_from_the_lab_to_the_best_method(result: Result) -> None:
    rungs = result.comparison["ladder"]
    assert rungs[0]["step"] == "fc-lab"
    assert rungs[0]["change"] is None
    for rung, name in ((rungs[0], "fc-lab"), (rungs[-1], result.comparison["best"])):
        assert rung["accuracy"] == result.method(name)["test"]["accuracy"]
        assert rung["fit_s"] == result.method(name)["fit_s"]
    for before, after in itertools.pairwise(rungs):
        gain = after["change"]["macro_f1"]["difference"]
        assert gain == pytest.approx(after["macro_f1"] - before["macro_f1"])


def test_a_given_test_split_is_not_repeated_unless_asked(root: Path, result: Result) -> None:
    assert result.comparison["repeats"] is None
    repeats = run(root, methods=("svm", "ridge"), repeats=3).comparison["repeats"]
    assert (repeats["n"], repeats["scheme"]) == (3, "stratified")
    assert repeats["test_share"] == pytest.approx(24 / 78, abs=0.02)
    assert [len(method["accuracy"]) for method in repeats["methods"]] == [3, 3]


def test_class_folders_alone_are_repeated_ten_times(root: Path, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        for path in (root / "images" / split).glob("*/*.jpg"):
            (tmp_path / "images" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "images" / path.parent.name / f"{split}-{path.name}")
    found = run(tmp_path, methods=("ridge", "knn"))
    jsonschema_rs.validate(schemas.load_schema("result"), json.loads(found.to_json()))
    assert found.comparison["repeats"]["n"] == 10
    assert run(tmp_path, methods=("ridge", "knn"), repeats=0).comparison["repeats"] is None
    groups = run(tmp_path, methods=("ridge", "knn"), groups="^(train|valid|test)", repeats="groups")
    assert groups.comparison["repeats"]["names"] == ["test", "train", "valid"]
    assert groups.comparison["repeats"]["test_images"] == [24, 36, 18]
    assert groups.methods[0]["test"]["independent"]["unit"] == "image"  # of one group
    # Groups that share an image are left out together.
    folder = tmp_path / "images/class0"
    shutil.copy(folder / "train-0.jpg", folder / "valid-copy.jpg")
    groups = run(tmp_path, methods=("ridge", "knn"), groups="^(train|valid|test)", repeats="groups")
    assert groups.comparison["repeats"]["names"] == ["test", "train + valid"]
    shutil.copy(folder / "train-0.jpg", folder / "test-copy.jpg")
    with pytest.raises(UserError, match="one group only, since copies"):
        run(tmp_path, methods=("ridge",), groups="^(train|valid|test)", repeats="groups")


def test_the_answers_for_every_image_can_be_saved(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(
        data=str(root / "images"),
        store=root / "store",
        backbone="resnet18",
        weights="random",
        device="cpu",
        methods=("fc-lab", "svm"),
        groups=r"^(\d)",
    )
    asked: list[int] = []
    predict = Calibration.predict
    monkeypatch.setattr(
        Calibration, "predict", lambda self, head, X: asked.append(len(X)) or predict(self, head, X)
    )
    done = experiment.compare(config)
    done.save_predictions(tmp_path / "predictions.csv")
    list(done.test_answers())
    assert sorted(asked) == sorted([36, 18, 24] * 2)  # each split once by each method
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 78
    assert all((root / "images" / row["file"]).is_file() for row in rows)
    assert all(row["group"] == Path(row["file"]).name[0] for row in rows)
    tested = [row for row in rows if row["split"] == "test"]
    for name in ("fc-lab", "svm"):
        right = sum(row[name] == row["label"] for row in tested)
        assert right / len(tested) == pytest.approx(done.result.method(name)["test"]["accuracy"])


@pytest.mark.exhaustive
def test_real_photographs_end_to_end(boats: Path, tmp_path: Path) -> None:
    config = RunConfig(
        data=str(boats), store=tmp_path, backbone="resnet18", weights="random", size=(64, 224), device="cpu"
    )
    result = experiment.run(config, silent)
    assert result.features["computed"] == 1248
    assert len(result.data["classes"]) == 16
    # Four in ten test images are of the two largest classes; an untrained network tells more than that.
    assert result.method("svm")["test"]["accuracy"] > 0.45


def test_a_method_that_refuses_so_many_images_is_left_out_unless_it_is_the_only_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transfer.heads.kernels.memory_gb", lambda: 1e-6)
    with caplog.at_level("WARNING", "transfer"):
        found = run(root, methods=("svm-lab", "svm", "knn"))
    assert [method["name"] for method in found.methods] == ["svm", "knn"]
    assert found.config["methods"] == [method["name"] for method in found.methods]
    assert "svm-lab is left out: " in caplog.text
    assert found.comparison["left_out"].keys() == {"svm-lab"}
    assert any(note.startswith("svm-lab is left out: ") for note in notes(found))
    with pytest.raises(UserError, match="too many for an RBF kernel"):
        run(root, methods=("svm-lab",))


@pytest.mark.parametrize(
    ("stage", "error", "reason"),
    [
        ("fit", MemoryError(), "out of memory"),
        ("predict", np.linalg.LinAlgError("singular"), "singular"),
        ("predict_each", RuntimeError("two\nlines"), "two"),
    ],
)
def test_a_method_that_fails_costs_that_method_alone(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    error: Exception,
    reason: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"transfer.heads.ridge.RidgeSearch.{stage}", fail)
    with caplog.at_level("WARNING", "transfer"):
        found = run(root, methods=("ridge", "knn", "svm"))
    assert [method["name"] for method in found.methods] == ["knn", "svm"]
    assert found.comparison["left_out"] == {"ridge": reason}
    assert f"ridge is left out: {reason}" in caplog.text
    with pytest.raises(type(error)):
        run(root, methods=("ridge",))


def test_features_on_disk_are_answered_as_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    y_N = np.arange(300) % 3
    np.savez(tmp_path / "f.npz", X=rng.normal(size=(300, 8)) + np.eye(3, 8)[y_N], y=y_N)

    def answers(**settings: Any) -> str:
        config = RunConfig(data=str(tmp_path / "f.npz"), store=tmp_path, epochs=2, device="cpu", **settings)
        done = experiment.compare(config)
        done.save_predictions(tmp_path / "predictions.csv")
        return (tmp_path / "predictions.csv").read_text()

    assert answers(from_disk=True) == answers(repeats=0)
    lines = [record.getMessage() for record in caplog.records]
    for what in ("are held in a file", "nothing is repeated", "near-duplicates are not looked for"):
        assert sum(what in line for line in lines) == 1
    with pytest.raises(UserError, match="`transform` is computed in memory"):
        answers(from_disk=True, transform=("l2",))
    monkeypatch.setattr(knn, "available_bytes", lambda: 1000)
    assert "knn" not in answers(from_disk=True).splitlines()[0]
    assert "nearest neighbours are looked for in memory" in caplog.text
