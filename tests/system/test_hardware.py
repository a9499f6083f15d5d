from __future__ import annotations

import getpass
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from transfer.system import hardware
from transfer.system.version import __version__


def test_cores_are_those_of_the_affinity_cut_to_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(hardware.cgroups, "quota_cores", lambda: 4)
    assert hardware.usable_cores() == 4
    monkeypatch.setattr(hardware.cgroups, "quota_cores", lambda: 64)
    assert hardware.usable_cores() == 6
    monkeypatch.setattr(hardware.cgroups, "quota_cores", lambda: None)
    assert hardware.usable_cores() == 6


LIBC = "7f1-7f2 r-xp 00000000 fe:00 11   /usr/lib/x86_64-linux-gnu/libc.so.6\n"


@pytest.mark.parametrize(
    ("maps", "name"),
    [
        (LIBC, "glibc"),
        (LIBC.replace("libc.so.6", "libc-2.31.so"), "glibc"),
        (f"{LIBC}7f3-7f4 r-xp 00000000 fe:00 12   /usr/lib/libjemalloc.so.2\n", "jemalloc"),
        (f"7f3-7f4 r-xp 00000000 fe:00 12   /opt/libtcmalloc_minimal.so.4.5.9\n{LIBC}", "tcmalloc"),
        (f"7f3-7f4 r-xp 00000000 fe:00 12   /opt/libmimalloc-secure.so.2\n{LIBC}", "mimalloc"),
        ("7f1-7f2 r-xp 00000000 fe:00 11   /lib/ld-musl-x86_64.so.1\n", "musl"),
        (LIBC.replace("libc.so.6", "libcrypto.so.3"), None),
        ("", None),
    ],
)
def test_the_allocator_is_recognised_by_the_libraries_of_the_process(
    tmp_path: Path, maps: str, name: str | None
) -> None:
    (tmp_path / "maps").write_bytes(b"\xff /a/name/that/is/no/utf-8\n" + maps.encode())
    assert hardware.allocator(tmp_path / "maps") == name


def test_the_governor_is_that_of_all_cores_or_of_none(tmp_path: Path) -> None:
    assert hardware.governor(tmp_path) is None
    for core, text in (("cpu0", "performance\n"), ("cpu11", "performance\n"), ("cpuidle", "menu\n")):
        (tmp_path / core / "cpufreq").mkdir(parents=True)
        (tmp_path / core / "cpufreq/scaling_governor").write_text(text)
    assert hardware.governor(tmp_path) == "performance"
    (tmp_path / "cpu11/cpufreq/scaling_governor").write_text("powersave\n")
    assert hardware.governor(tmp_path) == "performance, powersave"


def test_a_system_without_proc_sys_git_or_nvidia_smi_has_a_record_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As macOS, and less: what is not there is None."""

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError("not on this system")

    real = Path.read_text

    def read_text(path: Path, *args: Any, **words: Any) -> str:
        if path.parts[:2] in (("/", "proc"), ("/", "sys")):
            absent()
        return real(path, *args, **words)  # the records of packages, say

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(subprocess, "run", absent)
    monkeypatch.setattr(os, "getloadavg", absent)
    hardware.processor.cache_clear()
    try:
        found = hardware.describe()
    finally:
        hardware.processor.cache_clear()
    unknown = {"allocator", "load", "governor", "commit", "dirty"}
    assert {name for name in unknown if found[name] is None} == unknown
    assert found["processor"]
    assert found["memory_gb"] > 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP_WAIT_POLICY": "passive"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "30000"}, {"GOMP_SPINCOUNT": "30000"}),
        ({"KMP_BLOCKTIME": "0"}, {"KMP_BLOCKTIME": "0"}),
    ],
)
def test_openmp_threads_sleep_unless_the_user_has_said_how_they_wait(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in hardware.OPENMP_WAITS}
    monkeypatch.setattr(os, "environ", {**inherited, **given})
    hardware.sleep_at_barriers()
    assert hardware.describe()["openmp_waits"] == expected


def test_what_changes_is_as_it_is_now() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert hardware.describe()["threads"] == 3
    finally:
        torch.set_num_threads(before)
    assert hardware.load() is None or len(hardware.load()) == 3


def texts(record: Any) -> Iterator[str]:
    """Every string of a record, names of entries too."""
    if isinstance(record, dict):
        record = [*record, *record.values()]
    if isinstance(record, list):
        for part in record:
            yield from texts(part)
    elif isinstance(record, str):
        yield record


def test_the_record_is_json_and_names_no_host_user_or_path() -> None:
    found = json.loads(json.dumps(hardware.describe()))
    assert found["libraries"]["torch"]
    assert found["transfer"] == __version__
    named = {platform.node(), getpass.getuser()}
    for text in texts(found):
        assert named.isdisjoint(re.split(r"[^\w.-]+", text)), text
        assert not any(str(folder) in text for folder in (Path.home(), Path.cwd())), text
        assert not text.startswith("/")
    assert {"processor", "torch", "Linux x86_64"} <= set(texts(found)) or platform.system() != "Linux"


def _stat(path: Path, ticks: int) -> Path:
    path.write_text(f"cpu  {ticks} 0 0 900 0 0 0 0 0 0\ncpu0 1 2 3\n")
    return path


def test_cpu_time_of_others_is_all_but_idling_and_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware.time, "process_time", lambda: 2.0)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    assert hardware._cpu_s_of_others(_stat(tmp_path / "stat", 500)) == 3.0
    assert hardware._cpu_s_of_others(_stat(tmp_path / "stat", 0)) is None
    assert hardware._cpu_s_of_others(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("machine", "usable", "others", "share"),
    [(2, 2, 0.0, 0.0), (2, 2, 1.0, 0.5), (2, 2, 9.0, 1.0), (64, 2, 30.0, 0.0), (64, 2, 63.0, 0.5)],
)
def test_contention_is_what_others_leave_too_little_for(
    monkeypatch: pytest.MonkeyPatch, machine: int, usable: int, others: float, share: float
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: next(clock))
    spent = iter([100.0, 100.0 + 4 * others])
    monkeypatch.setattr(hardware, "_cpu_s_of_others", lambda: next(spent))
    assert hardware.CpuContention().share(usable) == pytest.approx(share)


def test_contention_is_unknown_where_the_system_does_not_report_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_cpu_s_of_others", lambda: None)
    assert hardware.CpuContention().share(2) is None


GB = 10**9


def test_memory_is_cut_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.cgroups, "memory_limit", lambda: GB)
    monkeypatch.setattr(hardware.cgroups, "memory_left", lambda: GB // 2)
    assert hardware.memory_gb() == 1.0
    assert hardware.available_bytes() <= GB // 2
    monkeypatch.setattr(hardware.cgroups, "memory_limit", lambda: 2**63)  # version 1 without a limit
    assert hardware.memory_gb() < 1e6


def test_available_memory_is_less_than_all() -> None:
    assert (
        0
        < hardware.available_bytes()
        < hardware.os.sysconf("SC_PAGE_SIZE") * hardware.os.sysconf("SC_PHYS_PAGES")
    )
