from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from bench.reporting import record
from bench.reporting.record import Record
from tests.bench.samples import OLD_FILES, benchmark, made_up, timed, written
from tests.samples import EXAMPLE
from transfer import report
from transfer.evaluation import results
from transfer.report.verdict import headline
from transfer.system.errors import UserError

REPOSITORY = Path(__file__).parents[3]
HOSTILE = "[bold]a[/]\n| b `c` \x1b[31m"


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Record]:
    """A function that makes the record of the result at hand and of made-up benchmarks."""

    def make(*benchmarks: dict[str, Any], **more: Any) -> Record:
        path = tmp_path / "benchmarks.json"
        path.write_text(json.dumps(timed(*benchmarks, **more)))
        return record.make_record(EXAMPLE, path)

    return make


def test_the_schema_is_itself_valid_and_has_every_field() -> None:
    jsonschema_rs.meta.validate(record.schema())
    fields = {field.name for field in dataclasses.fields(Record)}
    assert fields == set(record.schema()["properties"])
    assert fields - {"skipped"} == set(record.schema()["required"])


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: path.name)
def test_old_files_load_and_are_written_again_the_same(path: Path) -> None:
    assert record.load(path).to_json() == path.read_text()


def test_a_record_keeps_raw_seconds_and_all_information_of_a_benchmark(make: Callable[..., Record]) -> None:
    whole = benchmark(
        method="svm",
        shape=[10, 4],
        accuracy=0.5,
        macro_f1=0.25,
        scaled_by=2.5,
        other_cores=0.25,
        later="unknown yet",
    )
    made = make(whole)
    assert made.benchmarks == [whole]
    assert (made.created, made.profile, made.machine) == (
        "2026-11-24T08:00:00.123456+00:00", "fast", "amd-epyc-2-cores",
    )  # fmt: skip


def test_a_record_has_what_tables_need_of_the_run(make: Callable[..., Record]) -> None:
    ran, run = results.load(EXAMPLE), make().run
    assert run["verdict"] == report.verdict(ran)
    assert run["headline"] == headline(ran)
    assert run["cold_s"] == ran.features["cold_seconds"]
    assert run["data"]["test"] == ran.data["splits"]["test"]["per_class"]
    for kept, method in zip(run["methods"], ran.methods, strict=True):
        assert kept["accuracy_ci95"] == method["test"]["accuracy_ci95"]
        assert kept["recall"] == [entry["recall"] for entry in method["test"]["per_class"]]
        assert kept.keys().isdisjoint({"sweep", "confusion"})


def test_a_record_that_was_written_is_loaded_again(tmp_path: Path, make: Callable[..., Record]) -> None:
    made = make(benchmark(way=HOSTILE), benchmark(operation=HOSTILE), skipped={HOSTILE: 3})
    assert record.load(written(made, tmp_path / "record.json")) == made


def test_what_was_skipped_is_kept_where_it_is_known(make: Callable[..., Record]) -> None:
    skipped = {"no CUDA device": 9, HOSTILE: 1}
    assert make(skipped=skipped).skipped == skipped
    assert make().skipped is None
    with pytest.raises(UserError, match="skipped"):
        make(skipped={"no CUDA device": "many"})


def test_a_tree_that_differed_in_either_part_is_reported(make: Callable[..., Record]) -> None:
    environment = {**timed()["machine_info"], "dirty": False}
    assert results.load(EXAMPLE).environment["dirty"]
    assert make(machine_info=environment).environment["dirty"]


@pytest.mark.parametrize(
    ("processor", "cores", "gpus", "name"),
    [
        ("AMD EPYC", 2, [], "amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", 8, [], "intel-xeon-cpu-2-20ghz-8-cores"),
        ("AMD EPYC", 16, ["NVIDIA H200"], "amd-epyc-16-cores-nvidia-h200"),
        ("AMD EPYC", 16, ["NVIDIA H200"] * 2, "amd-epyc-16-cores-2-nvidia-h200"),
        ("../../etc", 1, [], "etc-1-cores"),
        ("\u7389\n", 1, [], "1-cores"),
    ],
)
def test_a_machine_has_a_name_that_is_safe_in_paths(
    processor: str, cores: int, gpus: list[str], name: str
) -> None:
    environment = {"processor": processor, "usable_cores": cores, "gpus": [{"name": gpu} for gpu in gpus]}
    assert record.machine(environment) == name


@pytest.mark.parametrize("key", record.SAME)
def test_files_of_different_machines_or_versions_make_no_record(
    make: Callable[..., Record], key: str
) -> None:
    changed = {"usable_cores": 3, "libraries": {"torch": "0.1"}}.get(key, "other")
    with pytest.raises(UserError, match=f"differ in {key}"):
        make(machine_info={**timed()["machine_info"], key: changed})


