"""Parts one after the other, each in its own process and within its share of the time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.gpu.part import SCHEMA_VERSION
from bench.gpu.parts import PARTS, Spec
from bench.gpu.sampling import Samples
from transfer.system import files, hardware
from transfer.system.timer import now

ROOT = Path(__file__).parents[2]
MANIFEST = "manifest.json"
COMMAND = (sys.executable, "-m", "bench.gpu.part")
# A part begins nothing more when its share is over; it is stopped when it has taken so many times as long.
STOPPED_AFTER = 1.3
# Seconds with which a part can do nothing, and those kept back for the end.
LEAST_S, END_S = 5.0, 10.0
DONE, FAILED, STOPPED, NOT_BEGUN = "done", "failed", "stopped", "not begun"


def run(
    out: Path,
    *,
    device: str,
    minutes: float,
    parts: Sequence[Spec] = PARTS,
    on_end: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> dict[str, Any]:
    """Run parts, and write what became of them to `manifest.json` after each.

    Parameters
    ----------
    out
        Folder of the results, without those of an earlier run; created if it does not exist.
    device
        `cpu` or `cuda`.
    minutes
        All of it ends within so many. A part gets its share of what is left, so that time that one does not need goes
        to those after it.
    parts
        In their order.
    on_end
        Called with the entry of each part.

    Returns
    -------
    dict
        The manifest.
    """
    until = now() + 60 * minutes - END_S
    out.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "minutes": minutes,
        "environment": hardware.describe(),
        "parts": [],
    }
    with tempfile.TemporaryDirectory(prefix="gpu-") as work:
        for i, spec in enumerate(parts):
            left = until - now()
            seconds = left * spec.share / sum(one.share for one in parts[i:])
            if seconds < LEAST_S:
                entry: dict[str, Any] = {"name": spec.name, "status": NOT_BEGUN, "seconds": 0.0}
            else:
                entry = _run_part(spec, device, seconds, min(left, STOPPED_AFTER * seconds), out, Path(work))
            manifest["parts"].append(entry)
            files.write(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
            on_end(entry)
    return manifest


def _run_part(
    spec: Spec, device: str, seconds: float, limit_s: float, out: Path, work: Path
) -> dict[str, Any]:
    """Run a part and return its entry: how it ended, and what it says of itself."""
    path = out / f"{spec.name}.json"
    words = [*COMMAND, spec.name, "--device", device]
    words += ["--seconds", f"{seconds:.1f}", "--out", str(out.resolve()), "--work", str(work)]
    start = now()
    with tempfile.TemporaryFile() as said, Samples() as samples:
        # The part and the processes that it starts form a group, which is ended as a whole.
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=_environment(work),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    kept = json.loads(path.read_bytes()) if path.exists() else {"rows": [], "left_out": []}
    return {
        "name": spec.name,
        "status": STOPPED if code is None else DONE if code == 0 else FAILED,
        "seconds": now() - start,
        "share_s": seconds,
        "rows": len(kept["rows"]),
        "left_out": kept["left_out"],
        "gpu": samples.values,
        # Warnings are of no interest where it went well.
        "said": [] if code == 0 else lines[-20:],
    }


def _environment(work: Path) -> dict[str, str]:
    """Return the environment of a part: the tree's own modules, and a store that is gone afterwards."""
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TRANSFER_STORE": str(work / "store")}
