from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from tests.report.conftest import WriteRun
from tests.samples import EXAMPLE
from transfer import report
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.report import side_by_side
from transfer.report.rendering import wrap
from transfer.report.runs import Run, read_runs
from transfer.report.wording import format_score


@pytest.fixture
def example() -> Result:
    return results.load(EXAMPLE)


def printed(runs: list[Run], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    report.show_side_by_side(runs, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_shown_method_of_every_result_has_a_row_of_its_own(example: Result) -> None:
    other = dataclasses.replace(example, environment={**example.environment, "processor": "another"})
    runs = [Run("a", example), Run("b", other)]
    rows = [row for row in side_by_side.scores(runs).rows if row[1]]
    shown = [method for run in runs for method in run.shown_methods()]
    for row, method in zip(rows, shown, strict=True):
        marked = " *" if method["name"] == example.comparison["best"] else ""
        assert row[1] == method["name"] + marked
        assert row[2] == format_score(method["test"], "accuracy")
        assert row[3] == format_score(method["test"], "macro_f1")


def test_the_machine_is_said_once_where_it_is_the_same(example: Result) -> None:
    other = dataclasses.replace(example, engine={**example.engine, "precision": "fp32"})
    text = printed([Run("a", example), Run("b", other)])
    assert text.count("AMD EPYC") == 1
    assert "fp32" in text


def test_a_result_without_known_seconds_has_none(example: Result) -> None:
    features = {**example.features, "cold_seconds": None, "images_per_s": None}
    runs = [Run("a", example), Run("b", dataclasses.replace(example, features=features))]
    full = side_by_side.scores_in_full(runs)
    own = [dict(zip(full.columns, row, strict=True)) for row in full.rows if row[0] == "b"]
    assert {row[" cold"] for row in own} == {row[" speed"] for row in own} == {"-"}


def test_80_columns_are_enough_whatever_names_hold(write_run: WriteRun) -> None:
    def rename(result: Result, text: str) -> tuple[Result, str]:
        backbone = {**result.backbone, "name": "network_" * 9}
        features = {**result.features, "cold_seconds": 98.76, "images_per_s": 1234.5}
        methods = [{**m, "fit_s": 98.76} for m in result.methods]
        return dataclasses.replace(result, backbone=backbone, features=features, methods=methods), text

    first, second = write_run("first_" * 15), write_run("second " * 15, seed=1, edit=rename)
    runs = read_runs([first, second])
    lines = printed(runs).splitlines()
    assert any(line.startswith("first_first_") and "fc" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_figures_are_whole_on_a_narrow_terminal(write_run: WriteRun) -> None:
    words = set(printed(read_runs([write_run("a"), write_run("b", seed=1)]), 40).split())
    for row in side_by_side.scores(read_runs([write_run("a"), write_run("b", seed=1)])).rows:
        assert {word for cell in row[1:] for word in cell.split()} <= words


def test_names_are_broken_at_hyphens() -> None:
    pair = "resnet34-64x96 (svm) - efficientnet_lite0-64x96 (svm)"
    assert wrap(pair, 19) == ["resnet34-64x96", "(svm) -", "efficientnet_lite0-", "64x96 (svm)"]
    assert wrap("rates 1e-05, 1e-04", 8, " ") == [" rates", " 1e-05,", " 1e-04"]


@pytest.mark.parametrize("name", ["[bold red]x[/]", "\x1b[31mred", "line\nbreak"])
def test_names_are_never_interpreted(name: str, example: Result) -> None:
    hostile = dataclasses.replace(example, data={**example.data, "name": name})
    text = printed([Run(name, hostile), Run("b", example)], 200)
    assert "\x1b" not in text
    assert "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) in text


def test_differences_are_shown_where_the_test_images_are_the_same(write_run: WriteRun) -> None:
    same = printed(read_runs([write_run("a"), write_run("b", seed=1)]))
    assert "in points, on the same test images" in same
    assert "on the same 36 test images" in " ".join(same.split())
    other = printed(read_runs([write_run("a"), write_run("c", support=(9, 9, 9))]))
    assert "in points" not in other
    assert "c: other images than a, so their scores do not compare" in " ".join(other.split())
