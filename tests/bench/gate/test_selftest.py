"""The gate's self-test: work that is planted, and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.gate import selftest
from bench.gate.compare import INCONCLUSIVE, PASSED, RED, Outcome, Row
from bench.gate.selftest import Plant, Trial
from bench.gate.verdict import FASTER, SAME, SLOWER, Ratio
from tests.refusals import refusal


def outcome(status: int, **verdicts: str) -> Outcome:
    """One that ended so, with a verdict for each benchmark."""
    ratio = Ratio(median=1.0, low=0.9, high=1.1, slower_p=0.5, faster_p=0.5)
    rows = [
        Row(name=name, base_s=1.0, head_s=1.0, ratio=ratio, verdict=verdict)
        for name, verdict in verdicts.items()
    ]
    parts: dict[str, Any] = {name: [] for name in ("controls", "missing", "new", "uncompared", "stages")}
    moved = ["control"] if status == INCONCLUSIVE else []
    made = Outcome(**parts, rows=rows, moved=moved, failed=[], pytest_output="")
    assert made.status == status
    return made


@pytest.mark.parametrize("every", [1, 4, 5])
def test_a_planted_function_does_its_work_once_more_in_so_many_calls(tmp_path: Path, every: int) -> None:
    (tmp_path / "module.py").write_text(
        "calls = []\n\n\ndef work(x):\n    calls.append(x)\n    return 2 * x\n"
    )
    selftest._plant(tmp_path, Plant("module.py", "work", "a"), every)
    module: dict[str, Any] = {}
    exec((tmp_path / "module.py").read_text(), module)
    assert [module["work"](x) for x in range(20)] == [2 * x for x in range(20)]
    assert len(module["calls"]) == 20 + 20 // every


def test_what_is_planted_is_there() -> None:
    root = Path(selftest.__file__).parents[2]
    for plant in (*selftest.PLANTS, selftest.OPENVINO, selftest.TWO_THREADS):
        assert f"def {plant.function.split('.')[-1]}(" in (root / plant.module).read_text()


def test_a_planted_method_waits_for_a_batch_under_way_where_its_condition_holds(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        "waited, several = [], False\n\n\nclass Engine:\n    def submit(self, x):\n"
        "        return lambda: waited.append(x)\n"
    )
    selftest._plant(tmp_path, Plant("module.py", "Engine.submit", "a", "several"), 1)
    module: dict[str, Any] = {}
    exec((tmp_path / "module.py").read_text(), module)
    module["Engine"]().submit(1)()
    module["several"] = True
    module["Engine"]().submit(2)()
    assert module["waited"] == [1, 2, 2]


PLANT = selftest.PLANTS[0]
ADDED, REMOVED = lambda: selftest.slower([PLANT], 5, 0), lambda: selftest.faster(PLANT, 4, 0)


@pytest.mark.parametrize(
    ("trial", "given", "right", "wrong"),
    [
        (lambda: selftest.equal(0), outcome(PASSED, decode=SAME), True, False),
        (lambda: selftest.equal(0), outcome(RED, decode=SLOWER), False, True),
        (lambda: selftest.equal(0), outcome(INCONCLUSIVE, decode=SLOWER), False, False),
        (lambda: selftest.busy(0), outcome(RED, decode=SLOWER), False, True),
        (ADDED, outcome(RED, decode=SLOWER, score=SAME), True, False),
        (ADDED, outcome(RED, decode=SLOWER, score=SLOWER), False, True),
        (ADDED, outcome(RED, decode=SAME, score=SLOWER), False, True),
        (ADDED, outcome(PASSED, decode=SAME, score=SAME), False, True),
        (ADDED, outcome(INCONCLUSIVE, decode=SLOWER), False, False),
        (REMOVED, outcome(PASSED, decode=FASTER, score=SAME), True, False),
        (REMOVED, outcome(PASSED, decode=SAME, score=SAME), False, True),
        (REMOVED, outcome(PASSED, decode=FASTER, score=FASTER), False, True),
    ],
)
def test_which_answers_are_right(
    monkeypatch: pytest.MonkeyPatch, clone: Path, trial: Any, given: Outcome, right: bool, wrong: bool
) -> None:
    monkeypatch.setattr(selftest, "compare", lambda *_, **__: given)
    monkeypatch.setattr(selftest, "_plant", lambda *_: None)
    found: Trial = trial()
    assert (found.right, found.wrong) == (right, wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "status", "trials"),
    [
        ([RED], PASSED, 1),
        ([INCONCLUSIVE, RED], PASSED, 2),
        ([INCONCLUSIVE] * 3, INCONCLUSIVE, 3),
        ([PASSED], RED, 1),
    ],
)
def test_an_inconclusive_gate_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, clone: Path, tmp_path: Path, answers: list[int], status: int, trials: int
) -> None:
    statuses: Iterator[int] = iter(answers)

    def compare(*_: Any, **__: Any) -> Outcome:
        answer = next(statuses)
        verdict = SLOWER if answer == RED else SAME
        return outcome(answer, decode=SAME, forward_openvino=verdict, forward_two_threads=verdict)

    monkeypatch.setattr(selftest, "compare", compare)
    monkeypatch.setattr(selftest, "_plant", lambda *_: None)
    path = tmp_path / "trials.json"
    assert selftest.main(["--json", str(path)]) == status
    assert [trial["status"] for trial in json.loads(path.read_text())["trials"]] == answers[:trials]


@pytest.mark.parametrize("words", [["--trials", "0"], ["--trials", "-1"]])
def test_no_trials_are_refused_before_any_begins(words: list[str]) -> None:
    assert refusal(selftest.main, words) == f"--trials is {words[1]}; give a whole number from 1 up"


def test_a_file_without_trials_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text("{}")
    assert "holds no trials" in refusal(selftest.main, ["--show", str(path)])


def test_trials_in_a_file_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [outcome(PASSED, decode=SAME)] * 2 + [outcome(RED, decode=SLOWER)]
    trials = [
        selftest.recorded(Trial(kind="equal", outcome=one, seconds=90, right=one.status == PASSED))
        for one in given
    ]
    path = tmp_path / "trials.json"
    path.write_text(json.dumps({"trials": trials}))
    assert selftest.main(["--show", str(path)]) == PASSED
    words = capsys.readouterr().out.split("\n")[-2].split()
    assert words == ["equal", "2", "1", "0", "1.5", "min", "decode", "SLOWER", "(1)", "WRONG"]
