from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

from tests.report.conftest import WriteRun
from tests.report.html.test_page import HOSTILE, Page
from tests.samples import EXAMPLE
from transfer import report
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.report.differences import find_differences, label
from transfer.report.frontier import find_frontier
from transfer.report.html import several, several_charts
from transfer.report.runs import Run, read_runs


def texts(markup: object) -> str:
    return re.sub(r"<[^>]*>", "\n", str(markup))


def test_the_page_refers_to_nothing_outside_itself(write_run: WriteRun) -> None:
    text = report.page_of_several(read_runs([write_run("a"), write_run("b", seed=1)]))
    page = Page(text)
    assert "default-src 'none'" in text
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset")
    ]
    assert addresses
    assert all(address.startswith("#") for address in addresses)


def test_sections_named_at_the_top_are_there(write_run: WriteRun) -> None:
    page = Page(report.page_of_several(read_runs([write_run("a"), write_run("b", seed=1)])))
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    ids = [attributes.get("id") for tag, attributes in page.elements if tag == "h2"]
    assert links == [f"#{name}" for name in ids]
    assert "#differences" in links


def test_results_of_version_1_without_predictions_have_a_page() -> None:
    example = results.load(EXAMPLE)
    page = Page(report.page_of_several([Run("a", example), Run("b", example)]))
    text = "".join(page.texts)
    assert "old protocol" in text
    assert "No two of these results have predictions of the same test images" in text
    assert ("h2", {"id": "differences"}) not in page.elements


@pytest.mark.parametrize("name", [*HOSTILE, "</title><script>alert(1)</script>"])
def test_names_are_text_whatever_they_hold(name: str, write_run: WriteRun) -> None:
    def rename(result: Result, text: str) -> tuple[Result, str]:
        return dataclasses.replace(
            result,
            data={**result.data, "name": name},
            backbone={**result.backbone, "name": name, "weights": name},
            environment={**result.environment, "processor": name},
        ), text

    classes = [name, "b", "c"]
    runs = read_runs([write_run("a", classes=classes), write_run("b", classes=classes, seed=1, edit=rename)])
    runs = [dataclasses.replace(run, name=f"{name} {i}") for i, run in enumerate(runs)]
    text = report.page_of_several(runs)
    page = Page(text)
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert "b" not in {tag for tag, _ in page.elements}
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    assert visible in "".join(page.texts)
    assert not set("\x1b\udcff") & set(text)


def test_recall_of_the_best_methods_stands_side_by_side(write_run: WriteRun) -> None:
    runs = read_runs([write_run("a"), write_run("b", seed=1)])
    rows = several.class_rows(runs)
    for c, row in enumerate(rows):
        recalls = [run.best["test"]["per_class"][c]["recall"] for run in runs]
        assert row["class"] == "abc"[c]
        assert row["images"] == 12
        assert [value for _, value in row["recalls"]] == recalls
        assert row["apart"][1] == pytest.approx(max(recalls) - min(recalls))


def test_classes_that_a_result_lacks_and_other_numbers_of_images_are_told(write_run: WriteRun) -> None:
    runs = read_runs([write_run("a"), write_run("b", classes=("a", "d"), support=(6, 0))])
    rows = {row["class"]: row for row in several.class_rows(runs)}
    assert list(rows) == ["a", "b", "c", "d"]
    assert {row["images"] for row in rows.values()} == {None}
    assert [text.split(" of ")[1] for text, _ in rows["a"]["recalls"]] == ["12", "6"]
    assert [text for text, _ in rows["d"]["recalls"]] == ["-", "-"]
    assert rows["b"]["recalls"][1] == ("-", None)


def test_every_method_of_every_result_is_drawn(write_run: WriteRun) -> None:
    example = results.load(EXAMPLE)
    runs = [*read_runs([write_run("a")]), Run("b", example)]
    assert {method["name"] for method in example.methods} - {
        method["name"] for method in runs[0].result.methods
    }
    for score in ("accuracy", "macro_f1"):
        drawn = texts(several_charts.methods(runs, score))
        for run in runs:
            for method in run.result.methods:
                assert f"{run.name}, {method['name']}: " in drawn


