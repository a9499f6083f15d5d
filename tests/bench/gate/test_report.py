"""What the gate prints and how it exits."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.gate import __main__ as command
from bench.gate import report
from bench.gate.compare import Outcome, Row
from bench.gate.verdict import FASTER, SAME, SLOWER, UNCLEAR, Ratio
from transfer.system.errors import UserError


def row(name: str, verdict: str, median: float = 1.0) -> Row:
    ratio = Ratio(median=median, low=median - 0.01, high=median + 0.01, slower_p=0.5, faster_p=0.5)
    return Row(name=name, base_s=0.01, head_s=0.01 * median, ratio=ratio, verdict=verdict)


def outcome(**parts: Any) -> Outcome:
    lists = ("rows", "controls", "moved", "missing", "failed", "new", "uncompared", "stages")
    empty: dict[str, Any] = {name: [] for name in lists}
    return Outcome(**{**empty, "pytest_output": "", **parts})


def printed(found: Outcome) -> str:
    file = io.StringIO()
    report.show(found, Console(file=file, width=100))
    return file.getvalue()


def test_the_worst_comes_first() -> None:
    rows = [row("a", SAME), row("b", FASTER, 0.8), row("c", UNCLEAR), row("fit[svm]", SLOWER, 1.21)]
    text = printed(outcome(rows=rows, controls=[row("control_x", "")]))
    order = [text.index(name) for name in ("fit[svm]", "c ", "b ", "a ", "control_x")]
    assert order == sorted(order)
    assert "1.210 1.200-1.220 SLOWER" in " ".join(text.split())
    assert "red: slower by more than the tolerance: fit[svm]" in text


@pytest.mark.parametrize(
    ("parts", "status", "line"),
    [
        ({"rows": [row("a", SAME)]}, 0, "passed: no benchmark is slower"),
        ({"rows": [row("a", UNCLEAR), row("b", FASTER)]}, 0, "passed: no benchmark is slower"),
        ({"rows": [row("a", SLOWER)]}, 1, "red: slower by more than the tolerance: a"),
        ({"missing": ["a"]}, 1, "red: missing on the newer revision: a"),
        ({"failed": ["a"], "pytest_output": "E  why"}, 1, "red: fails on the newer revision: a"),
        ({"new": ["a"]}, 4, "inconclusive: new: a; nothing was compared"),
        ({"rows": [row("a", SAME)], "new": ["b"]}, 0, "passed: new: b; no benchmark is slower"),
        (
            {"rows": [row("a", SAME)], "uncompared": ["b"]},
            0,
            "passed: not compared, since it fails on the older",
        ),
        ({"rows": [row("a", SLOWER)], "moved": ["control_x"]}, 4, "inconclusive: control_x moved"),
        ({"missing": ["a"], "moved": ["control_x"]}, 1, "red: missing on the newer revision: a"),
    ],
)
def test_verdict(parts: dict[str, Any], status: int, line: str) -> None:
    found = outcome(**parts)
    assert found.status == status
    assert report.verdict(found).startswith(line)
    assert parts.get("pytest_output", "") in printed(found)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "no such revision: nowhere; give a revision that git knows"),
        (["HEAD", "--tolerance", "10"], "--tolerance is 10.0; give a share between 0 and 1"),
        (["HEAD", "nowhere"], "no such revision: nowhere"),
        (["HEAD", "--json", "nowhere/gate.json"], "there is no folder nowhere"),
    ],
)
def test_bad_usage_is_reported_before_anything_is_timed(argv: list[str], message: str, clone: Path) -> None:
    with pytest.raises(UserError, match=message):
        command.main(argv)


def test_the_file_holds_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(rows=[row("a", SLOWER)], stages=[{"a": [(1.0, 1.2)]}])
    monkeypatch.setattr(command, "gate", lambda args: found)
    assert command.main(["HEAD", "--json", str(tmp_path / "gate.json")]) == 1
    kept = json.loads((tmp_path / "gate.json").read_text())
    assert kept["status"] == 1
    assert kept["stages"] == [{"a": [[1.0, 1.2]]}]
