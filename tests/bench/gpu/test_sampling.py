"""Samples by `nvidia-smi`, or by what stands in for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.gpu.sampling import Samples

NVIDIA_SMI = """#!/bin/sh
echo "1980, 2619, 312.50, 41"
echo "1965, 2619, [N/A], 42"
exec sleep 60
"""


def test_samples_are_values_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nvidia-smi"
    path.write_text(NVIDIA_SMI)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with Samples() as samples:
        while os.fstat(samples._printed.fileno()).st_size < 40:  # until both lines are there
            time.sleep(0.01)
    assert samples.values == {
        "sm_mhz": [1980, 1965],
        "memory_mhz": [2619, 2619],
        "power_w": [312.5, None],
        "celsius": [41, 42],
    }


def test_no_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with Samples() as samples:
        pass
    assert samples.values is None
