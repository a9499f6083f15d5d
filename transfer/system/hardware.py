"""Hardware and load of this machine: processor, usable cores, memory, libraries, commit."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

from transfer.system import cgroups, gpus
from transfer.system.version import __version__

LIBRARIES = (
    "torch", "torchvision", "openvino", "nncf", "scikit-learn", "numpy", "scipy", "pillow", "safetensors",
    "pytest-benchmark",
)  # fmt: skip
# Allocators that stand in for the C library's own, by the libraries they come in; then those of C libraries.
ALLOCATORS = {
    "jemalloc": r"/libjemalloc[^/]*\.so",
    "tcmalloc": r"/libtcmalloc[^/]*\.so",
    "mimalloc": r"/libmimalloc[^/]*\.so",
    "glibc": r"/libc(-[\d.]+)?\.so",
    "musl": r"/ld-musl-",
}
# How OpenMP's threads wait, in the words of the standard, of GCC's library and of LLVM's.
OPENMP_WAITS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# The flags that decide which arithmetic is fast; the other hundred tell nothing here.
NOTABLE_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "bf16")


def usable_cores() -> int:
    """Return the number of cores that this process may use: its CPU affinity, limited by the container's quota.

    A container with a quota still shows every core of its host; one thread for each of them spends most of its time
    throttled.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, cgroups.quota_cores() or affinity))


@cache
def processor() -> tuple[str, tuple[str, ...]]:
    """Return the processor's name, and those of its flags that matter for speed."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), ()
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.M)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.M)
    present = set(flags[1].split()) if flags else set()
    return name[1].strip() if name else platform.machine(), tuple(f for f in NOTABLE_FLAGS if f in present)


def has_bf16() -> bool:
    """Return whether the processor multiplies bf16 in hardware; emulated bf16 is slower than fp32."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(processor()[1])


def sleep_at_barriers() -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the user has set how they wait.

    By default they spin for some milliseconds: on a busy machine they occupy the core that the thread they wait for
    needs. OpenMP reads this setting once, when it is loaded: call this before torch is imported.
    """
    if not any(name in os.environ for name in OPENMP_WAITS):
        os.environ["OMP_WAIT_POLICY"] = "passive"


def memory_gb() -> float:
    """Return the memory of the machine in GB (10^9 bytes), limited by the container's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return round(min(total, cgroups.memory_limit() or total) / 1e9, 1)


def available_bytes() -> int:
    """Return the bytes of memory that this process may still take, within all limits set for it."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = [page * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        text = Path("/proc/meminfo").read_text()
        found.append(1024 * int(re.search(r"^MemAvailable:\s*(\d+)", text, re.M)[1]))  # type: ignore[index]
    left = cgroups.memory_left()
    found += [] if left is None else [left]
    # What `statm` counts against each: all that is mapped, and private memory with the stack.
    for kind, field in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        limit = resource.getrlimit(kind)[0]
        with contextlib.suppress(OSError, ValueError):
            used = page * int(Path("/proc/self/statm").read_text().split()[field])
            found += [limit - used] if limit != resource.RLIM_INFINITY else []
    return max(0, min(found))


def allocator(maps: Path = Path("/proc/self/maps")) -> str | None:
    """Return the name of this process's memory allocator.

    Parameters
    ----------
    maps : Path
        The process's memory map.

    Returns
    -------
    str or None
        None if no known library is mapped.
    """
    try:
        text = maps.read_text(errors="replace")
    except OSError:
        return None
    return next((name for name, library in ALLOCATORS.items() if re.search(library, text)), None)


def governor(cores: Path = Path("/sys/devices/system/cpu")) -> str | None:
    """Return the frequency governor of the cores.

    Parameters
    ----------
    cores : Path
        The folder in which the kernel lists the cores.

    Returns
    -------
    str or None
        `performance` or another, several with commas between them; None if the kernel does not say.
    """
    found = set()
    for path in cores.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):  # a core that was switched off
            found.add(path.read_text().strip())
    return ", ".join(sorted(found)) or None


def load() -> list[float] | None:
    """Return the load averages over 1, 5 and 15 minutes: processes that ran or waited for a core, this one included.

    None on a system without them.
    """
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):  # not on this system
        return None


# Times tell little if other processes took more than this share of the cores that this one may use.
BUSY = 0.2


class CpuContention:
    """CPU time that other processes took, from the creation of this object on."""

    def __init__(self) -> None:
        self._begun, self._others_s = time.perf_counter(), _cpu_s_of_others()

    def share(self, cores: int) -> float | None:
        """Return the share of the cores that were not free for this process.

        Parameters
        ----------
        cores : int
            Number of cores that this process may use.

        Returns
        -------
        float or None
            From 0 (all of them were free) to 1; None if the system does not say. The host of a virtual machine counts
            as another process.
        """
        now_s = _cpu_s_of_others()
        if self._others_s is None or now_s is None:
            return None
        busy = (now_s - self._others_s) / (time.perf_counter() - self._begun)
        free = (os.cpu_count() or cores) - busy
        return min(1.0, max(0.0, 1 - free / cores))


def _cpu_s_of_others(path: Path = Path("/proc/stat")) -> float | None:
    """Return the CPU seconds, over all cores, of anything but this process and idling; None if unknown."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, path.read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    ticks = user + nice + system + irq + softirq + steal
    # Some sandboxes give a file of zeros.
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time() if ticks else None


def describe() -> dict[str, Any]:
    """Describe the environment, as every result records it.

    Returns
    -------
    dict
        JSON values: processor, cores, threads, memory (GB), load, libraries, GPUs, commit. No host name, user or
        path.
    """
    import torch

    name, flags = processor()
    return {
        "processor": name,
        "flags": list(flags),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "openmp_waits": {name: os.environ[name] for name in OPENMP_WAITS if name in os.environ},
        "memory_gb": memory_gb(),
        "allocator": allocator(),
        "load": load(),
        "governor": governor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {library: installed_version(library) for library in LIBRARIES},
        **gpus.libraries(),
        "gpus": gpus.describe(),
        "transfer": __version__,
        **_commit(Path(__file__).parents[2]),
    }


def installed_version(package: str) -> str | None:
    """Return the version of a package; None where it is not installed, as this one where it runs from the tree."""
    from importlib import metadata  # not needed by processes that draw

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(tree: Path) -> dict[str, Any]:
    """Return the commit that this code runs from, and whether files differ from it; None outside a checkout."""
    if not (tree / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        commit = _git(tree, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(tree, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _git(tree: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", tree, *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
