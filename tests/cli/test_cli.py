from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.words import words_for
from tests.samples import EXAMPLE, MakeImages
from transfer import cli
from transfer.cache.store import Store
from transfer.cli import commands
from transfer.config import RunConfig
from transfer.evaluation import data_summary, experiment
from transfer.heads.registry import default_methods
from transfer.serving import bundle
from transfer.system import schemas
from transfer.system.errors import UserError

pytestmark = pytest.mark.usefixtures("slim_resnets", "timed_once")


@pytest.fixture
def cold(tmp_path: Path, make_images: MakeImages) -> list[str]:
    """Words that run on a small folder with an empty store."""
    make_images(tmp_path / "images")
    return words_for(tmp_path)


@pytest.fixture(scope="module")
def extracted(slim_resnets: None, make_images: MakeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images and a store that holds their features."""
    root = tmp_path_factory.mktemp("extracted")
    make_images(root / "images")
    assert cli.main(["extract", *words_for(root), "--engine=eager", "--precision=fp32", "--quiet"]) == 0
    return root


@pytest.fixture
def ready(extracted: Path, tmp_path: Path) -> list[str]:
    """Words that run on a copy of these images and their features."""
    shutil.copytree(extracted, tmp_path, dirs_exist_ok=True)
    return words_for(tmp_path)


@pytest.mark.slow
def test_run_prints_the_report_and_writes_it(
    cold: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *cold, "--epochs=2", "--verbose", "--out", str(tmp_path / "deep/out")]) == 0
    out, err = capsys.readouterr()
    assert "transfer: write: result.json (1 of 5)\n" in err
    for part in ("Table 1", "Table 2", "Table 3", "Where the time went", "untrained", *default_methods()):
        assert part in out
    record = json.loads((tmp_path / "deep/out/result.json").read_text())
    assert record["schema_version"] == 2
    assert "Table 3" in (tmp_path / "deep/out/report.md").read_text()
    page = (tmp_path / "deep/out/report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert out.splitlines()[-1].startswith(f"Written to {tmp_path / 'deep/out'}: report.html")


@pytest.mark.slow
def test_report_writes_the_page_again_with_the_images_named(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images, page = tmp_path / "out", Path(ready[0]), tmp_path / "page.html"
    assert (
        cli.main(["run", *ready, "--methods=ridge,knn", "--engine=eager", "--quiet", "--out", str(out)]) == 0
    )
    result = str(out / "result.json")
    assert cli.main(["report", result, "--html", str(page), "--images", str(images)]) == 0
    assert page.read_text() == (out / "report.html").read_text()
    assert "no pictures" not in capsys.readouterr().err
    assert cli.main(["report", result, "--html", str(page), "--images", str(out)]) == 0
    assert f"no image of the result is in {out}; the page has no pictures" in capsys.readouterr().err
    assert cli.main(["report", result, "--html", str(page)]) == 0
    assert "no pictures" not in capsys.readouterr().err
    assert "data:image/jpeg;base64," not in page.read_text()
    (out / "predictions.csv").unlink()
    assert cli.main(["report", result, "--html", str(page)]) == 0
    assert "Confusion matrix" in page.read_text()


@pytest.mark.parametrize("form", ["../other/{}", "{folder}/other/{}"])
def test_a_page_shows_no_image_outside_the_folder_named(form: str, tmp_path: Path) -> None:
    record = json.loads(EXAMPLE.read_text())
    (tmp_path / "images").mkdir()
    (tmp_path / "other").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "other/x.png")
    name = form.format("x.png", folder=tmp_path)
    near = {"first": "train", "second": "test", "compared": 1, "found": 1, "pairs": [[name, name]]}
    record["data"]["near_duplicates"] = [near]
    (tmp_path / "result.json").write_text(json.dumps(record))
    words = ["--html", str(tmp_path / "page.html"), "--images", str(tmp_path / "images")]
    assert cli.main(["report", str(tmp_path / "result.json"), *words]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "x.png" in page
    assert "data:image/jpeg" not in page


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["RESULT", "RESULT", "--html", "PAGE", "--images", "missing"], "shows the images of one result"),
        (["RESULT", "--html", "PAGE", "--images", "missing"], "--images is missing, which is no folder"),
        (["RESULT", "--images", "missing"], "--images needs --html"),
    ],
)
def test_a_page_that_can_not_be_written_is_refused(
    words: list[str], wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RESULT": str(EXAMPLE), "PAGE": str(tmp_path / "page.html")}
    assert cli.main(["report", *(places.get(word, word) for word in words)]) == 2
    assert wrong in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_result_too_large_to_be_read_again_is_reported(
    ready: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schemas, "MAX_BYTES", 1000)
    assert cli.main(["run", *ready, "--methods=knn", "--out", str(tmp_path)]) == 0
    warning = f"transfer: {tmp_path}/result.json is larger than what transfer report reads"
    assert warning in capsys.readouterr().err.splitlines()


def test_json_is_all_there_is_on_standard_output(
    ready: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *ready, "--json", "--methods", "svm"]) == 0
    assert json.loads(capsys.readouterr().out)["methods"][0]["name"] == "svm"


def test_quiet_leaves_the_verdict(ready: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *ready, "--quiet", "--methods=svm-lab,knn"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "accuracy" in out
    assert err == ""


@pytest.mark.parametrize("command", ["run", "extract"])
def test_what_a_class_loses_is_reported_in_spite_of_quiet(
    ready: list[str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder = Path(ready[0]) / "test/class1"
    for path in list(folder.glob("*.jpg"))[:2]:
        path.rename(path.with_suffix(".xyz"))
        path.with_suffix(".xyz").write_text("no image")
    methods = ["--methods=knn"] if command == "run" else []
    assert cli.main([command, *ready, "--quiet", *methods]) == 0
    err = capsys.readouterr().err
    assert err == "transfer: class test/class1: 2 of 4 files are not images: 2 .xyz\n"


@pytest.mark.parametrize("out", ["train", "train/result", "test/class0/deep/result", "linked/x"])
def test_an_output_folder_among_the_images_is_refused_and_not_made(
    ready: list[str], capsys: pytest.CaptureFixture[str], out: str
) -> None:
    root = Path(ready[0])
    elsewhere = (root / "valid/class0").rename(root.parent / "elsewhere")
    (root / "valid/class0").symlink_to(elsewhere)
    place = elsewhere / "x" if out == "linked/x" else root / out
    before = sorted(root.parent.rglob("*"))
    assert cli.main(["run", *ready, "--out", str(place)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "which holds images; give an --out beside" in err
    assert sorted(root.parent.rglob("*")) == before


@pytest.mark.slow
def test_a_run_like_the_one_before_it_in_its_folder_says_how_long_it_will_take(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", *ready, "--methods=svm-lab", "--engine=eager", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    assert "last run" not in capsys.readouterr().err
    result = json.loads((tmp_path / "result.json").read_text())
    result["seconds"] |= {phase: [0.0] for phase in result["seconds"] if phase != "total"}
    result["seconds"] |= {"describe data": [100.0], "total": 1000.0}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert cli.main(words) == 0
    assert "transfer: fit: svm-lab, about 17 min left, as in the last run\n" in capsys.readouterr().err
    assert cli.main([*words, "--epochs=2"]) == 0  # other settings
    assert "last run" not in capsys.readouterr().err


@pytest.mark.slow
def test_an_output_folder_beside_the_splits_may_be_used_again(ready: list[str]) -> None:
    out = Path(ready[0]) / "out"
    for _ in range(2):
        assert cli.main(["run", *ready, "--out", str(out), "--quiet", "--methods=svm"]) == 0
        (out / "plot.png").touch()


def test_options_reach_the_run(ready: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--lr=1e-3,1e-2",
        "--epochs=2",
        "--batch-size=7",
        "--select=accuracy",
        "--seed=5",
        "--size=32x40",
    ]
    assert cli.main(["run", *ready, *words, "--methods=fc", "--precision=fp32", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["config"] == {
        "methods": ["fc"],
        "lr": [1e-3, 1e-2],
        "epochs": 2,
        "batch_size": 7,
        "select": "accuracy",
        "seed": 5,
        "groups": None,
        "repeats": None,
        "size": [32, 40],
    }
    assert record["backbone"]["input_size"] == [32, 40]
    assert record["engine"]["precision"] == "fp32"


@pytest.mark.slow
def test_skipped_images_are_reported_and_exit_3(ready: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (Path(ready[0]) / "train/class0/1.jpg").write_bytes(b"no image")
    assert cli.main(["run", *ready, "--quiet"]) == 2
    assert "class0/1.jpg" in capsys.readouterr().err
    assert cli.main(["run", *ready, "--on-bad-image=skip", "--methods=knn", "--verbose"]) == 3
    assert "class0/1.jpg (not a JPEG" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["extract", *ready, "--on-bad-image=skip"]) == 3


@pytest.mark.slow
def test_a_result_names_some_skipped_images_and_counts_all(
    ready: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("class0/1.jpg", "class1/2.jpg"):
        (Path(ready[0]) / "train" / name).write_bytes(b"no image")
    monkeypatch.setattr(data_summary, "SKIPPED_NAMED", 1)
    assert cli.main(["run", *ready, "--on-bad-image=skip", "--methods=knn", "--json"]) == 3
    out, err = capsys.readouterr()
    data = json.loads(out)["data"]
    assert [image["name"] for image in data["skipped"]] == ["train/class0/1.jpg"]
    assert data["skipped_count"] == 2
    assert "skipped 1 more images" in err


def test_extract_fills_the_store(cold: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["extract", *cold]) == 0
    assert "48 images computed, 0 already" in capsys.readouterr().out
    assert cli.main(["extract", *cold]) == 0
    assert "0 images computed, 48 already" in capsys.readouterr().out


@pytest.fixture(scope="module")
def written(extracted: Path, timed_once: None) -> Path:
    """The folder of a run's `--out`."""
    out = extracted.with_name("written")
    words = [
        "--methods=svm-lab,fc",
        "--epochs=2",
        "--engine=eager",
        "--precision=fp32",
        "--quiet",
        f"--out={out}",
    ]
    assert cli.main(["run", *words_for(extracted), *words]) == 0
    return out


@pytest.fixture
def model(written: Path, tmp_path: Path) -> str:
    """A copy of this folder."""
    return str(shutil.copytree(written, tmp_path / "out"))


class TestPredict:
    def test_a_line_for_each_image_of_files_and_folders(
        self, ready: list[str], model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = Path(ready[0]) / "test"
        words = [str(folder / "class2" / "3.jpg"), str(folder), "--method=fc", "--quiet"]
        assert cli.main(["predict", model, *words]) == 0
        out, err = capsys.readouterr()
        lines = [line.split("\t") for line in out.splitlines()]
        expected = [folder / "class2" / "3.jpg", *sorted(folder.rglob("*.jpg"))]
        assert [path for path, _, _ in lines] == [str(path) for path in expected]
        counts = Counter((Path(path).parent.name, label) for path, label, _ in lines[1:])
        result = json.loads((Path(model) / "result.json").read_text())
        (fc,) = (method for method in result["methods"] if method["name"] == "fc")
        classes = result["data"]["classes"]
        assert [[counts[a, b] for b in classes] for a in classes] == fc["test"]["confusion"]
        assert all(0 < float(share) <= 1 for _, _, share in lines)
        assert err == ""

    @pytest.mark.slow
    def test_json_is_a_list_and_nothing_else(
        self, ready: list[str], model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = str(Path(ready[0]) / "test" / "class1" / "0.jpg")
        assert cli.main(["predict", model, path, "--json", "--method=svm-lab"]) == 0
        (printed,) = json.loads(capsys.readouterr().out)
        assert printed == {"path": path, "label": "class1", "probability": printed["probability"]}
        assert cli.main(["predict", model, path, "--method=svm-lab"]) == 0
        assert capsys.readouterr().out == f"{path}\tclass1\t{printed['probability']:.3f}\n"

    def test_images_of_small_probability_get_no_label_and_the_promise_is_said(
        self, ready: list[str], model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = str(Path(ready[0]) / "test" / "class1" / "0.jpg")
        assert cli.main(["predict", model, path, "--min-confidence=1"]) == 0
        out, err = capsys.readouterr()
        assert out.split("\t")[1] == ""
        assert "0 of 1 images have a label of probability 1 or more; " in err
        assert cli.main(["predict", model, path, "--min-confidence=2"]) == 2
        assert "--min-confidence is 2.0; give a number from 0 to 1" in capsys.readouterr().err

    @pytest.mark.slow
    def test_bad_images_end_it_or_are_named_with_exit_3(
        self, ready: list[str], model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = Path(ready[0]) / "test" / "class0"
        (folder / "2.jpg").write_bytes(b"no image")
        assert cli.main(["predict", model, str(folder), "--quiet"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert re.search(r"can't read .*2\.jpg: not a JPEG", err)
        assert cli.main(["predict", model, str(folder), "--on-bad-image=skip", "--json"]) == 3
        out, err = capsys.readouterr()
        assert [Path(one["path"]).name for one in json.loads(out)] == ["0.jpg", "1.jpg", "3.jpg"]
        assert re.search(r"skipped .*2\.jpg", err)

    @pytest.mark.slow
    def test_files_of_a_folder_that_are_no_images_are_named_with_exit_3(
        self, ready: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        new, source = tmp_path / "new", Path(ready[0]) / "test/class0"
        new.mkdir()
        shutil.copy(source / "0.jpg", new / "0")
        (new / "linked").symlink_to(source, target_is_directory=True)
        assert cli.main(["predict", model, str(new), "--quiet"]) == 0
        out, err = capsys.readouterr()
        assert (len(out.splitlines()), err) == (5, "")
        (new / "notes.xyz").write_text("no image")
        (new / "gone.jpg").symlink_to(new / "none")
        assert cli.main(["predict", model, str(new), "--quiet"]) == 3
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 5
        assert [Path(line.split("'")[1]).name for line in err.splitlines()] == ["gone.jpg", "notes.xyz"]
        (new / "0").unlink()
        (new / "linked").unlink()
        assert cli.main(["predict", model, str(new)]) == 2
        assert "no images in" in capsys.readouterr().err

    def test_hostile_names_are_shown_as_they_are_on_one_line(
        self, ready: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        new = tmp_path / "new"
        new.mkdir()
        source = Path(ready[0]) / "test" / "class0" / "0.jpg"
        for name in ("[red]a.jpg", "b\x1b[31m\n\tb.jpg", "c\udcff.jpg"):
            (new / name).write_bytes(source.read_bytes())
        (new / ".hidden.jpg").write_bytes(b"left alone")
        assert cli.main(["predict", model, str(new)]) == 0
        names = [Path(line.split("\t")[0]).name for line in capsys.readouterr().out.splitlines()]
        gone = "\N{REPLACEMENT CHARACTER}"
        assert names == ["[red]a.jpg", f"b{gone}[31m{gone}{gone}b.jpg", f"c{gone}.jpg"]

    def test_a_model_that_moved_needs_nothing_else(
        self, ready: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        image = (Path(ready[0]) / "test" / "class2" / "0.jpg").rename(tmp_path / "image.jpg")
        moved = Path(model).joinpath("models").rename(tmp_path / "moved")
        for folder in (ready[0], model, str(tmp_path / "store")):
            shutil.rmtree(folder)
        assert cli.main(["predict", str(moved), str(image)]) == 0
        assert capsys.readouterr().out.split("\t")[1] == "class2"

    def test_a_damaged_model_is_one_line(
        self, ready: list[str], model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        image = str(Path(ready[0]) / "test" / "class0" / "0.jpg")
        assert cli.main(["predict", model, image, "--method=ridge"]) == 2
        assert "--method is 'ridge'; choose one of " in capsys.readouterr().err
        (Path(model) / "models" / "backbone.safetensors").write_bytes(b"")
        assert cli.main(["predict", model, image, "--quiet"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert "backbone.safetensors is not the file that model.json names" in err


@pytest.mark.slow
def test_a_model_of_other_data_is_replaced_only_by_force(
    ready: list[str], make_images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tmp_path / "out")
    words = ["run", *ready, "--methods=svm-lab", "--quiet", "--out", model]
    for _ in range(2):
        assert cli.main(words) == 0  # again on the same images
    words[1] = str(make_images(tmp_path / "others", seed=3))
    capsys.readouterr()
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "holds a model of 'images', not 'others'" in err
    assert cli.main([*words, "--force"]) == 0
    assert json.loads((Path(model) / "models/model.json").read_text())["made_from"]["data"] == "others"


@pytest.mark.slow
def test_models_that_cant_be_saved_are_exit_2_and_the_result_is_written(
    ready: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise UserError("can't write backbone.safetensors (No space left on device)")

    monkeypatch.setattr(bundle, "_save_backbone", full)
    words = ["run", *ready, "--methods=svm-lab", "--quiet", "--engine=eager", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert "reaches macro F1" in out
    assert err == (
        "transfer: the models are not saved: can't write backbone.safetensors (No space left on device)\n"
    )
    assert json.loads((tmp_path / "out/result.json").read_text())["methods"]
    assert (tmp_path / "out/report.md").exists()
    assert not (tmp_path / "out/models/model.json").exists()


@pytest.mark.slow
def test_a_result_and_models_of_two_runs_are_reported(
    ready: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["run", *ready, "--methods=svm-lab", "--quiet", "--engine=eager", "--out", str(out)]
    report, predict = ["report", str(out / "result.json")], ["predict", str(out), str(tmp_path / "images/a")]
    predict[2] = str(next((tmp_path / "images").rglob("*.jpg")))
    assert [cli.main(words) for words in (run, report, predict)] == [0, 0, 0]
    assert "two different runs" not in capsys.readouterr().err

    def full(*_: object) -> None:
        raise UserError("can't write backbone.safetensors (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "_save_backbone", full)
        assert cli.main([*run, "--seed=1"]) == 2
    assert "those of an earlier run are still there" in capsys.readouterr().err
    for words in (report, predict):
        assert cli.main(words) == 0
        assert (
            f"{out}/result.json and the models beside it are of two different runs" in capsys.readouterr().err
        )


class _Output(io.StringIO):
    """Standard output that takes nothing."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--quiet"], ["--json"]], ids=["report", "quiet", "json"])
@pytest.mark.parametrize(
    ("error", "status"),
    [(OSError(28, "No space left on device"), 2), (BrokenPipeError(), 0)],
    ids=["full", "pipe"],
)
def test_output_that_fails_costs_nothing_that_was_computed(
    ready: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    error: OSError,
    status: int,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("sys.stdout", _Output(error))
    found = cli.main(["run", *ready, "--methods=svm-lab", "--engine=eager", "--out", str(out), *words])
    assert found == status
    assert {path.name for path in out.iterdir()} == {
        "result.json",
        "report.html",
        "report.md",
        "predictions.csv",
        "models",
    }
    assert (out / "models/model.json").is_file()
    err = capsys.readouterr().err
    assert err.count(f"can't write to standard output ({error.strerror}); the result is in {out}") == (
        status == 2
    )


@pytest.fixture
def snow(tmp_path: Path, make_images: MakeImages) -> list[str]:
    """Words that run on images of a class whose name has a letter that few encodings have."""
    make_images(tmp_path / "images")
    for split in ("train", "valid", "test"):
        (tmp_path / "images" / split / "class0").rename(tmp_path / "images" / split / "☃ snow")
    words = ["run", str(tmp_path / "images"), "--backbone=resnet18", "--weights=random", "--methods=ridge"]
    return [*words, f"--store={tmp_path / 'store'}", "--engine=eager", f"--out={tmp_path / 'out'}"]


@pytest.mark.slow
def test_letters_that_a_terminal_has_not_are_escaped(
    snow: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", terminal)
        assert cli.main(snow) == 0
    terminal.flush()
    assert b"\\u2603 snow" in terminal.buffer.getvalue()  # type: ignore[attr-defined]
    assert "☃ snow" in (tmp_path / "out/report.md").read_text("utf-8")
    command = [sys.executable, "-m", "transfer", "report", str(tmp_path / "out/result.json")]
    for encoding in ("ascii", "latin-1", "cp1252"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        assert b"\\u2603 snow" in subprocess.run(command, capture_output=True, env=environment).stdout


HOSTILE_NAMES = [b"a\nb\x1b[31m", b"\xff\xfe", b"[red]x[/red]", b"<script>alert(1)</script>", b"| `c` | $x$"]


@pytest.mark.slow
def test_names_of_classes_are_never_interpreted(
    tmp_path: Path, make_images: MakeImages, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_images(tmp_path / "images", classes=5, train=3, valid=2, test=2)
    names = [os.fsdecode(name.replace(b"/", b"-")) for name in HOSTILE_NAMES]
    for split in ("train", "valid", "test"):
        for i, name in enumerate(names):
            (root / split / f"class{i}").rename(root / split / name)
    (root / "train" / names[0] / "a\nforged.txt").touch()  # which a note tells
    words = [f"--store={tmp_path / 'store'}", "--backbone=resnet18", "--weights=random", "--device=cpu"]
    out = tmp_path / "out"
    assert (
        cli.main(["run", str(tmp_path / "images"), *words, "--methods=svm-lab,ridge", "--out", str(out)]) == 0
    )
    assert cli.main(["report", str(out / "result.json")]) == 0
    shown, _ = capsys.readouterr()
    assert "[red]x[-red]" in shown
    assert "\nforged" not in shown
    markdown = (out / "report.md").read_text("utf-8")
    for text in (shown, markdown):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\udc80-\udcff]", text)
    assert "<script>" not in markdown
    classes = json.loads((out / "result.json").read_bytes())["data"]["classes"]
    assert set(classes) == set(names)
    first = next(path for path in (tmp_path / "images/test").rglob("*.jpg"))
    assert cli.main(["predict", str(out), str(first)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


class TestStore:
    """Three small entries and what a killed run left."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        store = Store(tmp_path / "store")
        ids = np.eye(3, 32, dtype=np.uint8)
        store.table({"backbone": "resnet18"}).append(ids, np.ones((3, 5), np.float32), 1, "here")
        store.keep("weights", {"backbone": "resnet18", "seed": 1}, b"weights", 1, "here")
        store.keep("weights", {"backbone": "resnet50\n\x1b[31m[red]", "seed": 1}, b"others", 1, "here")
        left = store.folder("trials") / f".w.{'0' * 32}.tmp"
        left.write_bytes(b"123")
        os.utime(left, (1, 1))
        return store.root

    def test_list(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["store", "list", "--store", str(root)]) == 0
        out = capsys.readouterr().out
        assert "resnet18, seed 1" in out
        assert "3 entries" in out
        assert "1 leftover, 3 bytes" in out
        assert "\x1b" not in out
        assert "[red]" in out
        assert cli.main(["store", "list", "--store", str(root), "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert {entry["kind"] for entry in printed} == {"features", "weights"}
        assert all((root / entry["kind"] / entry["key"]).is_dir() for entry in printed)

    def test_verify(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["store", "verify", "--store", str(root)]
        assert cli.main(words) == 0
        assert "3 entries, all as they were written" in capsys.readouterr().out
        next(root.glob("features/*/*.parquet")).write_bytes(b"rows")
        assert cli.main(words) == 1
        out = capsys.readouterr().out.splitlines()
        assert len(out) == 2
        assert "not those that were written" in out[0]
        assert next(root.glob("features/*/*.parquet")).exists()  # a check changes nothing

    def test_prune_lists_and_deletes_only_with_yes(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(root.rglob("*"))
        words = ["store", "prune", "--store", str(root), "--max-size", "0MB"]
        assert cli.main(words) == 0
        assert "3 entries and 1 leftover" in capsys.readouterr().out
        assert sorted(root.rglob("*")) == before
        held = Store(root).table({"backbone": "resnet18"})
        assert cli.main([*words, "--yes"]) == 0
        out = capsys.readouterr().out
        assert "is in use, and kept" in out
        assert "2 entries and 1 leftover" in out
        assert {path for path in root.rglob("*") if path.is_file()} == set(held.folder.iterdir())

    def test_prune_without_a_rule_takes_leftovers_alone(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["store", "prune", "--store", str(root), "--yes"]) == 0
        assert "0 entries and 1 leftover, 3 bytes, deleted" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["prune", "--older-than", "soon"], "--older-than is 'soon'"),
            (["prune", "--max-size", "20"], "--max-size is '20'"),
            (["prune", "--key", "zz"], "--key is 'zz'"),
            (["list", "--store", "no/such"], "no store at no/such"),
            (["sell"], "'sell'"),
        ],
        ids=str,
    )
    def test_wrong_usage_is_one_line(
        self, root: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["store", *words, *([] if "--store" in words else ["--store", str(root)])]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert len(err.splitlines()) == 1


def test_many_skipped_images_are_counted_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.report_skipped({f"{i}.jpg": "broken\x1b[31m" for i in range(1_000)}, 1_000) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) == commands.SKIPPED_NAMED + 1
    assert "skipped 900 more images" in err
    assert "\x1b" not in err
    assert commands.report_skipped({"0.jpg": "broken"}, 5_000) == 3
    assert "skipped 4,999 more images" in capsys.readouterr().err


def test_report_shows_one_result_or_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(EXAMPLE)]) == 0
    assert "Methods on the test split" in capsys.readouterr().out
    assert cli.main(["report", str(EXAMPLE), "--verbose"]) == 0
    assert "Table 2" in capsys.readouterr().out
    assert cli.main(["report", str(EXAMPLE), str(EXAMPLE)]) == 0
    assert "2 results; all: old protocol" in capsys.readouterr().out


def test_env_tells_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env"]) == 0
    assert "usable_cores" in capsys.readouterr().out
    assert cli.main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usable_cores"] >= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'"),
        (["run", "--device", "tpu"], "auto.*cpu.*cuda"),
        (["run", "lagoon", "--labels", "x"], "unrecognized arguments: --labels x; see transfer run --help"),
        (["run", "no/such/folder"], "no such folder: no/such/folder"),
        (["run", "--size", "240"], "--size is '240'"),
        (["run", "--lr", "a,b"], "--lr is 'a,b'"),
        (["run", "--mean", "a,b"], "--mean is 'a,b'"),
        (["extract", "x", "--std", "1,2,3"], "--std is 1,2,3"),
        (["run", "--lr", "-1"], "--lr"),
        (["run", "--epochs", "0"], "--epochs is 0"),
        (["run", "--views", "4"], "--views concerns blocks that are trained; give --unfreeze too"),
        (["run", ".", "--unfreeze", "layer4", "--max-cache", "20"], "--max-cache is '20'; give MB, GB or TB"),
        (["run", "--epochs", "many"], "invalid int value: 'many'"),
        (["run", "lagoon", "--methods", "svm,forest"], "'forest'.*fc-lab, fc, svm-lab, svm"),
        (["run", ".", "--groups", "["], "--groups is '\\['"),
        (["run", "--repeats", "some"], "--repeats is 'some'.*from 0 to 999999999, or groups"),
        (["run", "--repeats=groups"], "--repeats groups needs --groups"),
        (["run", "lagoon", "--backbone", "resnet5"], "resnet50"),
        (["run", "lagoon", "--engine", "warp"], "'warp'"),
        (["run", "lagoon", "--precision", "fp8"], "'fp8'"),
        (["report", "no.json"], "can't read no.json"),
        (["report", "empty"], "no result.json in empty; give the folder that --out named, or a result file"),
        (["report", "/dev/zero"], "can't read /dev/zero: not a file"),
        (["report", "pipe"], "can't read pipe: not a file"),
        (["report", "endless"], "can't read endless: larger than 32,000,000 bytes"),
        (["report", "nested"], "nested is no result file"),
        (["run", "loop"], "no such folder: loop"),
        (["predict", "."], "IMAGES"),
        (["predict", ".", "class0.txt"], "no model.json in ."),
        (["predict", ".", "no/such/folder"], "no such file or folder: no/such/folder"),
        (["predict", ".", "empty"], "no images in empty"),
        (["predict", ".", "empty", "--min-confidence=90"], "--min-confidence is 90.0; give a number from 0"),
        (["run", "lagoon", "--out", "/dev/null/x"], "--out"),
        (["run", ""], "DATA is empty"),
        (["run", "lagoon", "--store", "class0.txt"], "in the store"),
        (["run", "--store="], "--store: the name of a file or folder is empty"),
        (["run", "lagoon", "--weights", "none.pth"], "no such weights file: none.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exit_2(
    words: list[str],
    message: str,
    make_images: MakeImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(make_images(tmp_path / "images", train=1, valid=1, test=1))
    monkeypatch.setenv("TRANSFER_STORE", str(tmp_path / "store"))
    Path("class0.txt").write_text("a file")
    Path("empty").mkdir()
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    Path("nested").write_text("[" * 100_000)
    with Path("endless").open("wb") as file:
        file.truncate(10**9)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("transfer: ")
    assert re.search(message, err)


@pytest.mark.parametrize("command", ["run", "curve"])
def test_what_is_refused_leaves_no_empty_folders(command: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for out in (tmp_path / "a/b", kept):
        assert cli.main([command, str(tmp_path / "typo"), "--out", str(out)]) == 2
    assert list(tmp_path.iterdir()) == [kept]
    assert not list(kept.iterdir())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "store/x"), 2, "No space left on device: store/x"),
        (
            RuntimeError("the\nroof fell"),
            1,
            "unexpected RuntimeError: the\N{REPLACEMENT CHARACTER}roof fell; --debug",
        ),
        (MemoryError(), 2, "out of memory; what was computed is kept"),
        (RuntimeError("can't start new thread"), 2, "out of memory; what was computed is kept"),
    ],
)
def test_no_traceback_reaches_a_user(
    ready: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(experiment, "compare", fails)
    assert cli.main(["run", *ready]) == status
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    with pytest.raises(type(error)):
        cli.main(["run", *ready, "--debug"])


def test_every_command_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "run", "extract", "predict", "report", "env", "store list", "store verify", "store prune",
    ):  # fmt: skip
        with pytest.raises(SystemExit, match="0"):
            cli.main([*command.split(), "--help"])
        assert f"Example: transfer {command}" in " ".join(capsys.readouterr().out.split())


def test_python_m_transfer_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "transfer", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("transfer ")


@pytest.mark.slow
def test_progress_is_lines_or_a_bar_in_a_terminal(
    cold: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["extract", *cold, "--engine=eager", "--precision=fp32"]
    assert cli.main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(words) == 0
    err = capsys.readouterr().err
    assert "transfer: read: 0 of 48 images\n" in err
    assert all(re.fullmatch(r"transfer: [\w ]+(: .*)?", line) for line in err.splitlines())
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    assert cli.main(words) == 0
    assert "\x1b[2K" in capsys.readouterr().err  # a line is erased


def test_a_run_without_a_folder_says_so_first(
    ready: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def compare(config: RunConfig, on_progress: object, images: object, plan: object) -> None:
        seen.append(f"{config.data}: {capsys.readouterr().err}")
        raise UserError("stop")

    monkeypatch.setattr(experiment, "compare", compare)
    for words in ([], ["--quiet"], ["--json"], ["lagoon"]):
        assert cli.main(["run", *ready[1:], *words]) == 2
        capsys.readouterr()
    line = "transfer: no DATA is given: running on the built-in images\n"
    assert seen == [f"lagoon: {line}", "lagoon: ", "lagoon: ", "lagoon: "]


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-m", "transfer", "report", str(EXAMPLE)]
    report = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert report.stdout
    assert report.stderr
    report.stdout.close()
    assert report.stderr.read() == b""
    report.stderr.close()
    assert report.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [["run", "--nope"], ["report", "nowhere"]])
def test_without_a_reader_of_errors_the_exit_status_says_that_there_was_one(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "transfer", *words], stderr=write, stdout=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.slow
def test_a_page_has_the_pictures_of_names_that_the_locale_has_no_letters_for(
    tmp_path: Path, make_images: MakeImages
) -> None:
    """Images that are labels to look at and near-duplicates too."""
    images = make_images(tmp_path / "images", classes=3, train=12)
    for split in ("train", "valid", "test"):
        (images / split / "class0").rename(images / split / "fähre")
        for path in (images / split / "class1").iterdir():
            shutil.copy(path, images / split / "fähre" / f"é{path.name}")
    words = [
        "run",
        str(images),
        "--backbone=resnet18",
        "--weights=random",
        "--engine=eager",
        "--precision=fp32",
    ]
    words += ["--methods=ridge,ncm", f"--store={tmp_path / 'store'}", f"--out={tmp_path / 'out'}"]
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "transfer", *words],
        env=os.environ | ascii_only,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["comparison"]["suspects"]["first"]
    assert (tmp_path / "out/report.html").read_text().count("data:image/jpeg") > 3


@pytest.mark.slow
def test_a_signal_ends_the_run_in_one_line_and_keeps_what_was_done(
    tmp_path: Path, make_images: MakeImages
) -> None:
    root = make_images(tmp_path / "images", classes=4, train=150)
    words = [
        str(root),
        "--backbone=resnet18",
        "--weights=random",
        "--device=cpu",
        "--engine=eager",
        f"--store={tmp_path / 'store'}",
        "--precision=fp32",
    ]
    command = [sys.executable, "-m", "transfer", "extract", *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("store/features/*/*.parquet")):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate()
    assert running.returncode == 130
    *before, last = err.splitlines()
    assert last == "transfer: interrupted; a run or an extraction resumes when started again"
    assert all(line.startswith("transfer: ") for line in before)  # the progress until then
    assert list(tmp_path.glob("store/features/*/*.parquet"))
    assert not list(tmp_path.glob("store/**/*.tmp"))


@pytest.mark.slow
def test_a_huge_image_is_one_line(ready: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("1", (30_000, 4_000)).save(Path(ready[0]) / "train/class0/huge.png")
    assert cli.main(["run", *ready, "--quiet"]) == 2
    err = capfd.readouterr().err
    assert "pixels" in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_the_chosen_engine_is_reported_on_standard_error_and_by_env(
    cold: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["extract", *cold]) == 0
    printed = capsys.readouterr()
    chosen = r"^transfer: \w+ \w+, measured \(images/s: eager fp32 [\d.]+.*\)$"
    assert re.search(chosen, printed.err, re.MULTILINE)
    assert "images computed" in printed.out
    store = next(word.removeprefix("--store=") for word in cold if word.startswith("--store="))
    assert cli.main(["env", "--store", store]) == 0
    assert re.search(
        r"trials +resnet18 48x64 on .*\n +eager +fp32 .* images/s, ready in", capsys.readouterr().out
    )
    assert cli.main(["env", "--store", store, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["trials"]
    assert entry["trials"][0]["engine"] == "eager"


@pytest.mark.slow
def test_quiet_tells_nothing_of_engines(cold: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["extract", *cold, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_store_of_somebody_elses_trials_does_not_break_env(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "a.json").write_text('{"declared": {}, "trials": [{"engine": 1}]}')
    assert cli.main(["env", "--store", str(tmp_path)]) == 0


def test_a_command_spends_little_on_garbage_and_a_library_is_left_as_it_is() -> None:
    code = (
        "import atexit, gc\n"
        "from transfer import cli\n"
        "from transfer.cli import commands\n"
        "before = gc.get_threshold()[0]\n"
        "commands.env = lambda args: print(gc.get_threshold()[0] > before) or 0\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
        "cli.main(['env'])\n"
        "cli.entry(['env'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue\nTrue\n"
