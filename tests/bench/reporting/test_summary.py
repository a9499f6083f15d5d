from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.reporting import record, summary
from bench.reporting.record import Record
from tests.bench.samples import OLD_FILES, benchmark, made_up, written
from transfer import report
from transfer.report.rendering import markdown

H200 = "NVIDIA H200"


def shown(made: Record, *filed: Record, width: int = 80) -> str:
    stream = io.StringIO()
    summary.show(made, filed, Console(file=stream, width=width))
    return stream.getvalue()


def row(table: summary.Table, name: str) -> list[str]:
    """The cells of the row that begins so."""
    return next(list(cells[1:]) for cells in table.rows if cells[0].strip() == name)


def methods(**fit_s: float) -> list[dict[str, Any]]:
    """Methods of a run with these seconds of fitting."""
    first = record.load(OLD_FILES[0]).run["methods"][0]
    return [{**first, "name": name.replace("_", "-"), "fit_s": seconds} for name, seconds in fit_s.items()]


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: path.name)
def test_old_files_are_drawn_within_80_columns_and_no_figure_is_cut_off(path: Path) -> None:
    made = record.load(path)
    drawn = shown(made)
    assert max(map(len, drawn.splitlines())) <= 80
    words = set(re.findall(r"[^\s()]+", drawn))
    for table in (summary.accuracies(made), summary.times(made, None), summary.ratios(made)):
        in_cells = {word for cells in table.rows for cell in cells for word in re.findall(r"[^\s()]+", cell)}
        assert in_cells <= words


def test_accuracies_are_those_of_the_run_with_their_intervals() -> None:
    made = made_up()
    table = summary.accuracies(made)
    for method in made.run["methods"]:
        low, high = method["accuracy_ci95"]
        assert row(table, method["name"])[1] == f"{method['accuracy']:.3f} ({low:.2f}-{high:.2f})"
    assert "24 test images" in table.title


def test_without_a_gpu_its_column_says_so() -> None:
    table = summary.times(made_up(benchmark(images=8)), None)
    assert table.columns[-1] == " no GPU here"
    assert row(table, "svm") == ["200 ms (100-400)", "40.0", "-"]


def test_a_gpu_of_this_machine_stands_beside_its_processor() -> None:
    made = made_up(benchmark(images=8), benchmark(device="cuda", seconds=(0.02,), images=80))
    lent = summary.lender(made, [made_up(benchmark(device="cuda"), gpu=H200)])
    table = summary.times(made, lent)
    assert lent is None
    assert row(table, "fit, SVM") == ["8 images", "", "80 images", ""]
    assert row(table, "svm") == ["200 ms (100-400)", "40.0", "20.0 ms", "4,000"]


def test_the_newest_recorded_gpu_is_lent_and_named() -> None:
    here = made_up(benchmark(), benchmark("predict"))
    old = made_up(benchmark(device="cuda", seconds=(9.0,)), gpu=H200, created="2026-11-01T00:00:00+00:00")
    new = made_up(benchmark(device="cuda", seconds=(0.5,)), gpu=H200, created="2026-11-02T00:00:00+00:00")
    other = made_up(benchmark("else", device="cuda"), gpu="L4", created="2026-11-03T00:00:00+00:00")
    table = summary.times(here, summary.lender(here, [old, new, other, made_up()]))
    assert "GPU: amd-epyc-2-cores-nvidia-h200, recorded 2026-11-02, not this machine" in table.title
    assert row(table, "svm") == ["200 ms (100-400)", "", "500 ms", ""]
    assert "recorded 2026-11-02" in " ".join(shown(here, old, new, other).split())


def test_every_way_of_ours_is_set_against_every_reference_on_its_device() -> None:
    made = made_up(
        benchmark(way="slow", seconds=(4.0,)),
        benchmark(way="best", seconds=(1.0,)),
        benchmark(way="loop", seconds=(2.0,), reference=True),
        benchmark(way="part", seconds=(8.0,), reference=True, scaled_by=100),
        benchmark(way="best", seconds=(0.1,), device="cuda"),
        benchmark("no reference", way="best"),
        benchmark("no way of ours", way="loop", reference=True),
    )
    assert summary.ratios(made).rows == [
        ["fit, SVM, CPU", "loop", "part, scaled"],
        ["  best", "2.0x", "800x"],
        ["  slow", "0.50x", "200x"],
    ]


def test_of_two_short_times_no_ratio_is_given() -> None:
    short = made_up(
        benchmark(way="ours", seconds=(0.002,)),
        benchmark(way="short", seconds=(0.004,), reference=True),
        benchmark(way="long", seconds=(0.02,), reference=True),
    )
    assert summary.ratios(short).rows[1] == ["  ours", "both short", "10.0x"]


def test_a_record_without_references_is_drawn() -> None:
    assert summary.ratios(made_up()).rows == []
    assert "200 ms" in shown(made_up())


