"""Commands that run out of memory at any moment: no good image is called bad, and nothing that was kept is lost."""

from __future__ import annotations

import faulthandler
import itertools
import json
import math
import os
import random
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.linalg import blas

from tests.trials import children, outputs
from transfer.cache import inventory
from transfer.system import cgroups
from transfer.system.run_files import RESULT

EACH = 4
# Bytes beside those that a process has when everything is imported and every library has worked once.
LEAST, MOST = 10e6, 1.5e9
# Mode, format, height and width: decoded, each takes 50 to 300 MB.
LARGE = (
    ("P", "PNG", 5000, 5000),
    ("RGB", "JPEG", 5000, 4000),
    ("I;16", "PNG", 4000, 4000),
    ("RGBA", "WEBP", 3000, 3000),
    ("RGB", "TIFF", 4000, 3000),
)
# What libraries say that end a process themselves where an allocation fails.
LIBRARIES = ("OpenBLAS", "libgomp", "terminate called", "Fatal Python error")
# What libjpeg and the interpreter print where memory ends, and go on.
REMARKS = ("Insufficient memory (case ", "Exception ignored in: ")
COMMANDS = (
    ("extract",),
    ("run", "--methods=ridge,knn,fc,svm"),
    ("extract", "--on-bad-image=skip"),
    ("run", "--methods=ridge,logreg", "--on-bad-image=skip"),
    ("predict",),
)
_GROUP_LIMITS = ("memory.max", "memory.limit_in_bytes")


def can_limit_addresses() -> bool:
    """Whether the address space of a process can be limited, and how much of it is used be known."""
    return Path("/proc/self/statm").exists()


def can_limit_groups() -> bool:
    """Whether a control group with a limit of its own can be made here."""
    try:
        with _group(10**9):
            return True
    except OSError:
        return False


