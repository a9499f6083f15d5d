from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from tests.report.conftest import WriteRun
from transfer import report
from transfer.evaluation.results import Result
from transfer.report import frontier, side_by_side
from transfer.report.frontier import Point, describe_points, find_frontier, time_per_image
from transfer.report.runs import Run, read_runs

Edit = Callable[[Result, str], tuple[Result, str]]


def edited(backbone: str, images_per_s: float | None, device: str = "cpu", **environment: Any) -> Edit:
    """A function that gives a result a network, a rate and a machine."""

    def edit(result: Result, text: str) -> tuple[Result, str]:
        return dataclasses.replace(
            result,
            backbone={**result.backbone, "name": backbone},
            features={**result.features, "images_per_s": images_per_s},
            engine={**result.engine, "device": device, "trials": []},
            environment={**result.environment, **environment},
        ), text

    return edit


@pytest.fixture
def runs(write_run: WriteRun) -> list[Run]:
    """Four runs: the seeds give them scores, the rates times."""
    rates = {"a": 100.0, "b": 50.0, "c": 25.0, "d": None}
    return read_runs(
        [
            write_run(name, seed=seed, support=(20, 20, 20), edit=edited(f"net_{name}", rate))
            for seed, (name, rate) in enumerate(rates.items())
        ]
    )


def scored(run: Run, value: float) -> Run:
    """The run with another score of its best method on the test split."""
    best = run.best
    test = {**best["test"], "macro_f1": value}
    methods = [{**own, "test": test} if own is best else own for own in run.result.methods]
    return dataclasses.replace(run, result=dataclasses.replace(run.result, methods=methods))


def test_points_are_in_the_order_of_their_times(runs: list[Run]) -> None:
    points = find_frontier(runs[::-1])
    assert [one.run.name for one in points] == ["a", "b", "c", "d"]
    assert [one.seconds_per_image for one in points] == [0.01, 0.02, 0.04, None]
    assert [one.timed for one in points] == ["run", "run", "run", None]


@pytest.mark.parametrize(
    ("values", "on_frontier", "rivals"),
    [
        ((0.5, 0.6, 0.7), [True, True, True], [None, "a", "b"]),
        ((0.5, 0.4, 0.7), [True, False, True], [None, "a", "a"]),
        ((0.5, 0.8, 0.7), [True, True, False], [None, "a", "b"]),
        ((0.5, 0.5, 0.5), [True, False, False], [None, "a", "a"]),
    ],
)
def test_no_other_point_is_as_fast_and_better_than_one_of_the_frontier(
    values: tuple[float, ...], on_frontier: list[bool], rivals: list[str | None], runs: list[Run]
) -> None:
    points = find_frontier([scored(run, value) for run, value in zip(runs, values, strict=False)])
    assert [one.on_frontier for one in points] == on_frontier
    assert [one.rival and one.rival.name for one in points] == rivals


def test_of_equally_fast_ones_the_better_is_on_the_frontier(write_run: WriteRun) -> None:
    runs = read_runs([write_run(name, edit=edited(name, 10.0)) for name in "ab"])
    points = find_frontier([scored(runs[0], 0.4), scored(runs[1], 0.5)])
    assert [(one.run.name, one.on_frontier) for one in points] == [("b", True), ("a", False)]


def test_the_difference_is_the_paired_one_with_its_interval(runs: list[Run]) -> None:
    _, second, *_ = find_frontier(runs)
    assert second.rival
    assert second.difference
    own = second.run.best["test"]["macro_f1"] - second.rival.best["test"]["macro_f1"]
    assert second.difference["difference"] == pytest.approx(own)
    low, high = second.difference["ci95"]
    assert low <= own <= high


@pytest.mark.parametrize(
    ("ci95", "p", "said"),
    [
        (
            [0.01, 0.09],
            0.01,
            "is slower than a and better: +5.0 (+1.0 to +9.0, which excludes 0)",
        ),
        ([-0.01, 0.11], 0.1, "is slower than a and perhaps better: +5.0 (-1.0 to +11.0, which includes 0)"),
        ([-0.09, -0.01], 0.01, "b is dominated: it is slower than a and worse: -5.0"),
        ([-0.11, 0.01], 0.1, "b is dominated: it is slower than a and no better: -5.0"),
        ([0.01, 0.09], 0.06, "is slower than a and perhaps better: +5.0 (+1.0 to +9.0, which excludes 0)"),
        (None, 1, "is slower than a and its difference has no interval: +5.0 points of macro F1."),
    ],
)
def test_a_sentence_says_what_the_time_buys(
    ci95: list[float] | None, p: float, said: str, runs: list[Run]
) -> None:
    behind = ci95 is not None and sum(ci95) < 0
    a, b = scored(runs[0], 0.5), scored(runs[1], 0.45 if behind else 0.55)
    point = Point(
        run=b,
        seconds_per_image=0.1,
        rival=a,
        difference=ci95 and {"difference": 0.05, "ci95": ci95, "p": p},
        on_frontier=not behind,
    )
    sentence, rule = frontier.sentences([point])
    assert said in sentence
    assert rule == frontier.RULE


