"""Clocks, power and temperature of a GPU while something runs, once a second, as `nvidia-smi` tells them."""

from __future__ import annotations

import subprocess
import tempfile
from typing import IO, Any

FIELDS = {
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "power_w": "power.draw",
    "celsius": "temperature.gpu",
}
EVERY_MS = 1000


class Samples:
    """Samples of the first GPU from the start of a `with` block to its end; none without `nvidia-smi`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None

    def __enter__(self) -> Samples:
        query = ",".join(FIELDS.values())
        words = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0"]
        self._printed = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                [*words, f"--loop-ms={EVERY_MS}"], stdout=self._printed, stderr=subprocess.DEVNULL
            )
        except OSError:
            self._process = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()

    def read(self) -> dict[str, list[float | None]] | None:
        """Return the values of each field in turn, None for one that the GPU does not tell; None without samples."""
        if not self._process or not self._printed:
            return None
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").splitlines()
        rows = [line.split(",") for line in lines]
        values = [[_number(cell) for cell in row] for row in rows if len(row) == len(FIELDS)]
        return {name: [row[i] for row in values] for i, name in enumerate(FIELDS)} if values else None


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:  # [N/A]
        return None