def addresses(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` commands in an address space that is limited once everything is loaded."""

    def limited(argv: list[str], out: Path, spare: int) -> int:
        return children.ended(children.start(_with_addresses, argv, out, spare))

    return _short(count, seed, folder, limited)


def groups(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` commands in a control group whose limit the kernel enforces by killing."""

    def limited(argv: list[str], out: Path, spare: int) -> int:
        with _group(spare) as group:
            return children.ended(children.start(_in_group, argv, out, group))

    return _short(count, seed, folder, limited)


def _short(
    count: int, seed: int, folder: Path, limited: Callable[[list[str], Path, int], int]
) -> Counter[str]:
    images = children.make_images(folder / "images", each=EACH) + _make_large(folder / "images")
    run = ["run", *children.words(folder, folder / "calm"), "--methods=ridge", f"--out={folder / 'model'}"]
    children.complete(children.command, run, folder / "output")
    children.complete(children.features, folder, folder / "calm", folder / "calm")
    calm, rng, met = (folder / "calm.npy").read_bytes(), random.Random(seed), Counter[str]()
    store, out, output = folder / "store", folder / "out", folder / "output"
    cases = itertools.cycle(itertools.product((False, True), COMMANDS))
    for _, (is_full, (command, *options)) in zip(range(count), cases, strict=False):
        for path in (store, out):
            shutil.rmtree(path, ignore_errors=True)
        if is_full:  # what is only read may not be taken for damaged either
            shutil.copytree(folder / "calm", store)
        argv = [command, *children.words(folder, store), *options]
        if command == "run":
            argv += [f"--out={out}"]
        elif command == "predict":
            argv = [command, str(folder / "model"), str(folder / "images"), "--quiet", *options]
        spare = int(math.exp(rng.uniform(math.log(LEAST), math.log(MOST))))
        case = f"{spare} bytes: {' '.join(argv)}"
        try:
            status = limited(argv, output, spare)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}: {output.read_text()}") from error
        met["cases"] += 1
        met[_outcome(status, output.read_text(), case)] += 1
        _check_written(out, status)
        held = children.committed(store)
        assert not is_full or len(held) == images, "rows are gone"
        entries = inventory.list_entries(store) if store.is_dir() else []
        assert [fault for entry in entries for fault in inventory.find_faults(entry)] == []
        children.complete(children.features, folder, store, folder / "after")
        found = json.loads((folder / "after.json").read_text())
        assert found == {"computed": images - len(held), "reused": len(held), "damaged": 0}, found
        assert (folder / "after.npy").read_bytes() == calm, "features differ from those of an undisturbed run"
    return met


def _outcome(status: int, output: str, case: str) -> str:
    """How a command ended, in a word; it may have said nothing of an image or a file that is as it was."""
    assert "Traceback" not in output, f"{case}: {output}"
    for wrong in ("mend or remove it", "skipped", "damaged", "unexpected"):
        assert wrong not in output, f"{case}: {output}"
    if status == -9:
        return "killed"
    if any(name in output for name in LIBRARIES):
        return "ended by a library"
    assert status in (0, 2), f"{case}: status {status}: {output}"
    lines = [line for line in output.splitlines() if not line.startswith(REMARKS)]
    assert all(line.startswith("transfer: ") for line in lines), f"{case}: {output}"
    assert (status == 2) <= (len(lines) > 0), case
    return "refused" if status else "left out" if "left out" in output else "done"


def _check_written(out: Path, status: int) -> None:
    """Where a run came to its end, there is a whole result, and models that are its."""
    if status == 0 and out.exists():
        assert json.loads((out / RESULT).read_text())["methods"]
        outputs.check_models(out)


def _make_large(root: Path) -> int:
    for i, (mode, kind, height, width) in enumerate(LARGE):
        split = ("train", "valid", "test")[i % 3]
        path = root / split / f"class{i % children.CLASSES}" / f"large{i}.{kind.lower()}"
        Image.new(mode, (width, height), 40 * i + 60 if mode in ("P", "I;16") else (200, 40 * i, 90)).save(
            path, kind, **({"transparency": 0} if mode == "P" else {})
        )
    return len(LARGE)


def _with_addresses(argv: list[str], out: Path, spare: int) -> None:
    """Run a command in the address space that the process has now and `spare` bytes; what it says is in `out`."""
    _prepare(out)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, hard))
    _run(argv)


def _in_group(argv: list[str], out: Path, group: Path) -> None:
    """Run a command in a control group."""
    _prepare(out)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    _run(argv)


def _run(argv: list[str]) -> None:
    from transfer import cli

    os._exit(cli.main(argv))  # what libraries do at exit takes memory too


def _prepare(out: Path) -> None:
    """Direct all output to `out`, and let every library take now what it takes once.

    OpenBLAS, of which NumPy and SciPy have one each, waits for good for memory that it does not get.
    """
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    sys.stdout = os.fdopen(1, "w")
    faulthandler.enable(sys.stderr)
    faulthandler.dump_traceback_later(children.LIMIT_S - 5, file=sys.stderr)
    torch.set_num_threads(1)
    x = np.ones((256, 256), np.float32)
    for square in (x, x.astype(np.float64)):
        np.linalg.solve(square @ square + np.eye(256), square)
        torch.from_numpy(square) @ torch.from_numpy(square)
    blas.dgemm(1.0, x, x)
    torch.nn.functional.conv2d(torch.ones(1, 3, 32, 32), torch.ones(8, 3, 3, 3))


@contextmanager
def _group(limit: int) -> Iterator[Path]:
    """A control group below this process's own. Raises `OSError` where none can be made."""
    own = max(cgroups.list_folders("memory"), key=lambda folder: len(folder.parts), default=Path("/nowhere"))
    group = own / f"trial-{os.getpid()}"
    group.mkdir()
    try:
        name = next((name for name in _GROUP_LIMITS if (group / name).exists()), None)
        if name is None:
            raise OSError("no memory controller")
        (group / name).write_text(str(limit))
        yield group
    finally:
        group.rmdir()
