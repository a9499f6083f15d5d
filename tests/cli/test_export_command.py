from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transfer import cli
from transfer.serving import export
from transfer.serving.exported import Check

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]


@pytest.fixture(scope="module")
def out(
    slim_resnets: None,
    timed_once: None,
    make_images: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What a run wrote, beside its images."""
    root = tmp_path_factory.mktemp("run")
    words = [str(make_images(root / "images")), "--backbone=resnet18", "--weights=random", "--device=cpu"]
    words += ["--engine=eager", "--precision=fp32", "--methods=fc,knn", "--repeats=0", "--quiet"]
    assert cli.main(["run", *words, f"--store={root / 'store'}", f"--out={root / 'out'}"]) == 0
    return root / "out"


def test_a_file_and_its_card_are_written(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = out.parent / "images" / "test"
    words = ["export", str(out), "--format=torch", "--method=fc", "--images", str(images)]
    assert cli.main(words) == 0
    done = "12 of 12 images get the same label as from the model in fp32, probabilities differ by"
    assert capsys.readouterr().out.startswith(
        f"Written to {out / 'torch'}: model.pt2, MODEL_CARD.md; {done} "
    )
    assert {path.name for path in (out / "torch").iterdir()} == {"model.pt2", "MODEL_CARD.md"}
    card = (out / "torch" / "MODEL_CARD.md").read_text()
    assert f"| checked | {done}" in card
    assert "| licence of the weights | none: the weights are drawn at random |" in card
    assert "| test | " in card


def test_models_alone_have_a_card_without_scores(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "copied"
    models.symlink_to(out / "models")
    assert (
        cli.main(["export", str(models), f"--out={tmp_path}", "--format=torch", "--method=fc", "--quiet"])
        == 0
    )
    assert capsys.readouterr() == ("", "")
    assert "| test | " not in (tmp_path / "MODEL_CARD.md").read_text()


def test_the_result_of_another_run_is_no_part_of_the_card(out: Path, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(out / "models")
    (tmp_path / "result.json").write_text((out / "result.json").read_text() + "\n")
    words = ["export", str(tmp_path), "--format=torch", "--method=fc", "--quiet"]
    assert cli.main(words) == 0
    assert "| test | " not in (tmp_path / "torch/MODEL_CARD.md").read_text()


def test_answers_that_differ_are_reported(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export.compare

    def compare(*args: Any, **given: Any) -> Check:
        return replace(real(*args, **given), largest_difference=0.5)

    monkeypatch.setattr(export, "compare", compare)
    words = ["export", str(out), f"--out={tmp_path}", "--format=torch", "--method=fc", "--quiet"]
    assert cli.main(words) == 1
    assert "are not those of the model: 16 of 16 images of noise" in capsys.readouterr().err
    assert "5.0e-01" in (tmp_path / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--format=tflite"], "invalid choice: 'tflite'"),
        (["--format=torch", "--method=knn"], "give another --method"),
        (["--format=torch", "--method=svm"], "--method is 'svm'; choose one of"),
        (["--format=torch", "--method=fc", "--images=nope"], "no such file or folder: nope"),
    ],
)
def test_what_cannot_be_exported_gets_one_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], wrong: str
) -> None:
    assert cli.main(["export", str(out), f"--out={tmp_path / 'file'}", "--quiet", *words]) == 2
    err = capsys.readouterr().err
    assert wrong in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
