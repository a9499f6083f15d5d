"""Standard output that fails, and disks that are full when models are written."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.trials import children, disks
from transfer.serving import bundle
from transfer.system.errors import UserError
from transfer.system.run_files import MODELS, PAGE, PREDICTIONS, RESULT

EACH = 6
KINDS = ("full", "pipe", "closed", "latin-1", "ascii")
WRITTEN = {RESULT, PAGE, "report.md", PREDICTIONS, MODELS}


def failing(count: int, seed: int, folder: Path) -> Counter[str]:
    """Standard output that is full, closed, or has not the letters: everything is written all the same."""
    children.make_images(folder / "images", each=EACH)
    for split in (folder / "images").iterdir():
        (split / "class0").rename(split / "☃ snow")
    met: Counter[str] = Counter()
    modes = (["--json"], [], ["--select=accuracy"])
    for case, (mode, kind) in zip(
        range(count), itertools.cycle(itertools.product(modes, KINDS)), strict=False
    ):
        out = folder / f"out{case}"
        argv = [
            "run",
            *children.words(folder, folder / "store"),
            "--methods=ridge,knn",
            f"--out={out}",
            *mode,
        ]
        if not mode:
            argv.remove("--quiet")
        status = children.ended(children.start(_with_output, kind, argv))
        met["cases"] += 1
        met[kind] += 1
        assert status == {"full": 2}.get(kind, 0), (kind, mode, status)
        assert {path.name for path in out.iterdir()} == WRITTEN, (kind, mode)
        check_models(out)
    return met


def models_full(count: int, seed: int, folder: Path) -> Counter[str]:
    """A second run that saves to a disk with less and less room: its models replace the first ones, or leave them."""
    children.make_images(folder / "images", each=EACH)
    argv = ["run", *children.words(folder, folder / "store"), "--methods=ridge,knn"]
    assert _run(argv, folder, folder / "calm")["status"] == 0
    kilobytes = (
        sum(path.stat().st_size for path in (folder / "calm").rglob("*") if path.is_file()) // 1024 + 64
    )
    met: Counter[str] = Counter()
    for case in range(count):
        with disks.small_disk(folder / "disk", 2 * kilobytes + 256) as disk:
            assert _run(argv, folder, disk / "out")["status"] == 0
            first = bundle.load(disk / "out").record["made_from"]["result_sha256"]
            room = kilobytes + (case + 1) * (kilobytes + 64) // count + seed % 7
            subprocess.run(["mount", "-o", f"remount,size={room}k", disk], check=True)
            outcome = _run([*argv, "--seed=1"], folder, disk / "out")
            met["cases"] += 1
            met["full"] += outcome["status"] == 2
            met["fits"] += outcome["status"] == 0
            assert outcome["status"] in (0, 2), outcome
            if outcome["status"] == 2:
                assert "No space left on device" in str(outcome["stderr"]), outcome
            check_models(disk / "out")
            json.loads((disk / "out" / RESULT).read_text())
            kept = bundle.load(disk / "out").record["made_from"]["result_sha256"]
            assert (kept == first) == (outcome["status"] == 2)
            assert not list((disk / "out").rglob(".new-*"))
    return met


def _run(argv: list[str], folder: Path, out: Path) -> dict[str, object]:
    out_file = folder / "outcome"
    children.ended(children.start(children.command, [*argv, f"--out={out}"], out_file))
    found: dict[str, object] = json.loads(out_file.read_text())
    return found


def _with_output(kind: str, argv: list[str]) -> None:
    """Run a command whose standard output is of a kind."""
    from transfer import cli

    read, write = os.pipe()
    os.close(read)  # a writer gets an error
    descriptor = os.open("/dev/full", os.O_WRONLY) if kind == "full" else write if kind == "pipe" else None
    if kind == "closed":
        sys.stdout = None  # as Python has it where descriptor 1 is closed
    elif descriptor is None:
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding=kind)
    else:
        os.dup2(descriptor, 1)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    status = cli.main(argv)
    with contextlib.suppress(OSError):
        print(end="", flush=True)
    os._exit(status)


def check_models(out: Path) -> None:
    """Every file of the models is the one that their record names."""
    kept = bundle.load(out)
    try:
        kept.whole("backbone", kept.record["backbone"]["sha256"])
        for method in kept.record["methods"]:
            kept.whole(method["name"], method["sha256"])
    except UserError as error:
        raise AssertionError(str(error)) from error
