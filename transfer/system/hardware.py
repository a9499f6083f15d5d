"""What this machine offers and what it is busy with: processor, cores really usable, libraries, commit."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import subprocess
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer.system import cgroups, gpus

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
    """Cores this process may really use: its affinity, cut down to the container's quota.

    A container limited by quota still shows every core of its host; one thread for each of them
    spends most of its time throttled.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, cgroups.quota_cores() or affinity))


@cache
def processor() -> tuple[str, tuple[str, ...]]:
    """The processor's name and those of its flags that matter for speed."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), ()
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.M)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.M)
    present = set(flags[1].split()) if flags else set()
    return name[1].strip() if name else platform.machine(), tuple(f for f in NOTABLE_FLAGS if f in present)


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware; without it bf16 is emulated, and slower than fp32."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(processor()[1])


def sleep_at_barriers() -> None:
    """Let OpenMP's threads sleep where they wait for each other, unless the user has said how they wait.

    By default they spin for some milliseconds: where other processes are busy, they occupy the core that the thread
    they wait for needs. OpenMP's library reads this once, when it is loaded: call this before torch is imported.
    """
    if not any(name in os.environ for name in OPENMP_WAITS):
        os.environ["OMP_WAIT_POLICY"] = "passive"


def memory_gb() -> float:
    """Memory of the machine in GB (10^9 bytes), cut down to the container's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return round(min(total, cgroups.memory_limit() or total) / 1e9, 1)


def available_bytes() -> int:
    """Bytes of memory that this process may still take: free ones, within the container's and the process's limits."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = [page * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        text = Path("/proc/meminfo").read_text()
        found.append(1024 * int(re.search(r"^MemAvailable:\s*(\d+)", text, re.M)[1]))  # type: ignore[index]
    left = cgroups.memory_left()
    found += [] if left is None else [left]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    with contextlib.suppress(OSError, ValueError):
        used = page * int(Path("/proc/self/statm").read_text().split()[0])
        found += [limit - used] if limit != resource.RLIM_INFINITY else []
    return max(0, min(found))


def allocator(maps: Path = Path("/proc/self/maps")) -> str | None:
    """What gives this process its memory, as far as the libraries in `maps` tell; None where they don't."""
    try:
        text = maps.read_text(errors="replace")
    except OSError:
        return None
    return next((name for name, library in ALLOCATORS.items() if re.search(library, text)), None)


def governor(cores: Path = Path("/sys/devices/system/cpu")) -> str | None:
    """What sets the cores' frequency, `performance` or another; None where the kernel does not tell."""
    found = set()
    for path in cores.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):  # a core that was switched off
            found.add(path.read_text().strip())
    return ", ".join(sorted(found)) or None


def load() -> list[float] | None:
    """Processes that ran or waited for a core, averaged over 1, 5 and 15 minutes: this one among them."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):  # not on this system
        return None


# Times tell little if other processes took more than this share of the cores that this one may use.
BUSY = 0.2


class CpuContention:
    """How much of the cores that this process may use others took, since this object was made."""

    def __init__(self) -> None:
        self._begun, self._others_s = time.perf_counter(), _cpu_s_of_others()

    def share(self, cores: int) -> float | None:
        """The share of `cores` that other processes, or the host of a virtual machine, left too few cores for.

        Parameters
        ----------
        cores
            The number of cores that this process may use.

        Returns
        -------
        From 0 (all of them were free for this process) to 1; None where the system does not tell.
        """
        now_s = _cpu_s_of_others()
        if self._others_s is None or now_s is None:
            return None
        busy = (now_s - self._others_s) / (time.perf_counter() - self._begun)
        free = (os.cpu_count() or cores) - busy
        return min(1.0, max(0.0, 1 - free / cores))


def _cpu_s_of_others(path: Path = Path("/proc/stat")) -> float | None:
    """Seconds of all cores that went into anything but this process and idling; None where that is not known."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, path.read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    ticks = user + nice + system + irq + softirq + steal
    # Some sandboxes give a file of zeros.
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time() if ticks else None


def describe() -> dict[str, Any]:
    """The environment as every result records it: no host name, no user, no path."""
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
        "libraries": {library: _version(library) for library in LIBRARIES},
        **gpus.libraries(),
        "gpus": gpus.describe(),
        "transfer": _version("transfer"),
        **_commit(Path(__file__).parents[2]),
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:  # run from the tree, not installed
        return None


def _commit(tree: Path) -> dict[str, Any]:
    """The commit this code runs from, and whether the tree differs from it; None outside a checkout."""
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
