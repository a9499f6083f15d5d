"""Parts that crash, hang or take too long cost themselves alone."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.gpu import schedule, summary
from bench.gpu.__main__ import main
from bench.gpu.parts import Spec
from bench.gpu.schedule import DONE, FAILED, MANIFEST, NOT_BEGUN, STOPPED
from bench.gpu.summary import SCHEMA
from transfer.system import schemas
from transfer.system.errors import UserError

# A part that behaves as its name says.
PART = """
import json, os, pathlib, subprocess, sys, time
name, out = sys.argv[1], pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / (name + ".json")).write_text(json.dumps({"rows": [{}], "left_out": [{"what": "a", "why": "b"}]}))
if name == "crashing":
    print("why it crashed")
    os.abort()
if name == "hanging":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (out / "child").write_text(str(child.pid))
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(schedule, "COMMAND", (sys.executable, "-c", PART))
    monkeypatch.setattr(schedule.hardware, "describe", lambda: ENVIRONMENT)

    def of(*names: str, minutes: float = 10) -> list[dict[str, Any]]:
        parts = [Spec(name=name, share=1.0 if name != "hanging" else 1e-3) for name in names]
        manifest = schedule.run(tmp_path / "out", device="cpu", minutes=minutes, parts=parts)
        path = tmp_path / "out" / MANIFEST
        assert json.loads(path.read_text()) == manifest
        schemas.validate(manifest, json.loads(SCHEMA.read_text()), path, "GPU results")
        return list(manifest["parts"])

    return of


ENVIRONMENT = {"processor": "a", "usable_cores": 1, "libraries": {}, "gpus": [], "commit": None}


@pytest.mark.slow
def test_a_crash_costs_that_part_alone(run: Any) -> None:
    crashing, good = run("crashing", "good")
    assert (crashing["status"], good["status"]) == (FAILED, DONE)
    assert crashing["said"][0] == "why it crashed"
    assert crashing["rows"] == 1  # what it had measured is kept
    assert good["said"] == []


@pytest.mark.slow
def test_a_part_that_hangs_is_stopped_with_what_it_started(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LEAST_S", 0.1)
    monkeypatch.setattr(schedule, "STOPPED_AFTER", 3.0)
    hanging, good = run("hanging", "good")
    assert (hanging["status"], good["status"]) == (STOPPED, DONE)
    child = int((tmp_path / "out/child").read_text())
    for _ in range(100):  # ended, though nobody may have waited for it
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 0)
        pytest.fail("it still runs")


def test_parts_without_time_are_not_begun(run: Any) -> None:
    assert {part["status"] for part in run("good", "better", minutes=0.2)} == {NOT_BEGUN}


def test_unused_time_goes_to_later_parts(run: Any) -> None:
    first, last = run("good", "better")
    assert last["share_s"] > 1.8 * first["share_s"]


def test_results_of_two_runs_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "result.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--out", str(tmp_path)])
    with pytest.raises(UserError, match="is not an empty folder"):
        main()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_summary_names_what_was_left_out(run: Any, tmp_path: Path) -> None:
    run("good")
    console = Console(width=80, file=io.StringIO(), record=True)
    summary.show(tmp_path / "out", console)
    assert "left out of good: a (b)" in console.export_text()
