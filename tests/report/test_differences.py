from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import WriteRun
from transfer.evaluation import statistics
from transfer.evaluation.results import Result
from transfer.report.differences import conclude, find_differences, group_runs, notes, relate
from transfer.report.runs import Run, read_runs

SUPPORT = (20, 20, 20)


def runs_of(write_run: WriteRun, *seeds: int, **parts: Any) -> list[Run]:
    return read_runs([write_run(f"run{seed}", seed=seed, support=SUPPORT, **parts) for seed in seeds])


def codes(run: Run) -> tuple[Any, Any]:
    """Labels and answers of the best method, as numbers, by file."""
    assert run.answers
    order = sorted(range(len(run.answers.files)), key=run.answers.files.__getitem__)
    said = run.answers.said[run.best["name"]]
    return tuple(np.array(["abc".index(own[i]) for i in order]) for own in (run.answers.labels, said))


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
        adjusted = statistics.adjust_holm([one.scores[score]["p"] for one in found])
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


def test_groups_are_independent_where_one_of_the_runs_has_them(write_run: WriteRun) -> None:
    def by_day(result: Result, text: str) -> tuple[Result, str]:
        head, *rows = text.splitlines()
        days = [row.replace(".jpg,,", f".jpg,day{i % 6},") for i, row in enumerate(rows)]
        return result, "\n".join([head, *days]) + "\n"

    runs = [runs_of(write_run, 0)[0], *read_runs([write_run("b", seed=1, support=SUPPORT, edit=by_day)])]
    (found,) = find_differences(runs)
    assert found.unit == "group"


def test_test_images_that_differ_give_no_difference(write_run: WriteRun) -> None:
    def split_otherwise(result: Result, text: str) -> tuple[Result, str]:
        return result, text.replace("image 0.jpg", "image 900.jpg")

    first, other, split = read_runs(
        [
            write_run("first"),
            write_run("other", support=(11, 12, 13)),
            write_run("split", edit=split_otherwise),
        ]
    )
    assert (relate(first, other), relate(first, split)) == ("other", "split")
    assert find_differences([first, other, split]) == []
    assert [len(group) for group in group_runs([first, other, split])] == [1, 1, 1]
    text = " ".join(notes([first, other, split]))
    assert "other: other images than first, so their scores do not compare" in text
    assert "split: as many images of each class as first, in another split" in text


def test_a_label_that_was_changed_makes_other_test_images(write_run: WriteRun) -> None:
    names = (("a", "b", "c"), ("a", "b", "d"))
    a, b = read_runs([write_run(own[2], classes=own) for own in names])
    assert relate(a, b) == "other"


@pytest.mark.parametrize(
    ("prints", "relation"), [(("a", "a"), "same"), (("a", "b"), "split"), ((None, "a"), "unknown")]
)
def test_without_predictions_the_fingerprint_tells(
    prints: tuple[str | None, str | None], relation: str, write_run: WriteRun
) -> None:
    files = [
        write_run(name, predictions=False, data={"fingerprint": letter * 64} if letter else {})
        for name, letter in zip(("first", "second"), prints, strict=True)
    ]
    runs = read_runs(files)
    assert relate(*runs) == relation
    assert find_differences(runs) == []
    assert ("no predictions.csv beside the result" in " ".join(notes(runs))) == (relation != "split")


def test_the_same_test_images_of_other_data_are_noted(write_run: WriteRun) -> None:
    runs = read_runs(
        [write_run("a", data={"fingerprint": "a" * 64}), write_run("b", data={"fingerprint": "b" * 64})]
    )
    assert len(find_differences(runs)) == 1
    assert "a, b: the test images have the same names and labels, but" in " ".join(notes(runs))


def test_results_of_the_old_protocol_and_predictions_of_another_result_are_noted(write_run: WriteRun) -> None:
    def old(result: Result, text: str) -> tuple[Result, str]:
        return dataclasses.replace(result, schema_version=1), text.replace("c,c,", "c,a,")

    text = " ".join(notes(read_runs([write_run("new"), write_run("old", edit=old)])))
    assert "old: old protocol" in text
    assert "is of another result: its scores differ; no difference has an interval" in text


@pytest.mark.parametrize(
    ("ci95", "p", "words"),
    [
        ([0.01, 0.2], 0.01, "is ahead of b (svm)"),
        ([-0.2, -0.01], 0.01, "is behind b (svm)"),
        ([0.01, 0.2], 0.06, "may differ from b (svm) by chance alone"),
        ([-0.01, 0.01], 0.6, "is the same within 2 points as b (svm)"),
    ],
)
def test_the_conclusion_follows_interval_and_adjusted_p(
    ci95: list[float], p: float, words: str, write_run: WriteRun
) -> None:
    (found,) = find_differences(read_runs([write_run("a"), write_run("b")]))
    entry = {**found.scores["macro_f1"], "ci95": ci95, "p_holm": p}
    changed = dataclasses.replace(found, scores={**found.scores, "macro_f1": entry})
    assert conclude([changed], "macro_f1") == [
        f"On the same 36 test images a (svm), the best on validation, {words} in macro F1."
    ]
