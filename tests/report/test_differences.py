from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import WriteRun
from transfer.evaluation import statistics
from transfer.evaluation.results import Result
from transfer.evaluation.significance import adjust_holm
from transfer.report.differences import conclude, find_differences, label
from transfer.report.runs import Run, read_runs

SUPPORT = (20, 20, 20)


def runs_of(write_run: WriteRun, *seeds: int, **parts: Any) -> list[Run]:
    return read_runs([write_run(f"run{seed}", seed=seed, support=SUPPORT, **parts) for seed in seeds])


def codes(run: Run) -> tuple[Any, Any]:
    """Labels and answers of the best method, as numbers, by file."""
    assert run.answers
    order = sorted(range(len(run.answers.files)), key=run.answers.files.__getitem__)
    predicted = run.answers.predicted[run.best["name"]]
    return tuple(np.array(["abc".index(own[i]) for i in order]) for own in (run.answers.labels, predicted))


def test_the_difference_is_the_paired_one_of_the_best_methods(write_run: WriteRun) -> None:
    runs = runs_of(write_run, 0, 1)
    (found,) = find_differences(runs)
    (y_N, a_N), (_, b_N) = codes(found.a), codes(found.b)
    expected = statistics.compare_pair(y_N, a_N, b_N, 3)
    for score in ("accuracy", "macro_f1"):
        difference = found.a.best["test"][score] - found.b.best["test"][score]
        assert found.scores[score]["difference"] == pytest.approx(difference)
        assert found.scores[score]["ci95"] == expected[score]["ci95"]
        assert found.scores[score]["p_holm"] == expected[score]["p"]
    assert (found.n_images, found.unit) == (60, "image")


def test_images_are_paired_by_name_in_whatever_order_they_are_listed(write_run: WriteRun) -> None:
    def reverse(result: Result, text: str) -> tuple[Result, str]:
        head, *rows = text.splitlines()
        return result, "\n".join([head, *reversed(rows)]) + "\n"

    (straight,) = find_differences(runs_of(write_run, 0, 1))
    file = write_run("reversed", seed=1, support=SUPPORT, edit=reverse)
    (turned,) = find_differences([runs_of(write_run, 0)[0], *read_runs([file])])
    assert turned.scores == straight.scores


def test_the_best_on_validation_is_compared_with_each_other_one_by_holm(write_run: WriteRun) -> None:
    runs = runs_of(write_run, 0, 1, 2)
    found = find_differences(runs)
    best = max(runs, key=lambda run: run.best["valid"]["macro_f1"])
    assert [one.a.name for one in found] == [best.name] * 2
    assert {one.b.name for one in found} == {run.name for run in runs} - {best.name}
    for score in ("accuracy", "macro_f1"):
        adjusted = adjust_holm([one.scores[score]["p"] for one in found])
        assert [one.scores[score]["p_holm"] for one in found] == adjusted
        assert adjusted != [one.scores[score]["p"] for one in found]


def test_the_test_split_does_not_choose_the_run_that_others_are_compared_with(write_run: WriteRun) -> None:
    def better_on_validation(result: Result, text: str) -> tuple[Result, str]:
        methods = [{**m, "valid": {**m["valid"], "macro_f1": 0.99}} for m in result.methods]
        return dataclasses.replace(result, methods=methods), text

    runs = runs_of(write_run, 0, 1)
    worst = min(runs, key=lambda run: run.best["test"]["macro_f1"])
    file = write_run("worst", seed=int(worst.name[-1]), support=SUPPORT, edit=better_on_validation)
    (found,) = find_differences([*(run for run in runs if run is not worst), *read_runs([file])])
    assert found.a.name == "worst"
    assert found.scores["macro_f1"]["difference"] < 0


