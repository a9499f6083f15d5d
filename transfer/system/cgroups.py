"""Limits that control groups of Linux, of version 2 or 1, set for this process.

A container shows its own group at the root. A job of a batch system, or a service, has a group further down: the limits
of its group and of all above count.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def list_folders(controller: str) -> list[Path]:
    """Return the folders of the groups that may limit this process.

    Parameters
    ----------
    controller : {"cpu", "memory"}

    Returns
    -------
    list of Path
        Existing folders, each once; empty on a system without control groups.
    """
    found = [ROOT, ROOT / controller]
    with contextlib.suppress(OSError):  # no such thing on this system
        for line in OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top = ROOT / controller if controllers else ROOT
            own = top / path.lstrip("/")
            found += [own, *own.parents[: len(own.parts) - len(top.parts)]]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def quota_cores() -> int | None:
    """Return the whole cores that the smallest quota of CPU time allows, at least 1; None without a quota."""
    quotas = [quota for folder in list_folders("cpu") if (quota := _quota(folder)) is not None]
    return max(1, int(min(quotas))) if quotas else None


def memory_limit() -> int | None:
    """Return the smallest memory limit in bytes; None without a limit."""
    limits = [
        limit
        for folder in list_folders("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _number(folder / name)) is not None
    ]
    return min(limits, default=None)


def memory_left() -> int | None:
    """Return the bytes of memory left within the tightest limit; None without a limit.

    Page cache that is not in active use counts as free: the kernel takes it back.
    """
    found = []
    for folder in list_folders("memory"):
        for limit_name, used_name, inactive in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is not None and used is not None:
                found.append(limit - used + _inactive(folder / "memory.stat", inactive))
    return min(found, default=None)


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = map(int, (folder / "cpu.max").read_text().split())
        else:
            quota, period = (int((folder / f"cpu.cfs_{what}_us").read_text()) for what in ("quota", "period"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError):  # no such file, or "max": no quota
        return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


def _inactive(path: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        if found := re.search(rf"^{name} (\d+)", path.read_text(), re.M):
            return int(found[1])
    return 0