def test_the_table_and_the_sentences_name_what_has_no_time(runs: list[Run]) -> None:
    points = find_frontier(runs)
    rows = side_by_side.frontier(points, 200).rows
    assert [(row[1], row[3]) for row in rows][-1] == ("-", "-")
    assert [row[1] for row in rows][:3] == ["10 ms", "20 ms", "40 ms"]
    assert any(sentence.startswith("d has no time") for sentence in frontier.sentences(points))


def test_times_of_trials_are_marked(runs: list[Run]) -> None:
    engine = runs[3].result.engine
    trials = [
        {"engine": engine["name"], "precision": "other", "images_per_s": 7.0},
        {"engine": engine["name"], "precision": engine["precision"], "images_per_s": 200.0},
    ]
    cached = dataclasses.replace(runs[3].result, engine={**engine, "trials": trials})
    assert time_per_image(cached) == (0.005, "trial")
    points = find_frontier([runs[0], dataclasses.replace(runs[3], result=cached)])
    assert frontier.format_time(points[0]) == "5 ms *"
    assert frontier.TRIALS in frontier.sentences(points)


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": "net_a", "images_per_s": 7.0},
        {"backbone": "b", "images_per_s": None},
        {"backbone": "b", "images_per_s": 7.0, "device": "cuda"},
        {"backbone": "b", "images_per_s": 7.0, "processor": "another"},
    ],
)
def test_what_does_not_compare_has_no_frontier(other: dict[str, Any], write_run: WriteRun) -> None:
    runs = read_runs(
        [write_run("a", edit=edited("net_a", 5.0)), write_run("b", seed=1, edit=edited(**other))]
    )
    assert find_frontier(runs) == []
    assert frontier.sentences([]) == []


def test_other_test_images_have_no_frontier(write_run: WriteRun) -> None:
    runs = read_runs(
        [
            write_run("a", edit=edited("a", 5.0)),
            write_run("b", support=(9, 9, 9), edit=edited("b", 7.0)),
        ]
    )
    assert find_frontier(runs) == []


def test_points_are_described_as_the_schema_has_them(runs: list[Run]) -> None:
    points = find_frontier(runs)
    described = describe_points(points)
    assert [one["name"] for one in described] == ["a", "b", "c", "d"]
    assert described[0]["rival"] is described[0]["difference_ci95"] is None
    assert described[1]["difference_ci95"] == points[1].difference["ci95"]  # type: ignore[index]
    assert described[3]["on_frontier"] is described[3]["seconds_per_image"] is None


RECORD: dict[str, Any] = {
    "config": {"select": "macro_f1", "time_budget_s": 600.0},
    "seconds": 120.0,
    "candidates": [
        {"name": "a", "state": "compared", "reason": None},
        {"name": "b", "state": "dropped", "reason": "0.2"},
        {"name": "c", "state": "failed", "reason": "no such file"},
        {"name": "d", "state": "not reached", "reason": "it would take 9 s more"},
    ],
    "halving": {
        "head": "ridge",
        "stopped": "the time",
        "rounds": [
            {
                "share": 0.125,
                "images": 1000,
                "candidates": [
                    {"name": "b", "score": 0.2, "computed": 0, "seconds": 2.0},
                    {"name": "a", "score": 0.5, "computed": 900, "seconds": 10.0},
                ],
                "dropped": ["b"],
            }
        ],
    },
}


def test_remarks_say_what_was_dropped_when_and_why() -> None:
    assert frontier.remarks(RECORD) == [
        "Round 1, 1/8 of the training and validation images (1,000), macro F1 of ridge on validation: "
        "a 0.500 (900 images computed, 10.00 s), b 0.200 (0 images computed, 2.00 s); dropped: b.",
        "No more rounds: the time.",
        "c failed: no such file.",
        "d was not reached: it would take 9 s more.",
        "120 s were used of the time budget of 600 s.",
    ]
    without = {**RECORD, "halving": None, "candidates": RECORD["candidates"][:1]}
    assert frontier.remarks(without) == []


def test_a_terminal_shows_the_frontier_and_the_remarks(runs: list[Run]) -> None:
    console = Console(file=io.StringIO(), width=80)
    report.show_side_by_side(runs, console, ["c failed: no such file."])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Score against time" in text
    assert "Note: c failed: no such file." in text
    assert max(map(len, text.splitlines())) <= 80
