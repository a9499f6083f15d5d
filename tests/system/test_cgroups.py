from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from transfer.system import cgroups

Make = Callable[[str, dict[str, str]], None]
GB = 10**9


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A function that makes a tree of control groups, and this process a member of some."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "root")
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    (tmp_path / "root").mkdir()

    def made(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text(text)

    return made


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("200000 100000", 2), ("50000 100000", 1), ("350000 100000", 3)]
)
def test_a_quota_is_read_in_whole_cores(make: Make, text: str, cores: int | None) -> None:
    make("0::/\n", {"cpu.max": text})
    assert cgroups.quota_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("400000", 4), ("-1", None)])
def test_a_quota_of_version_1_is_read(make: Make, quota: str, cores: int | None) -> None:
    make("3:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"})
    assert cgroups.quota_cores() == cores


@pytest.mark.parametrize(
    ("own", "top"), [("0::/slurm/job_7/step_0\n", ""), ("5:cpu,memory:/slurm/job_7/step_0\n", "cpu/")]
)
def test_the_tightest_of_its_own_group_and_those_above_counts(make: Make, own: str, top: str) -> None:
    job = f"{top}slurm/job_7/"
    make(own, {f"{job}step_0/cpu.max": "max 100000", f"{job}cpu.max": "300000 100000"})
    make(own, {f"{top}slurm/cpu.max": "800000 100000", f"{top}slurm/job_8/cpu.max": "100000 100000"})
    assert cgroups.quota_cores() == 3


def test_memory_of_a_job_is_limited_by_its_group(make: Make) -> None:
    make(
        "0::/system.slice/train.service\n",
        {
            "system.slice/train.service/memory.max": str(4 * GB),
            "system.slice/train.service/memory.current": str(3 * GB),
            "system.slice/memory.max": str(64 * GB),
            "system.slice/memory.current": str(8 * GB),
        },
    )
    assert cgroups.memory_limit() == 4 * GB
    assert cgroups.memory_left() == GB


def test_memory_of_version_1_is_limited_too(make: Make) -> None:
    job = "memory/slurm/job_7"
    make(
        "9:cpuset:/\n4:memory:/slurm/job_7\n0::/\n",
        {f"{job}/memory.limit_in_bytes": str(4 * GB), f"{job}/memory.usage_in_bytes": str(3 * GB)},
    )
    make("4:memory:/slurm/job_7\n", {f"{job}/memory.stat": f"cache 1\ntotal_inactive_file {GB}\n"})
    assert cgroups.memory_limit() == 4 * GB
    assert cgroups.memory_left() == 2 * GB


def test_pages_of_files_that_nobody_uses_count_as_free(make: Make) -> None:
    make("0::/\n", {"memory.max": str(4 * GB), "memory.current": str(3 * GB)})
    make("0::/\n", {"memory.stat": f"anon 7\ninactive_file {2 * GB}\n"})
    assert cgroups.memory_left() == 3 * GB


@pytest.mark.parametrize("own", ["", "0::/\n", "0::/gone\n", "0::/../../elsewhere\n", "1:name=systemd:/x\n"])
def test_without_limits_there_are_none(make: Make, own: str) -> None:
    make(own, {"memory.max": "max", "memory.current": "5", "cpu.max": "max 100000"})
    assert (cgroups.quota_cores(), cgroups.memory_limit(), cgroups.memory_left()) == (None, None, None)


def test_a_system_without_control_groups_has_no_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "none")
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "none")
    assert (cgroups.quota_cores(), cgroups.memory_limit(), cgroups.memory_left()) == (None, None, None)
