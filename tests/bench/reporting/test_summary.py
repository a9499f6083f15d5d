from __future__ import annotations

import io
import re
from itertools import takewhile
from pathlib import Path

import pytest
from rich.console import Console

from bench.reporting import comparison, record, summary
from bench.reporting.record import Record
from tests.bench.samples import OLD_FILES, benchmark, made_up, written

FILED = record.load_filed(record.RESULTS)
RECORDS = [*map(record.load, OLD_FILES), *FILED]


def shown(made: Record, *filed: Record, width: int = 80, verbose: bool = False) -> str:
    stream = io.StringIO()
    summary.show(made, filed, Console(file=stream, width=width), verbose=verbose)
    return stream.getvalue()


def common(first: str, second: str) -> str:
    """The longest text that both begin with."""
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


@pytest.mark.parametrize("made", RECORDS, ids=lambda made: f"{made.machine} {made.created[:10]}")
def test_a_record_fits_a_screen_and_every_operation_has_one_line(made: Record) -> None:
    written = [
        Path("out/bench.html"),
        Path("out/record.json"),
        Path("out/report.html"),
        Path("out/result.json"),
    ]
    gpu_record = comparison.find_gpu_record(made, FILED)
    lines = summary.lines(made, gpu_record, written)
    assert len(lines) <= summary.HEIGHT
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)
    operations = list(comparison.by_device(made, gpu_record))
    head = next(i for i, line in enumerate(lines) if line.startswith("operation "))
    table = lines[head + 1 : head + 1 + len(operations)]
    for operation, line in zip(operations, table, strict=True):
        label = common(operation, line).rstrip(" ,")
        assert [other for other in operations if other.startswith(label)] == [operation]


@pytest.mark.parametrize("made", RECORDS, ids=lambda made: f"{made.machine} {made.created[:10]}")
def test_every_score_of_a_record_is_shown_once(made: Record) -> None:
    text = shown(made, *FILED)
    for method in made.run["methods"]:
        (line,) = re.findall(rf"^{re.escape(method['name'])} .*\(\d\.\d\d-.*$", text, re.M)
        for score in ("accuracy", "macro_f1"):
            low, high = method[f"{score}_ci95"]
            assert f"{method[score]:.3f} ({low:.2f}-{high:.2f})" in line


def test_the_head_has_machine_state_day_and_commit() -> None:
    text = shown(made_up(environment={"processor": "A", "usable_cores": 4, "load_before": [0.5]}, gpu="L4"))
    first = text.splitlines()[0]
    assert first.startswith("A, 4 cores, L4; quiet (load before 0.5), 2026-11-23, ")
    assert first.endswith(", fast")


def test_the_beginning_of_the_verdict_is_shown_where_the_record_has_it() -> None:
    made = made_up(run={"headline": "svm is ahead."})
    assert "svm is ahead." in shown(made).splitlines()
    assert made.run["verdict"] not in " ".join(shown(made).split())


def test_counts_name_the_widest_spread_and_what_was_skipped() -> None:
    made = made_up(
        benchmark(seconds=(1.0, 1.0, 1.1)),
        benchmark(way="loop", seconds=(1.0, 1.0, 1.5)),
        benchmark("once", seconds=(1.0,)),
        benchmark("short", seconds=(0.001, 0.002, 0.005)),
        skipped={"needs minutes": 1, "no CUDA device": 9},
    )
    text = shown(made)
    assert "4 benchmarks; widest spread 50 % (fit, SVM: loop)\n" in text
    assert "10 skipped: no CUDA device (9), needs minutes (1)\n" in text
    assert "spread" not in shown(made_up(benchmark(seconds=(1.0,))))


def test_notes_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_up(benchmark(scaled_by=2))
    found = sum(line.startswith("Note: ") for line in summary.lines(made, None))
    assert found > 2
    monkeypatch.setattr(summary, "HEIGHT", len(summary.lines(made, None)) - 1)
    lines = summary.lines(made, None)
    assert len(lines) == summary.HEIGHT
    assert "Note: 2 more notes: --verbose, or the page" in lines


def test_verbose_adds_every_way_and_ratio_and_the_recorded_machines() -> None:
    made = made_up(
        benchmark(),
        benchmark(way="svm 2", seconds=(0.5,)),
        benchmark(way="SVC", seconds=(0.8,), reference=True),
    )
    gpu = made_up(benchmark(device="cuda"), gpu="L4")
    short, long = shown(made, gpu), shown(made, gpu, verbose=True)
    assert long.startswith(short)
    for words in ("200 ms (100-400)", "1.6x", "amd-epyc-2-cores-l4"):
        assert words in long
        assert words not in short


def test_names_are_never_interpreted() -> None:
    hostile = "[bold]a[/] | b\n\x1b[31m `c` </td>"
    run = {**made_up().run, "verdict": hostile, "headline": hostile}
    run["data"] = {**run["data"], "name": hostile}
    run["methods"] = [{**method, "name": hostile, "kind": hostile} for method in run["methods"]]
    benchmarks = [benchmark(hostile, hostile, reference=reference) for reference in (True, False)]
    made = made_up(*benchmarks, run=run, environment={"processor": hostile}, skipped={hostile: 1})
    text = shown(made, verbose=True, width=300)
    assert "[bold]a[/] | b" in text
    assert "\x1b" not in text


def test_the_command_prints_a_summary_and_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = written(made_up(), tmp_path / "record.json"), tmp_path / "new" / "bench.html"
    (tmp_path / "report.html").touch()
    monkeypatch.setattr("sys.argv", ["bench.reporting.summary", str(path), "--html", str(page)])
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    assert summary.main() == 0
    text = capsys.readouterr().out
    assert "200 ms" in text
    assert f"In {tmp_path}: record.json, report.html" in " ".join(text.split())
    assert page.read_text("utf-8").startswith("<!doctype html>")
