from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.reporting import record, recorded
from tests.bench.samples import OLD_FILES, benchmark, made_up, written
from transfer.system.errors import UserError

REPOSITORY = Path(__file__).parents[3]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bench.reporting.recorded", *map(str, words)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_the_page_of_this_repository_is_what_its_files_give() -> None:
    assert (record.RESULTS / recorded.PAGE).read_text("utf-8") == recorded.page(record.RESULTS)


def test_the_page_names_every_file_of_this_repository_and_where_the_photographs_come_from() -> None:
    page = recorded.page(record.RESULTS).replace("\\", "")
    for path in record.RESULTS.glob("*/*.json"):
        assert f"| {path.relative_to(record.RESULTS).as_posix()} |" in page
    assert "MarDCT" in page
    assert "D. D. Bloisi, L. Iocchi, A. Pennisi, L. Tombolini" in page


def test_a_record_is_filed_by_machine_and_day_and_a_second_one_beside_it(tmp_path: Path) -> None:
    first, second, third = (made_up(profile=profile) for profile in ("fast", "full", "other"))
    paths = [recorded.file(made, tmp_path, replace=False) for made in (first, second)]
    names = ["amd-epyc-2-cores/2026-11-23.json", "amd-epyc-2-cores/2026-11-23-2.json"]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == names
    assert recorded.file(third, tmp_path, replace=True) == paths[1]
    assert [record.load(path) for path in paths] == [first, third]


def test_a_record_is_filed_once(tmp_path: Path) -> None:
    made = [made_up(), made_up(profile="full")]
    paths = [recorded.file(one, tmp_path, replace=False) for one in made * 2]
    assert paths[:2] == paths[2:]
    assert len(list(tmp_path.glob("*/*"))) == 2


def test_replacing_where_nothing_is_files_it(tmp_path: Path) -> None:
    assert recorded.file(made_up(), tmp_path, replace=True).name == "2026-11-23.json"


def test_a_profile_whose_times_mean_nothing_is_not_filed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="profile quick"):
        recorded.file(made_up(profile="quick"), tmp_path, replace=False)


def test_machines_stand_side_by_side_with_their_newest_record_and_nothing_is_averaged(tmp_path: Path) -> None:
    old = made_up(benchmark(seconds=(9.0,)), created="2026-11-01T00:00:00+00:00")
    new = made_up(benchmark(seconds=(0.2,)), created="2026-11-02T00:00:00+00:00")
    gpu = made_up(benchmark(seconds=(0.1,)), benchmark(seconds=(0.01,), device="cuda"), gpu="L4")
    for made in (new, gpu, old):
        recorded.file(made, tmp_path, replace=False)
    page = recorded.page(tmp_path)
    assert "| operation | on | way | amd-epyc-2-cores | amd-epyc-2-cores-l4 |" in page
    assert "| fit, SVM | CPU | svm | 200 ms | 100 ms |" in page
    assert "| fit, SVM | GPU | svm | - | 10.0 ms |" in page
    assert "9.00 s" not in page
    assert "| amd-epyc-2-cores/2026-11-01.json |" in page


def test_only_equal_work_stands_side_by_side() -> None:
    small, large = made_up(benchmark(images=8)), made_up(benchmark(images=64), gpu="L4")
    assert recorded.times([small, large]).rows == [
        ["fit, SVM", "CPU, 64 images", "svm", "-", "200 ms (100-400), 320 images/s"],
        ["fit, SVM", "CPU, 8 images", "svm", "200 ms (100-400), 40.0 images/s", "-"],
    ]


@pytest.mark.parametrize(
    ("part", "key", "other"), [("data", "name", "boats"), ("backbone", "weights_sha256", "f" * 64)]
)
def test_accuracies_of_other_images_or_networks_have_rows_of_their_own(
    part: str, key: str, other: str
) -> None:
    here = made_up()
    there = made_up(run={part: {**here.run[part], key: other}}, gpu="L4")
    rows = recorded.accuracies([here, there]).rows
    assert len(rows) == 2 * len(here.run["methods"])
    assert all([row[2], row[3]].count("-") == 1 for row in rows)


def test_other_measurements_are_listed_with_their_command(tmp_path: Path) -> None:
    path = tmp_path / "amd-epyc-2-cores" / "2026-11-20-large.json"
    path.parent.mkdir()
    environment = {**made_up().environment, "commit": "0123456789", "dirty": True}
    path.write_text(json.dumps({"machine": environment}))
    (path.parent / ".DS_Store").write_text("left by a file manager")
    expected = ["amd-epyc-2-cores/2026-11-20-large.json", "2026-11-20", "0123456 with changes", "not taken"]
    assert recorded.listing(tmp_path).rows == [[*expected, recorded.KINDS["large"]]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("2026-11-20-new.json", "{}", "its name contains no known kind"),
        ("notes.txt", "", "its name contains no known kind"),
        ("2026-11-20-large.json", "{}", "does not name its machine"),
        ("2026-11-20-large.json", '{"machine": {"commit": 7}}', "at the top"),
        ("2026-11-20-large.json", "{", "not JSON"),
        ("2026-11-20-large.json", "[]", "no object"),
        ("2026-11-20.json", "{}", "schema_version is None"),
        ("2026-11-20.json", OLD_FILES[0].read_text(), "is of amd-epyc-2-cores; move it"),
    ],
)
def test_what_does_not_belong_there_is_reported(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / "machine" / name
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        recorded.page(tmp_path)
    assert str(path) in str(caught.value)


def test_a_line_of_a_record_is_never_interpreted(tmp_path: Path) -> None:
    hostile = "a | b\n# c <b> [d](e)"
    recorded.file(
        made_up(benchmark(hostile, hostile), environment={"processor": hostile}), tmp_path, replace=False
    )
    page = recorded.page(tmp_path)
    assert "\n# c" not in page
    assert "<b>" not in page
    assert "a \\| b" in page


@pytest.mark.slow
def test_the_command_files_a_record_writes_the_page_and_checks_it(tmp_path: Path) -> None:
    path, results = written(made_up(), tmp_path / "record.json"), tmp_path / "results"
    done = command(path, "--results", results)
    assert (done.returncode, done.stdout.strip()) == (0, str(results / "amd-epyc-2-cores/2026-11-23.json"))
    assert command("--check", "--results", results).returncode == 0
    with (results / recorded.PAGE).open("a") as page:
        page.write("by hand")
    checked = command("--check", "--results", results)
    assert checked.returncode == 1
    assert "is not what the recorded files give" in checked.stdout


def test_a_mistake_is_one_line_and_exit_status_2(tmp_path: Path) -> None:
    for words in ((tmp_path / "none.json",), (tmp_path / "none.json", "--check")):
        done = command(*words, "--results", tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())
