from __future__ import annotations

import io

import jsonschema_rs
import pytest
from rich.console import Console

from tests.report.curves import make_curve
from transfer.evaluation.extrapolation import NO_RISE
from transfer.heads.registry import METHODS, default_methods
from transfer.report import curve as report
from transfer.system import schemas


def shown(record: report.Curve) -> list[str]:
    out = io.StringIO()
    report.show(record, Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_a_made_curve_keeps_the_published_schema() -> None:
    jsonschema_rs.validate(schemas.load_schema("curve"), make_curve())


@pytest.mark.slow
@pytest.mark.parametrize("methods", [("fc", "svm"), ("fc", "svm", "ridge"), default_methods()])
def test_a_curve_fits_a_terminal(methods: tuple[str, ...]) -> None:
    sizes = tuple(k * 10**power for power in range(5) for k in (1, 2, 5))
    lines = shown(make_curve(methods=methods, sizes=sizes, grouped=True))
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    assert sum(line.lstrip().startswith("all ") for line in lines) == 2  # the largest sizes are kept


def test_a_table_has_means_and_ranges_and_the_last_row_no_range() -> None:
    found = report.table(make_curve(), "macro_f1")
    assert found.title == "macro F1 on the test split, means over 3 draws (least-most)"
    first, last = found.rows[0], found.rows[-1]
    assert first == ["1", "16", "-", "0.393 (.36-.42)", "0.413 (.38-.44)"]
    assert last[:3] == ["all", "900", "-"]
    assert last[3:] == ["0.833", "0.853"]


def test_an_extrapolation_is_called_one() -> None:
    record = make_curve()
    record["methods"][1]["extrapolation"]["macro_f1"] |= {
        "gain": 0.021,
        "range": [-0.004, 0.05],
        "without_last": 0.8472,
    }
    assert report.sentences(record, "macro_f1")[1] == (
        "svm: with twice the labels (1,800): about +2.1 points of macro F1 (-0.4 to +5.0), extrapolated "
        "(without the last point the fit says 0.847 for it; measured: 0.853)"
    )


def test_what_is_not_extrapolated_says_why() -> None:
    record = make_curve(sizes=(1, 2))
    assert report.sentences(record, "accuracy")[0].startswith(
        "fc: accuracy is not extrapolated: too few points"
    )
    record["methods"][0]["extrapolation"]["macro_f1"] = {"reason": NO_RISE}
    assert report.sentences(record, "macro_f1")[0].endswith("not extrapolated: " + NO_RISE)


def test_notes_say_what_the_range_is_not() -> None:
    text = "\n".join(report.notes(make_curve()))
    assert "not the uncertainty of the test split" in text
    assert "Groups" not in text
    assert "Groups are ignored within the training split" in "\n".join(report.notes(make_curve(grouped=True)))


def test_the_score_that_settings_are_chosen_by_comes_first() -> None:
    record = make_curve()
    record["config"]["select"] = "accuracy"
    titles = [line for line in shown(record) if "means over" in line]
    assert [title.split()[0] for title in titles] == ["accuracy", "macro"]


def test_a_plot_beside_the_table_has_a_mark_for_each_mean_and_the_range_of_the_draws() -> None:
    record = make_curve(sizes=(1, 2))
    for method, scores in zip(
        record["methods"], ([[0.0, 0.5], [0.5, 1.0], [1.0]], [[0.0], [0.75], [0.5]]), strict=True
    ):
        for point, draws in zip(method["points"], scores, strict=True):
            point["accuracy"] = draws
    found = report.plot(record, "accuracy", report.table(record, "accuracy"), 74)
    assert found.columns[-3:] == [" o fc", " x svm", "0.00 to 1.00"]
    assert [row[-1] for row in found.rows] == [
        "x----o-----..........",
        "..........-----*-----",
        "..........x.........o",
    ]


@pytest.mark.parametrize(
    ("n_methods", "columns", "plotted"), [(2, 80, True), (2, 70, False), (7, 80, False), (7, 130, True)]
)
def test_a_plot_is_drawn_where_the_terminal_has_room_for_it(
    n_methods: int, columns: int, plotted: bool
) -> None:
    record = make_curve(methods=tuple(METHODS)[:n_methods])
    table = report.table(record, "accuracy", bands=n_methods < 4)
    assert (report.plot(record, "accuracy", table, columns) is not table) == plotted


def test_scores_that_are_all_the_same_are_plotted() -> None:
    record = make_curve(methods=("fc",), sizes=(1,))
    for point in record["methods"][0]["points"]:
        point["accuracy"] = [0.5]
    found = report.plot(record, "accuracy", report.table(record, "accuracy"), 60)
    assert {row[-1].rstrip(".") for row in found.rows} == {"o"}
