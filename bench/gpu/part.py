"""One part in its process: what it measures goes to a file that is whole at any moment.

`python -m bench.gpu.part NAME --device cuda --seconds 60 --out DIR --work DIR` measures one part alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bench.gpu import unchecked  # noqa: F401
from bench.gpu.parts import PARTS
from bench.reporting.status import exit_status
from transfer.system import files, hardware
from transfer.system.text import first_line
from transfer.system.timer import now

SCHEMA_VERSION = 1
NO_TIME, NO_CUDA = "no time was left", "needs CUDA"
Row = dict[str, Any]


class Part:
    """What is measured, and until when.

    Parameters
    ----------
    name
        Of `PARTS`.
    device
        `cpu` or `cuda`. On a processor everything is small: a rehearsal.
    seconds
        After so many nothing more is begun.
    out
        Folder of the part's file, `NAME.json`.
    work
        Folder for temporary files, which all parts share.
    """

    def __init__(self, name: str, device: str, seconds: float, out: Path, work: Path) -> None:
        self.name, self.device, self.out, self.work = name, device, out, work
        self.small = device == "cpu"
        self._begun = now()
        self._until = self._begun + seconds
        self._rows: list[Row] = []
        self._left_out: list[dict[str, str]] = []
        self.write()

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._until - now()

    def run(self, what: str, measure: Callable[[], Iterable[Row]], *, needs_cuda: bool = False) -> None:
        """Measure something and keep its rows; leave it out, with the reason, where it fails or no time is left."""
        if needs_cuda and self.device != "cuda":
            self.leave_out(what, NO_CUDA)
            return
        if self.left_s <= 0:
            self.leave_out(what, NO_TIME)
            return
        try:
            self._rows += [{"what": what, **row} for row in measure()]
        except Exception as error:  # out of memory, a kernel that is missing: that alone is lost
            self.leave_out(what, f"{type(error).__name__}: {first_line(error)}")
            return
        finally:
            gc.collect()
            if self.device == "cuda":
                torch.cuda.empty_cache()
        self.write()

    def leave_out(self, what: str, why: str) -> None:
        """Record what is not measured."""
        self._left_out.append({"what": what, "why": why})
        self.write()

    def write(self, complete: bool = False) -> None:
        """Write the file, in place of the one before."""
        record = {
            "schema_version": SCHEMA_VERSION,
            "part": self.name,
            "device": self.device,
            "small": self.small,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": now() - self._begun,
            "complete": complete,
            "environment": hardware.describe() if complete else None,
            "rows": self._rows,
            "left_out": self._left_out,
        }
        files.write(self.out / f"{self.name}.json", (json.dumps(record, indent=1) + "\n").encode())


def main() -> int:
    """Measure one part."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.part", description=__doc__)
    parser.add_argument("name", choices=[spec.name for spec in PARTS])
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(hardware.usable_cores())
    part = Part(args.name, args.device, args.seconds, args.out, args.work)
    import_module(f"bench.gpu.{args.name}").measure(part)
    part.write(complete=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
