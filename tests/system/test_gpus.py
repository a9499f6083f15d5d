from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from transfer.system import gpus

A, B = "11111111-aaaa-bbbb-cccc-000000000001", "22222222-aaaa-bbbb-cccc-000000000002"
ROW_A = f"GPU-{A}, 570.86.15, 1980, 1980, 3201, 3201, 0x0000000000000004\n"
ROW_B = f"GPU-{B}, 570.86.15, 345, 1980, 2619, 3201, 0x0000000000000001\n"
UNKNOWN = dict.fromkeys(["driver", "sm_mhz", "sm_max_mhz", "memory_mhz", "memory_max_mhz", "slowed_by"])
NEW, OLD = gpus.REASONS_FIELDS


class Machine:
    """GPUs of torch and an `nvidia-smi`, both made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.printed: bytes | Exception = b""
        self.knows = {NEW, OLD}
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(self.ids))
        monkeypatch.setattr(torch.cuda, "get_device_properties", self.properties)
        self.ids = [A]

    def properties(self, index: int) -> Any:
        return SimpleNamespace(
            name="NVIDIA H100", total_memory=85_520_000_000, major=9, minor=0, uuid=self.ids[index]
        )

    def run(self, command: list[str], **settings: Any) -> Any:
        assert settings["timeout"] <= 10
        self.asked.append(command[1])
        if isinstance(self.printed, Exception):
            raise self.printed
        if command[1].rsplit(",", 1)[1] not in self.knows:
            raise subprocess.CalledProcessError(2, command, b"Field is not a valid field to query.")
        return SimpleNamespace(stdout=self.printed)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def states() -> list[dict[str, Any]]:
    return [{name: gpu[name] for name in UNKNOWN} for gpu in gpus.describe()]


def test_a_gpu_is_described_with_its_clocks_and_what_slows_it(machine: Machine) -> None:
    machine.printed = ROW_A.encode()
    assert gpus.describe() == [
        {
            "name": "NVIDIA H100",
            "memory_gb": 85.5,
            "capability": "9.0",
            "driver": "570.86.15",
            "sm_mhz": 1980,
            "sm_max_mhz": 1980,
            "memory_mhz": 3201,
            "memory_max_mhz": 3201,
            "slowed_by": ["sw_power_cap"],
        }
    ]


@pytest.mark.parametrize("knows", [{NEW}, {OLD}])
def test_drivers_of_either_age_are_asked_by_the_name_they_know(machine: Machine, knows: set[str]) -> None:
    machine.printed, machine.knows = ROW_A.encode(), knows
    assert states()[0]["slowed_by"] == ["sw_power_cap"]
    assert machine.asked[-1].endswith(next(iter(knows)))


def test_gpus_are_distinguished_by_id_in_torchs_order(machine: Machine) -> None:
    machine.printed, machine.ids = (ROW_A + ROW_B).encode(), [B, A]
    assert [state["sm_mhz"] for state in states()] == [345, 1980]
    machine.ids = ["33333333-aaaa-bbbb-cccc-000000000003"]
    assert states() == [UNKNOWN]
    assert not any(A in str(gpu) or B in str(gpu) for gpu in gpus.describe())


def test_the_only_gpu_there_is_answers_for_its_parts(machine: Machine) -> None:
    machine.printed, machine.ids = ROW_A.encode(), ["44444444-aaaa-bbbb-cccc-000000000004"]
    assert states()[0]["driver"] == "570.86.15"


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        ("0x0000000000000000", []),
        ("0x0000000000000060", ["sw_thermal_slowdown", "hw_thermal_slowdown"]),
        ("0x0000000000000401", ["gpu_idle", "0x400"]),
        ("[N/A]", None),
        ("Active", None),
    ],
)
def test_reasons_are_read_bit_by_bit(machine: Machine, bits: str, names: list[str] | None) -> None:
    machine.printed = ROW_A.replace("0x0000000000000004", bits).encode()
    assert states()[0]["slowed_by"] == names


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"\n",
        b"No devices were found\n",
        b"\xff\x00\x80,,,\n",
        f"GPU-{A}, [N/A], [Not Supported], [Unknown Error], [GPU is lost], -1, []\n".encode(),
        f"GPU-{A}, 570.86.15, 1980\n".encode(),
        FileNotFoundError("nvidia-smi"),
        PermissionError("nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 10),
        subprocess.CalledProcessError(9, "nvidia-smi"),
    ],
)
def test_whatever_nvidia_smi_answers_there_is_a_record(machine: Machine, printed: bytes | Exception) -> None:
    machine.printed = printed
    assert states() == [UNKNOWN]


def test_nobody_is_asked_where_torch_has_no_gpu_or_cannot_use_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.ids = []
    assert gpus.describe() == []

    def fail(index: int) -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old")

    machine.ids = [A]
    monkeypatch.setattr(torch.cuda, "get_device_properties", fail)
    assert gpus.describe() == []
    assert machine.asked == []


def test_a_cudnn_that_does_not_fit_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus.libraries()["cuda"] == torch.version.cuda

    def fail() -> None:
        raise RuntimeError("cuDNN version incompatibility")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", fail)
    assert gpus.libraries()["cudnn"] is None


def test_cudnn_is_not_loaded_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: pytest.fail("it was loaded"))
    assert gpus.libraries()["cudnn"] is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_of_this_machine_answers() -> None:
    described = gpus.describe()
    assert len(described) == torch.cuda.device_count()
    assert all(gpu["driver"] for gpu in described)


@pytest.mark.parametrize("name", ["nvidia0", "nvmap", "kfd", "dxg"])
def test_a_driver_is_known_by_its_device(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "null").touch()
    assert not gpus.has_driver(tmp_path)
    (tmp_path / name).touch()
    assert gpus.has_driver(tmp_path)


def test_where_devices_are_not_shown_torch_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert gpus.has_driver(tmp_path)


def test_torch_is_asked_for_a_gpu_wherever_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "has_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpus.is_available()