def test_how_many_times_as_long_fine_tuning_took_with_and_without_extraction() -> None:
    made = made_up(run={"methods": methods(fc=6.0, svm=2.0), "cold_s": 10.0})
    assert summary.answer(made) == (
        "Fine-tuning (fc, 4 settings) took 3.0 times as long as the SVM (svm, 4 settings), 6.00 s against 2.00 s, on "
        "features that are there; from a cold start, with extraction, 1.3 times, 16.0 s against 12.0 s; in the lab "
        "report 12 times (about 3 min against 15 s), on other data."
    )


def test_of_two_waits_of_less_than_a_second_none_is_named_the_longer() -> None:
    answer = summary.answer(made_up(run={"methods": methods(fc=0.9, svm=0.1), "cold_s": None}))
    assert answer.startswith(
        "On features that are there, fine-tuning (fc, 4 settings) and the SVM (svm, 4 settings) took less than a "
        "second each, 900 ms against 100 ms: time is no reason to choose; "
    )


def test_what_the_run_does_not_know_is_not_reported_as_known() -> None:
    warm = summary.answer(made_up(run={"methods": methods(fc=1.0, svm=2.0), "cold_s": None}))
    assert "0.50 times" in warm
    assert "cold start" not in warm
    assert "not both fc and svm" in summary.answer(made_up(run={"methods": methods(fc=1.0, svm_lab=2.0)}))


def test_the_lab_has_the_same_figures_in_every_report() -> None:
    assert f"{summary.LAB_FINE_TUNING_S // 60} min" in report.LAB
    assert f"{summary.LAB_SVM_S} s" in report.LAB


def test_scaled_times_and_features_that_are_not_quite_those_of_fp32_are_noted() -> None:
    backbone = {**made_up().run["backbone"], "weights": "imagenet"}
    plain = made_up(benchmark(cosine=0.9995), run={"backbone": backbone}, schema_version=2)
    assert summary.notes(plain) == []
    noted = made_up(
        benchmark(way="openvino", precision="int8", cosine=0.98765),
        benchmark(scaled_by=2),
        run={"backbone": backbone},
        schema_version=2,
    )
    assert summary.notes(noted) == [
        "scaled: too long to be done whole; a part was timed",
        "features that are not quite those of fp32 (cosine, at least): openvino int8 on CPU 0.988",
    ]
    assert "untrained" in summary.notes(made_up(schema_version=2))[0]
    embedded = made_up(run={"backbone": {**backbone, "weights": "embedded"}}, schema_version=2)
    assert "drawn pictures" in summary.notes(embedded)[0]


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
    assert not any(note.startswith("busy") for note in summary.notes(quiet))
    assert (
        "busy, times may be too long: other processes used cores during fit, SVM on CPU (0.9)"
        in summary.notes(disturbed)
    )


def test_records_of_the_old_protocol_say_so() -> None:
    assert "old protocol: ways were timed one after the other, not in turn" in summary.notes(made_up())


@pytest.mark.parametrize(
    ("dirty", "text"), [(True, "64e681a with changes"), (False, "64e681a"), (None, "64e681a")]
)
def test_a_tree_that_differed_is_reported(dirty: bool | None, text: str) -> None:
    assert summary.commit({"commit": "64e681a31b4029ad5967a9b3b155b622f824ffb0", "dirty": dirty}) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [([0.4, 3.0, 3.0], "0.4"), ([1.0, 0, 0], "1.0"), ([1.1, 0, 0], "1.1, busy"), (None, "not taken")],
)
def test_a_machine_that_others_used_is_marked(before: list[float] | None, text: str) -> None:
    made = made_up(environment={"usable_cores": 2, "load_before": before})
    assert summary.heading(made).endswith(f"load before {text}")


def test_names_are_never_interpreted() -> None:
    hostile = "[bold]a[/] | b\n\x1b[31m `c` </td>"
    run = {**made_up().run, "verdict": hostile}
    run["data"] = {**run["data"], "name": hostile}
    run["methods"] = [{**method, "name": hostile, "kind": hostile} for method in run["methods"]]
    benchmarks = [benchmark(hostile, hostile, reference=reference) for reference in (True, False)]
    made = made_up(*benchmarks, run=run, environment={"processor": hostile})
    drawn = shown(made, width=300)
    assert "[bold]a[/] | b" in drawn
    assert "\x1b" not in drawn
    for table in (summary.accuracies(made), summary.times(made, None), summary.ratios(made)):
        text = markdown(table)
        assert "\\[bold\\]a\\[/\\] \\| b" in text
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in text.split("\n")[2:]}) == 1


def test_the_command_draws_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(made_up(), tmp_path / "record.json")
    monkeypatch.setattr("sys.argv", ["bench.reporting.summary", str(path)])
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert summary.main() == 0
    assert "200 ms (100-400)" in capsys.readouterr().out