@pytest.mark.parametrize(
    ("benchmarks", "message"),
    [
        ([benchmark(), benchmark()], "2 benchmarks are both"),
        (
            [benchmark(images=8), benchmark(way="SVC", reference=True, images=9)],
            "images differ within 'fit, SVM'",
        ),
        ([benchmark(device="tpu")], "at benchmarks/0/device"),
        ([benchmark(seconds=(0.0,))], "at benchmarks/0/seconds/0"),
        ([benchmark(accuracy=1.5)], "at benchmarks/0/accuracy"),
        ([benchmark(other_cores=-0.5)], "at benchmarks/0/other_cores"),
        ([{**benchmark(), "threads": True}], "at benchmarks/0/threads"),
    ],
    ids=["twice", "unequal work", "device", "no time", "accuracy", "other cores", "threads"],
)
def test_benchmarks_that_mean_nothing_are_refused(
    make: Callable[..., Record], benchmarks: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make(*benchmarks)


def test_a_gpu_may_be_given_more_images(make: Callable[..., Record]) -> None:
    ways = [
        benchmark(images=n, device=d, reference=r)
        for n, d in ((8, "cpu"), (80, "cuda"))
        for r in (True, False)
    ]
    assert make(*ways).benchmarks == ways


@pytest.mark.parametrize("key", ["machine_info", "datetime", "benchmarks", "profile"])
def test_a_foreign_benchmark_file_is_reported(tmp_path: Path, key: str) -> None:
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps({k: v for k, v in timed().items() if k != key}))
    with pytest.raises(UserError, match=f"it has no {key}"):
        record.make_record(EXAMPLE, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine_info": []}, "at the top"),
        ({"machine_info": {}}, "at the top"),
        ({"benchmarks": 3}, "lacks group, extra_info or data"),
        ({"benchmarks": [3]}, "lacks group, extra_info or data"),
        ({"benchmarks": [{"group": "a", "stats": {"data": [1]}}]}, "lacks group, extra_info or data"),
        ({"benchmarks": []}, "at benchmarks"),
        ({"datetime": "../2026"}, "at created"),
    ],
    ids=str,
)
def test_a_strange_benchmark_file_is_reported(
    make: Callable[..., Record], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no object"),
        (b'{"schema_version": 3}', "schema_version is 3"),
        (b'{"schema_version": 2}', "at the top"),
        (b'{"schema_version": 1}', "at the top"),
        (b'{"schema_version": [1]}', r"schema_version is \[1\]"),
        (b'{"schema_version": NaN}', "NaN is no number"),
        (b"\xff", "not JSON"),
        (b" " * (record.MAX_BYTES + 1), "larger than"),
    ],
    ids=[
        "empty",
        "deep",
        "list",
        "version",
        "keys missing",
        "keys of version 1 missing",
        "list for version",
        "not a number",
        "not utf-8",
        "huge",
    ],
)
def test_what_is_no_record_is_reported_in_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=message) as caught:
        record.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_machine_that_was_renamed_by_hand_is_reported(tmp_path: Path) -> None:
    renamed = dataclasses.replace(made_up(), machine="faster")
    with pytest.raises(UserError, match="machine is not what its environment says"):
        record.load(written(renamed, tmp_path / "record.json"))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't read"):
        record.load(tmp_path / "none.json")


def test_records_are_found_the_oldest_first_among_other_measurements(tmp_path: Path) -> None:
    for hour, name in ((9, "2026-11-24-2"), (8, "2026-11-24"), (10, "2026-11-25")):
        made = made_up(created=f"2026-11-24T{hour:02}:00:00+00:00")
        written(made, tmp_path / made.machine / f"{name}.json")
    (tmp_path / made.machine / "2026-11-24-rates.json").write_text("no record")
    assert [found.created[11:13] for found in record.load_filed(tmp_path)] == ["08", "09", "10"]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bench.reporting.record", *map(str, words)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_a_real_session_of_benchmarks_becomes_a_record(tmp_path: Path) -> None:
    machine_info = json.dumps(timed()["machine_info"])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(
        "import json\n"
        "def pytest_benchmark_update_machine_info(machine_info):\n"
        "    machine_info.clear()\n"
        f"    machine_info.update(json.loads({machine_info!r}))\n"
        "def pytest_benchmark_update_json(output_json):\n"
        "    output_json['profile'] = 'fast'\n"
    )
    (tmp_path / "test_one.py").write_text(
        "import pytest\n"
        "@pytest.mark.benchmark(group='add, numbers')\n"
        "def test_sum(benchmark):\n"
        "    benchmark.extra_info.update(way='sum', reference=False, device='cpu', threads=1)\n"
        "    assert benchmark.pedantic(sum, args=((1, 2),), rounds=3) == 3\n"
    )
    benchmarks, out = tmp_path / "benchmarks.json", tmp_path / "out" / "record.json"
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        f"--benchmark-json={benchmarks}",
        str(tmp_path),
    ]
    subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    assert command(EXAMPLE, benchmarks, "--out", out).returncode == 0
    (found,) = record.load(out).benchmarks
    assert (found["operation"], found["way"], len(found["seconds"])) == ("add, numbers", "sum", 3)
    assert found["seconds"] == json.loads(benchmarks.read_text())["benchmarks"][0]["stats"]["data"]


def test_a_mistake_is_one_line_and_exit_status_2(tmp_path: Path) -> None:
    done = command(EXAMPLE, tmp_path / "no\nfile", "--out", tmp_path / "record.json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("bench: can't read")
    assert not (tmp_path / "record.json").exists()


def test_a_record_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write"):
        record.write(tmp_path / "file" / "record.json", "text")
