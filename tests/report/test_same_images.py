from __future__ import annotations

import dataclasses

import pytest

from tests.report.conftest import WriteRun
from transfer.evaluation.results import Result
from transfer.report.differences import find_differences
from transfer.report.runs import read_runs
from transfer.report.same_images import group_runs, notes, relate


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
    assert "split: as many images of each class as first, but not the same test images (another split" in text


def test_a_label_that_was_changed_makes_other_test_images(write_run: WriteRun) -> None:
    names = (("a", "b", "c"), ("a", "b", "d"))
    a, b = read_runs([write_run(own[2], classes=own) for own in names])
    assert relate(a, b) == "other"


@pytest.mark.parametrize(
    ("prints", "relation"), [(("a", "a"), "same"), (("a", "b"), "unknown"), ((None, "a"), "unknown")]
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
    assert "no predictions.csv beside the result" in " ".join(notes(runs))


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
