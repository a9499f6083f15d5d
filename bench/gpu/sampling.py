"""Clocks, power and temperature of a GPU while something runs, once a second, as `nvidia-smi` tells them."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile

FIELDS = {
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "power_w": "power.draw",
    "celsius": "temperature.gpu",
}
EVERY_MS = 1000


class Samples:
    """Samples of the first GPU, from the start of a `with` block to its end.

    Attributes
    ----------
    values
        Those of each field in turn, None for one that the GPU does not tell; None without `nvidia-smi`.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[float | None]] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Samples:
        self._printed = tempfile.TemporaryFile()
        words = ["nvidia-smi", f"--query-gpu={','.join(FIELDS.values())}", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError):  # it is not installed
            self._process = subprocess.Popen(
                [*words, "--id=0", f"--loop-ms={EVERY_MS}"], stdout=self._printed, stderr=subprocess.DEVNULL
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
        with self._printed as file:
            file.seek(0)
            lines = file.read().decode(errors="replace").splitlines()
        rows = [[_number(cell) for cell in line.split(",")] for line in lines]
        rows = [row for row in rows if len(row) == len(FIELDS)]
        if rows:
            self.values = {name: [row[i] for row in rows] for i, name in enumerate(FIELDS)}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # [N/A]
        return None
