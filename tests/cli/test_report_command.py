from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.samples import EXAMPLE
from transfer import cli


def test_report_takes_folders_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLE, tmp_path / name / "result.json")
    folders, page = [str(tmp_path / name) for name in ("one", "two")], tmp_path / "page.html"
    assert cli.main(["report", folders[0]]) == 0
    assert "Methods on the test split" in capsys.readouterr().out
    assert cli.main(["report", *folders]) == 0
    assert {"one", "two"} <= set(capsys.readouterr().out.split())
    assert cli.main(["report", folders[0], "--html", str(page)]) == 0
    assert "Confusion matrix" in page.read_text()
    assert cli.main(["report", *folders, "--html", str(page)]) == 0
    assert "<h1>one, two</h1>" in page.read_text()
    assert capsys.readouterr().out == ""


def test_predictions_of_another_result_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(EXAMPLE, tmp_path / "result.json")
    (tmp_path / "predictions.csv").write_text("split,file\n")
    assert cli.main(["report", str(tmp_path), str(EXAMPLE)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "2 results" in out
    assert "can't be read as predictions (other columns); no difference has an interval" in out
