from __future__ import annotations

import getpass
import json
import os
import platform
from pathlib import Path

import pytest

from transfer import environment


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("200000 100000", 2), ("50000 100000", 1), ("350000 100000", 3)]
)
def test_a_cgroup_quota_is_read_in_whole_cores(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert environment._quota_cores(tmp_path) == cores


def test_a_quota_of_the_first_cgroup_version_is_read(tmp_path: Path) -> None:
    assert environment._quota_cores(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("400000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert environment._quota_cores(tmp_path) == 4
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert environment._quota_cores(tmp_path) is None


def test_cores_are_those_of_the_affinity_cut_to_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(environment, "_quota_cores", lambda cgroup: 4)
    assert environment.usable_cores() == 4
    monkeypatch.setattr(environment, "_quota_cores", lambda cgroup: 64)
    assert environment.usable_cores() == 6
    monkeypatch.setattr(environment, "_quota_cores", lambda cgroup: None)
    assert environment.usable_cores() == 6


def test_the_record_is_json_and_names_no_host_user_or_path() -> None:
    text = json.dumps(environment.describe())
    assert json.loads(text)["libraries"]["torch"]
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert f'"{getpass.getuser()}"' not in text