def test_points_are_drawn_where_two_results_have_a_time(write_run: WriteRun) -> None:
    def warm(result: Result, text: str) -> tuple[Result, str]:
        features = {**result.features, "cold_seconds": None, "images_per_s": None}
        return dataclasses.replace(result, features=features), text

    a, b, c = read_runs([write_run("a"), write_run("b", seed=1), write_run("c", edit=warm)])
    for draw in (several_charts.score_against_time, several_charts.score_against_speed):
        assert draw([a, c], "accuracy") is None
        drawn = texts(draw([a, b, c], "accuracy"))
        assert all((label(run) in drawn) == (run is not c) for run in (a, b, c))


@pytest.mark.parametrize("seconds", [0.0, 1.7e308])
def test_seconds_of_any_size_are_drawn(seconds: float) -> None:
    example = results.load(EXAMPLE)
    features = {**example.features, "cold_seconds": seconds, "images_per_s": seconds}
    runs = [Run("a", example), Run("b", dataclasses.replace(example, features=features))]
    assert "b (" in texts(several_charts.score_against_time(runs, "accuracy"))


def test_differences_are_drawn_for_every_pair(write_run: WriteRun) -> None:
    runs = read_runs([write_run(f"run{seed}", seed=seed) for seed in range(3)])
    found = find_differences(runs)
    drawn = texts(several_charts.differences(found, "macro_f1"))
    assert all(f"{label(one.a)} - {label(one.b)}: " in drawn for one in found)
    assert several_charts.differences([], "macro_f1") is None


@pytest.mark.parametrize(
    ("name", "shown"), [("short", "short"), ("a" * 20 + "b" * 20, "aaa\N{HORIZONTAL ELLIPSIS}bbbb")]
)
def test_long_names_keep_their_ends(name: str, shown: str) -> None:
    assert several_charts.shorten(name, 8) == shown


def test_the_settings_of_every_result_keep_their_lines(write_run: WriteRun) -> None:
    runs = read_runs([write_run("a"), write_run("b")])
    text = report.page_of_several(runs)
    assert text.count("&#34;processor&#34;: &#34;AMD EPYC&#34;") == 2
    assert "\N{REPLACEMENT CHARACTER}" not in text


def test_a_page_of_one_result_keeps_the_lines_of_its_settings() -> None:
    text = report.page(results.load(EXAMPLE), None)
    assert "\N{REPLACEMENT CHARACTER}" not in text


def test_the_frontier_is_drawn_with_its_table_and_the_remarks(write_run: WriteRun) -> None:
    def edit(rate: float) -> Callable[[Result, str], tuple[Result, str]]:
        return lambda result, text: (
            dataclasses.replace(
                result,
                backbone={**result.backbone, "name": f"net{rate}"},
                features={**result.features, "images_per_s": rate},
            ),
            text,
        )

    runs = read_runs([write_run(f"run{rate}", seed=rate, edit=edit(rate)) for rate in (10, 20, 40)])
    points = find_frontier(runs)
    drawn = str(several_charts.frontier(runs, points, "macro_f1"))
    for one in points:
        assert f"{label(one.run)}: macro F1" in texts(drawn)
    assert ("polyline" in drawn) == (sum(one.on_frontier for one in points) > 1)
    # A result has the same colour in all drawings of a page.
    other = str(several_charts.score_against_speed(runs, "macro_f1"))
    for name in (run.name for run in runs):
        (own,), (again,) = (re.findall(rf'class="(m\d)"><title>{name} ', text) for text in (drawn, other))
        assert own == again
    page = report.page_of_several(runs, ["x was not reached: no time left."])
    assert 'id="frontier"' in page
    assert "Each pair, in points" in page
    assert "x was not reached: no time left." in page
    assert 'id="frontier"' not in report.page_of_several(runs[:1])
