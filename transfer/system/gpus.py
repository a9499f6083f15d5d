"""The GPUs that torch can use, what it uses them by, and their state: driver, clocks, what slows them down."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

# The state of a GPU as `nvidia-smi --help-query-gpu` names it; drivers before 535 call the last one otherwise.
FIELDS = ("uuid", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem")
REASONS_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# Bits of that last field: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
REASONS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
}
TIMEOUT_S = 10
# Devices of drivers in Linux: those of NVIDIA (also of its boards with ARM), AMD and WSL.
DRIVERS = ("nvidia*", "nvmap", "kfd", "dxg")


def is_available() -> bool:
    """Return whether torch can use a GPU. It takes a second to import, and is not asked where no driver is."""
    if "torch" not in sys.modules and not has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def resolve_device(device: str) -> str:
    """Return `cpu` or `cuda`; `auto` is CUDA if torch can use a GPU."""
    if device != "auto":
        return device
    return "cuda" if is_available() else "cpu"


def has_driver(devices: Path = Path("/dev")) -> bool:
    """Return whether there is the device of a driver that torch may use; True where the system does not show them."""
    return sys.platform != "linux" or any(path for name in DRIVERS for path in devices.glob(name))


def describe() -> list[dict[str, Any]]:
    """Describe each GPU that torch can use.

    Returns
    -------
    list of dict
        `name`, `memory_gb` (10^9 bytes), `capability`, and what `nvidia-smi` says: `driver`, `slowed_by` and clocks in
        MHz (`sm_mhz`, `sm_max_mhz`, `memory_mhz`, `memory_max_mhz`); None for what is unknown. Empty without a
        usable GPU.
    """
    import torch

    try:
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError):  # a driver too old, a device that another process holds alone
        return []
    states = _states() if devices else {}
    return [
        {
            "name": device.name,
            "memory_gb": round(device.total_memory / 1e9, 1),
            "capability": f"{device.major}.{device.minor}",
            **_state_of(str(device.uuid), states),
        }
        for device in devices
    ]


def libraries() -> dict[str, str | int | None]:
    """Return the versions of CUDA that torch was built for and of the cuDNN that it uses; None for an absent one."""
    import torch

    cudnn = None
    # To ask loads the library, and where its memory does not suffice that ends the process.
    if torch.cuda.device_count():
        with contextlib.suppress(RuntimeError):  # another cuDNN on the library path, which does not fit
            cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": torch.version.cuda, "cudnn": cudnn}


def _state_of(uuid: str, states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if len(states) == 1:  # a part of a GPU (MIG) has an id of its own, which nvidia-smi does not list
        return next(iter(states.values()))
    return states.get(f"GPU-{uuid}") or _state([""] * (len(FIELDS) + 1))


def _states() -> dict[str, dict[str, Any]]:
    """Return the state of every GPU that `nvidia-smi` lists, by id; empty if it does not answer."""
    for reasons_field in REASONS_FIELDS:
        try:
            printed = _ask((*FIELDS, reasons_field))
        except subprocess.CalledProcessError:  # it does not know the field by this name
            continue
        except (OSError, subprocess.TimeoutExpired):
            return {}
        rows = [[value.strip() for value in line.split(",")] for line in printed.splitlines()]
        return {row[0]: _state(row) for row in rows if len(row) == len(FIELDS) + 1}
    return {}


def _ask(fields: tuple[str, ...]) -> str:
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
    return done.stdout.decode(errors="replace")


def _state(row: list[str]) -> dict[str, Any]:
    """Name the values of a row; None for those that `nvidia-smi` replaces by words such as `[N/A]`."""
    _, driver, sm, sm_max, memory, memory_max, reasons = row
    return {
        "driver": driver if driver[:1].isdigit() else None,
        "sm_mhz": _whole(sm),
        "sm_max_mhz": _whole(sm_max),
        "memory_mhz": _whole(memory),
        "memory_max_mhz": _whole(memory_max),
        "slowed_by": _reasons(reasons),
    }


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _reasons(text: str) -> list[str] | None:
    """Return the names of the bits that are set, or the value of a bit without a name."""
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    each = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    return [REASONS.get(bit, hex(bit)) for bit in each]
