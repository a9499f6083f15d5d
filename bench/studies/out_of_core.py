"""Heads on features larger than memory: `python -m bench.studies.out_of_core`.

Features are made in a file. Every method of a run has a process of its own, whose private memory (RLIMIT_DATA) is
limited, and searches its settings on a memory map of the file. Printed are its seconds, those of reading the file once
in the same process, private memory at its highest, and accuracy. On fewer rows the same search runs without a limit, in
memory and on the map: predictions are compared; scikit-learn fits one setting there.

N: rows. D: features. B: rows of a chunk. C: classes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from bench.features import SHARES
from bench.processes import Prepared, Worker
from bench.reporting.status import exit_status
from transfer.config import RunConfig
from transfer.heads.registry import METHODS
from transfer.system.text import first_line

CLASSES, CHUNK, SEED = 16, 1 << 14, 0
STRONG = (0.001, 0.01, 0.1)
PARTS = {"train": 0.8, "valid": 0.1, "test": 0.1}
LINEAR = ("fc-lab", "fc", "svm", "ridge", "logreg")
USUAL: dict[str, Any] = {
    "fc-lab": lambda: SGDClassifier(loss="log_loss", max_iter=10, tol=None),
    "fc": lambda: SGDClassifier(loss="log_loss", max_iter=10, tol=None),
    "svm": LinearSVC,
    "ridge": RidgeClassifier,
    "logreg": LogisticRegression,
}


def main() -> None:
    """Make features, fit every method on the map, and print one line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.out_of_core", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of all splits (1,000,000)")
    parser.add_argument("--width", type=int, default=512, help="features (512)")
    parser.add_argument("--few", type=int, default=50_000, help="rows that fit into memory; 0: none (50,000)")
    parser.add_argument("--limit-mb", type=int, default=2000, help="of private memory, in MB (2,000)")
    parser.add_argument("--methods", default=",".join(LINEAR), help=f"({','.join(LINEAR)})")
    parser.add_argument(
        "--in-memory", action="store_true", help="read the features into memory: under the limit it fails"
    )
    parser.add_argument("--folder", type=Path, help="where the file is made and kept; a temporary one")
    parser.add_argument("--json", type=Path, help="figures go there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        make(folder, args.rows, args.width)
        found = {}
        for name in args.methods.split(","):
            found[name] = study(name, folder, args.few, args.limit_mb * 10**6, in_memory=args.in_memory)
            print(line(name, found[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def line(name: str, found: dict[str, Any]) -> str:
    """Return what was found of a method as text."""
    if "error" in found:
        return f"{name:7} {found['error']}"
    text = (
        f"{name:7} {found['fit_s']:7.1f} s, {found['fit_s'] / found['pass_s']:6.1f} times one pass over "
        f"{found['bytes'] / 1e9:.2f} GB; private memory {found['private_bytes'] / 1e6:,.0f} MB at most; "
        f"accuracy {found['accuracy']:.4f}"
    )
    if few := found.get("few"):
        text += (
            f"; of {few['rows']:,} rows {few['same']:.2%} predicted as in memory, in "
            f"{few['map_s'] / few['memory_s']:.2f} of its time; {few['usual']} takes "
            f"{few['usual_s'] / few['memory_s']:.1f} times as long for one setting"
        )
    return text


def study(name: str, folder: Path, few: int, limit: int, *, in_memory: bool = False) -> dict[str, Any]:
    """Search the settings of a method on all rows under a limit, and on few rows in memory and on the map."""
    with Worker(prepare, name, folder, limit, in_memory) as worker:
        found: dict[str, Any] = worker.call("fit")
    if few and "error" not in found:
        with Worker(prepare_few, name, folder, few) as worker:
            found["few"] = worker.call("compare")
    return found


def make(folder: Path, rows: int, width: int) -> None:
    """Write features of unequal classes, `x.npy`, and their labels, `y.npy`: the same every time."""
    rng, shares = np.random.default_rng(SEED), SHARES[:CLASSES] / SHARES[:CLASSES].sum()
    centre_CD = rng.normal(0, 0.18, (CLASSES, width)).astype(np.float32)
    scale_D, mean_D = (
        rng.uniform(0.2, 3, width).astype(np.float32),
        rng.normal(0, 2, width).astype(np.float32),
    )
    y_N = rng.choice(CLASSES, rows, p=shares)
    x_ND = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (rows, width))
    for start in range(0, rows, CHUNK):
        y_B = y_N[start : start + CHUNK]
        x_BD = rng.standard_normal((len(y_B), width), np.float32) + centre_CD[y_B]
        x_ND[start : start + CHUNK] = x_BD * scale_D + mean_D
    x_ND.flush()
    np.save(folder / "y.npy", y_N)


def split(n_rows: int) -> dict[str, slice]:
    """Return the rows of each split, one after the other."""
    ends = np.rint(np.cumsum([0, *PARTS.values()]) * n_rows).astype(int).tolist()
    return {name: slice(*pair) for name, pair in zip(PARTS, itertools.pairwise(ends), strict=True)}


def build(name: str) -> Any:
    """Return the search of a method, of an SVM and of logistic regression with strong penalties alone.

    The weaker ones take by far the most of a search, and their rows are read in no other way.
    """
    search = METHODS[name].build(RunConfig(device="cpu"))
    if name in ("svm", "logreg"):
        search.set_params(C=STRONG, class_weight=(None,), extend=False)
    return search.set_params(kernels=("linear",), memory_gb=1e-3) if name == "svm" else search


@contextmanager
def prepare(name: str, folder: Path, limit: int | None, in_memory: bool) -> Iterator[Prepared]:
    """Limit the private memory of this process; yield a call that fits a method to all rows."""
    build(name)  # the libraries are loaded
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def fit() -> dict[str, Any]:
        try:
            x_ND, y_N = (
                np.load(folder / "x.npy", mmap_mode=None if in_memory else "r"),
                np.load(folder / "y.npy"),
            )
            start = time.perf_counter()
            for at in range(0, len(x_ND), CHUNK):
                x_ND[at : at + CHUNK].max()
            pass_s = time.perf_counter() - start
            with highest_private_bytes() as highest:
                search, fit_s = search_splits(name, x_ND, y_N)
                test = split(len(y_N))["test"]
                accuracy = float((search.predict(x_ND[test]) == y_N[test]).mean())
        except (MemoryError, RuntimeError) as error:  # torch raises the latter
            return {"error": f"{type(error).__name__}: {first_line(error)}"}
        return {
            "fit_s": fit_s,
            "pass_s": pass_s,
            "bytes": x_ND.nbytes,
            "private_bytes": max(highest),
            "accuracy": accuracy,
            "params": search.best_params_,
        }

    yield {"fit": fit, "size": limited_bytes}, None


@contextmanager
def prepare_few(name: str, folder: Path, rows: int) -> Iterator[Prepared]:
    """Yield a call that fits a method to few rows in memory, to a map of them, and scikit-learn's to them."""
    y_N = np.load(folder / "y.npy")[:rows]
    mapped_ND = np.load(folder / "x.npy", mmap_mode="r")[:rows]
    x_ND = np.array(mapped_ND)

    def compare() -> dict[str, Any]:
        search_splits(name, x_ND[: rows // 10], y_N[: rows // 10])  # threads and libraries are started
        (inside, memory_s), (outside, map_s) = (
            search_splits(name, x_ND, y_N),
            search_splits(name, mapped_ND, y_N),
        )
        train, test = (split(rows)[part] for part in ("train", "test"))
        usual = USUAL[name]()
        start = time.perf_counter()
        make_pipeline(StandardScaler(), usual).fit(x_ND[train], y_N[train])
        usual_s = time.perf_counter() - start
        same_SM = inside.predict_each(x_ND[test]) == outside.predict_each(mapped_ND[test])
        return {
            "rows": rows,
            "same": float(same_SM.mean()),
            "memory_s": memory_s,
            "map_s": map_s,
            "usual": type(usual).__name__,
            "usual_s": usual_s,
        }

    yield {"compare": compare}, None


def search_splits(name: str, x_ND: Any, y_N: Any) -> tuple[Any, float]:
    """Return the fitted search of a method and its seconds."""
    train, valid = (split(len(y_N))[part] for part in ("train", "valid"))
    start = time.perf_counter()
    search = build(name).fit(x_ND[train], y_N[train], x_ND[valid], y_N[valid])
    return search, time.perf_counter() - start


def libraries_bytes() -> int:
    """Return what counts against a limit of private memory once the libraries of all methods are loaded."""
    with Worker(prepare, "svm", Path(), None, False) as worker:
        size: int = worker.call("size")
    return size


def limited_bytes() -> int:
    """Return what of this process counts against a limit of private memory (VmData), in use or not."""
    match = re.search(r"^VmData:\s*(\d+)", Path("/proc/self/status").read_text(), re.M)
    return int(match[1]) * 1024 if match else 0


@contextmanager
def highest_private_bytes() -> Iterator[Sequence[int]]:
    """Give a list that gets the private memory of this process (RssAnon), looked at ten times a second."""
    found, stop = [private_bytes()], threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            found.append(private_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def private_bytes() -> int:
    """Return the private memory of this process that is in use; mapped files are not counted."""
    match = re.search(r"^RssAnon:\s*(\d+)", Path("/proc/self/status").read_text(), re.M)
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