def by_day(n_days: int) -> Any:
    """A change of predictions that gives the images so many groups."""

    def edit(result: Result, text: str) -> tuple[Result, str]:
        head, *rows = text.splitlines()
        days = [row.replace(".jpg,,", f".jpg,day{i % n_days},") for i, row in enumerate(rows)]
        return result, "\n".join([head, *days]) + "\n"

    return edit


@pytest.mark.parametrize(
    ("first", "second", "units"),
    [(None, 6, "group"), (6, None, "group"), (1, 6, "group"), (1, None, "image"), (6, 3, "group")],
)
def test_groups_are_independent_where_a_run_has_several(
    first: int | None, second: int | None, units: str, write_run: WriteRun
) -> None:
    runs = read_runs(
        [
            write_run(f"run{seed}", seed=seed, support=SUPPORT, edit=days and by_day(days))
            for seed, days in enumerate((first, second))
        ]
    )
    (found,) = find_differences(runs)
    assert found.unit == units
    (y_N, a_N), (_, b_N) = codes(found.a), codes(found.b)
    days = min((n for n in (first, second) if n and n > 1), default=None)
    assert found.a.answers
    order = sorted(range(60), key=found.a.answers.files.__getitem__)
    groups_N = None if days is None else [i % days for i in order]
    expected = statistics.compare_pair(y_N, a_N, b_N, 3, groups_N=groups_N)
    assert found.scores["macro_f1"]["ci95"] == pytest.approx(expected["macro_f1"]["ci95"])


@pytest.mark.parametrize(
    ("ci95", "p", "words"),
    [
        ([0.01, 0.2], 0.01, "it is ahead of b (svm) in macro F1"),
        ([-0.2, -0.01], 0.01, "it is behind b (svm) in macro F1"),
        ([0.01, 0.2], 0.06, "its lead over b (svm) in macro F1 may be chance"),
        ([-0.2, 0.1], 0.06, "that it is behind b (svm) in macro F1 may be chance"),
        ([-0.1, 0.1], 1.0, "it equals b (svm) in macro F1"),
        ([-0.01, 0.01], 0.6, "it is the same within 2 points as b (svm) in macro F1"),
    ],
)
def test_the_conclusion_follows_interval_and_adjusted_p(
    ci95: list[float], p: float, words: str, write_run: WriteRun
) -> None:
    runs = read_runs([write_run("a"), write_run("b")])
    (found,) = find_differences(runs)
    entry = {**found.scores["macro_f1"], "difference": sum(ci95) / 2, "ci95": ci95, "p_holm": p}
    changed = dataclasses.replace(found, scores={**found.scores, "macro_f1": entry})
    assert conclude(runs, [changed]) == [
        f"a (svm) is best on the validation split; on the same 36 test images {words}."
    ]


def test_results_of_one_conclusion_are_listed_together(write_run: WriteRun) -> None:
    runs = runs_of(write_run, 0, 1, 2, 3)
    found = find_differences(runs)
    entry = {**found[0].scores["macro_f1"], "difference": 0.1, "ci95": [-0.1, 0.3], "p_holm": 0.5}
    alike = [dataclasses.replace(one, scores={"macro_f1": entry}) for one in found]
    b, c, d = (label(one.b) for one in found)
    assert f" its lead over {b}, {c} and {d} in macro F1 may be chance." in conclude(runs, alike)[0]


def test_every_pair_can_be_compared(write_run: WriteRun) -> None:
    runs = runs_of(write_run, 0, 1, 2, 3)
    found = find_differences(runs, every=True)
    names = [(one.a.name, one.b.name) for one in found]
    assert names == list(itertools.combinations((run.name for run in runs), 2))
    by_pair = {frozenset(pair): one for pair, one in zip(names, found, strict=True)}
    for one in find_differences(runs):
        own = by_pair[frozenset((one.a.name, one.b.name))].scores["accuracy"]
        assert abs(own["difference"]) == abs(one.scores["accuracy"]["difference"])
        assert own["p_holm"] >= one.scores["accuracy"]["p_holm"]
