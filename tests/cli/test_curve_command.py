from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema_rs
import pytest

from tests.cli.words import words_for
from tests.samples import MakeImages
from transfer import cli
from transfer.evaluation import learning_curve
from transfer.heads.registry import METHODS
from transfer.system import schemas

pytestmark = pytest.mark.usefixtures("slim_resnets", "timed_once")


@pytest.fixture(scope="module")
def extracted(slim_resnets: None, make_images: MakeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images and a store that holds their features."""
    root = tmp_path_factory.mktemp("extracted")
    make_images(root / "images", train=12)
    assert cli.main(["extract", *words_for(root), "--engine=eager", "--precision=fp32", "--quiet"]) == 0
    return root


@pytest.fixture
def ready(extracted: Path, tmp_path: Path) -> list[str]:
    """Words that measure a curve on a copy of these images and their features."""
    shutil.copytree(extracted, tmp_path, dirs_exist_ok=True)
    return ["curve", *words_for(tmp_path), "--methods=knn"]


def test_a_curve_is_printed_and_written(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep/out"
    assert cli.main([*ready, "--draws=2", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "macro F1 on the test split, means over 2 draws" in text
    assert text.splitlines()[-1] == f"Written to {out}: curve.html, curve.json"
    jsonschema_rs.validate(schemas.load_schema("curve"), json.loads((out / "curve.json").read_text()))
    assert "<svg" in (out / "curve.html").read_text()


@pytest.mark.slow
def test_json_is_all_there_is_on_standard_output(
    ready: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*ready, "--json", "--seed=3", "--select=accuracy", "--epochs=2"]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert config | {"draws": 5, "seed": 3, "select": "accuracy", "epochs": 2, "methods": ["knn"]} == config


def test_the_default_methods_are_methods() -> None:
    assert set(learning_curve.DEFAULT_METHODS) <= set(METHODS)


@pytest.mark.slow
def test_quiet_leaves_a_line_for_each_method(ready: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*ready, "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("knn: ")
    assert len(out.splitlines()) == 1
    assert err == ""


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--draws=1"], "--draws is 1; give a whole number from 2 to 1000"),
        (["--methods=nope"], "--methods is 'nope'; choose one of fc-lab, "),
        (["--draws=x"], "invalid int value"),
        (["--repeats=3"], "unrecognized arguments: --repeats=3; see transfer curve --help"),
    ],
)
def test_wrong_options_get_one_line(
    ready: list[str], capsys: pytest.CaptureFixture[str], words: list[str], wrong: str
) -> None:
    assert cli.main([*ready, *words]) == 2
    err = capsys.readouterr().err
    assert wrong in err
    assert len(err.splitlines()) == 1


def test_images_that_make_no_curve_get_one_line(
    ready: list[str], tmp_path: Path, make_images: MakeImages, capsys: pytest.CaptureFixture[str]
) -> None:
    ready[1] = str(make_images(tmp_path / "few", train=1))
    assert cli.main(ready) == 2
    assert "no class has two training images" in capsys.readouterr().err
    ready[1] = str(make_images(tmp_path / "one", classes=1))
    assert cli.main(ready) == 2
    assert "fewer than two classes" in capsys.readouterr().err.splitlines()[-1]


def test_an_output_folder_among_the_images_is_refused(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "images/train/class0/out"
    assert cli.main([*ready, "--out", str(out)]) == 2
    assert "which holds images; give an --out beside" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_an_output_folder_beside_the_splits_is_no_class(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "images/curve"
    for _ in range(2):
        assert cli.main([*ready, "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_skipped_images_are_reported_and_exit_3(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images/train/class0/1.jpg").write_bytes(b"no image")
    assert cli.main([*ready, "--quiet", "--on-bad-image=skip"]) == 3
    assert "skipped 'train/class0/1.jpg'" in capsys.readouterr().err


def test_an_interrupted_curve_ends_with_130_in_one_line(
    ready: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learning_curve, "measure", stop)
    assert cli.main([*ready, "--quiet"]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_groups_are_said_to_be_ignored_within_train(
    ready: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*ready, "--groups", r"^\d"]) == 0
    assert "Groups are ignored within the training split" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_curve_that_can_not_be_written_is_shown(
    ready: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/curve.json").mkdir(parents=True)
    assert cli.main([*ready, "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert "means over 5 draws" in out
    assert "Written to" not in out
    assert "curve.json" in err.splitlines()[-1]
