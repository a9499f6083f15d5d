from __future__ import annotations

from typing import Any

import pytest

from bench.reporting import notes, record
from bench.reporting.layout import WIDTH
from bench.reporting.notes import Note
from bench.reporting.record import Record
from tests.bench.samples import OLD_FILES, benchmark, made_up


def methods(**fit_s: float) -> list[dict[str, Any]]:
    """Methods of a run with these seconds of fitting."""
    first = record.load(OLD_FILES[0]).run["methods"][0]
    return [{**first, "name": name.replace("_", "-"), "fit_s": seconds} for name, seconds in fit_s.items()]


def whole(made: Record) -> list[str]:
    """The notes on a record with their details."""
    return [note.whole() for note in notes.notes(made)]


def test_how_many_times_as_long_fine_tuning_took_with_and_without_extraction() -> None:
    made = made_up(run={"methods": methods(fc=6.0, svm=2.0), "cold_s": 10.0})
    assert notes.answer(made) == (
        "Fine-tuning (fc, 4 settings) took 3.0 times as long as the SVM (svm, 4 settings), 6.00 s against 2.00 s, on "
        "features that are there; from a cold start, with extraction, 1.3 times, 16.0 s against 12.0 s; in the lab "
        "report 12 times (about 3 min against 15 s), on other data."
    )


def test_of_two_waits_of_less_than_a_second_none_is_named_the_longer() -> None:
    answer = notes.answer(made_up(run={"methods": methods(fc=0.9, svm=0.1), "cold_s": None}))
    assert answer.startswith(
        "On features that are there, fine-tuning (fc, 4 settings) and the SVM (svm, 4 settings) took less than a "
        "second each, 900 ms against 100 ms: time is no reason to choose; "
    )


def test_what_the_run_does_not_know_is_not_reported_as_known() -> None:
    warm = notes.answer(made_up(run={"methods": methods(fc=1.0, svm=2.0), "cold_s": None}))
    assert "0.50 times" in warm
    assert "cold start" not in warm
    assert "not both fc and svm" in notes.answer(made_up(run={"methods": methods(fc=1.0, svm_lab=2.0)}))


def test_scaled_times_and_features_that_are_not_quite_those_of_fp32_are_noted() -> None:
    backbone = {**made_up().run["backbone"], "weights": "imagenet"}
    plain = made_up(benchmark(cosine=0.9995), run={"backbone": backbone}, schema_version=2)
    assert whole(plain) == []
    noted = made_up(
        benchmark(way="openvino", precision="int8", cosine=0.98765),
        benchmark(scaled_by=2),
        run={"backbone": backbone},
        schema_version=2,
    )
    assert whole(noted) == [
        "scaled: too long to be done whole; a part was timed",
        "features not quite those of fp32 (cosine): openvino int8 on CPU 0.988",
    ]
    assert "untrained" in whole(made_up(schema_version=2))[0]
    embedded = made_up(run={"backbone": {**backbone, "weights": "embedded"}}, schema_version=2)
    assert "drawn pictures" in whole(embedded)[0]


def test_operations_that_others_disturbed_are_noted() -> None:
    environment = {"usable_cores": 4}
    quiet = made_up(benchmark(other_cores=0.7), environment=environment, schema_version=2)
    disturbed = made_up(
        benchmark(other_cores=0.9),
        benchmark(way="SVC", reference=True, other_cores=0.9),
        benchmark("predict", other_cores=0.1),
        environment=environment,
        schema_version=2,
    )
    assert not any(note.startswith("busy") for note in whole(quiet))
    assert "busy, others used cores, times may be too long: fit, SVM on CPU (0.9)" in whole(disturbed)


def test_records_of_the_old_protocol_say_so() -> None:
    assert "old protocol: ways were timed one after the other, not in turn" in whole(made_up())


@pytest.mark.parametrize(
    ("before", "text"),
    [([0.4, 3.0, 3.0], "0.4"), ([1.0, 0, 0], "1.0"), ([1.1, 0, 0], "1.1, busy"), (None, "not taken")],
)
def test_a_machine_that_others_used_is_marked(before: list[float] | None, text: str) -> None:
    made = made_up(environment={"usable_cores": 2, "load_before": before})
    assert notes.heading(made).endswith(f"load before {text}")


def test_a_note_is_a_line_that_has_as_many_details_as_fit() -> None:
    assert Note("about").line() == "Note: about"
    assert Note("about", ["a", "b"]).line() == "Note: about: a, b"
    line = Note("about", [f"number {i}" for i in range(20)]).line()
    assert line.startswith("Note: about: number 0, number 1")
    assert line.endswith(" more")
    assert len(line) <= WIDTH


def test_times_of_the_profile_quick_mean_nothing() -> None:
    assert "its times mean nothing" in whole(made_up(profile="quick"))[0]


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"load_before": [0.4]}, "quiet (load before 0.4)"),
        ({"load_before": [1.4]}, "busy (load before 1.4)"),
        ({}, "load not taken"),
    ],
)
def test_a_machine_is_busy_or_quiet(more: dict[str, Any], state: str) -> None:
    environment = {"usable_cores": 2, "load_before": None, **more}
    assert notes.busy_or_quiet(made_up(environment=environment)) == state


def test_a_machine_that_others_used_meanwhile_is_busy() -> None:
    disturbed = made_up(benchmark(other_cores=1.5), environment={"usable_cores": 2, "load_before": [0.4]})
    assert notes.busy_or_quiet(disturbed) == "busy (load before 0.4)"


def test_the_reason_has_what_a_forward_pass_in_each_epoch_would_take() -> None:
    run = {"methods": methods(fc=6.0, svm=2.0)}
    operation = "train, files to last layer"
    made = made_up(
        benchmark(operation, "once", (3.0,)),
        benchmark(operation, "network in every epoch", (6.0,), reference=True, scaled_by=40),
        run=run,
    )
    start = "Fine-tuning took 12 times as long as the SVM in the lab, here 3.0 times: features are kept, "
    assert notes.reason(made) == f"{start}an epoch is no forward pass (else 4.00 min, not 3.00 s)."
    assert notes.reason(made_up(run=run)) == f"{start}an epoch is no forward pass."
    # Timed beside fits on features that were there: nothing to compare with.
    old = made_up(
        benchmark(), benchmark(way="uncached", seconds=(6.0,), reference=True, scaled_by=40), run=run
    )
    assert notes.reason(old) == f"{start}an epoch is no forward pass (else 4.00 min)."


def test_the_reason_leaves_out_what_the_run_has_not() -> None:
    assert "here" not in notes.reason(made_up(run={"methods": methods(fc=1.0)}))
