"""The whole comparison as a user starts it, from an empty store and from a full one, and the tutorial's loop."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import ways
from bench.gpu import inputs
from bench.gpu.part import Part, Row
from bench.references import adam_loop, loader, pytorch_loop, uncached_loop
from transfer.system import files
from transfer.system.run_files import RESULT
from transfer.system.timer import now

ROOT = Path(__file__).parents[2]
# Batches of the loop that are timed; an epoch, of each rate, takes as many times as much.
BATCHES = {"cpu": 1, "cuda": 20}


def measure(part: Part) -> None:
    """Measure runs by `auto` and in fp16, each with an empty store and then with that store."""
    for precision in ("auto", "fp16"):
        store = part.work / f"store-{precision}"
        for state in ("empty", "full"):
            part.run(
                f"run, {precision}, {state} store",
                partial(run, part, store, precision, state),
                needs_cuda=precision == "fp16",
            )
    part.run("the network in every epoch", partial(epochs, part))


def run(part: Part, store: Path, precision: str, state: str) -> Iterable[Row]:
    """Time the command; the first result is kept for the record."""
    seconds, result = call(part, store, "--precision", precision, *(["--repeats", "0"] if part.small else []))
    if not (part.out / RESULT).exists():
        files.write(part.out / RESULT, json.dumps(result).encode())
    yield {
        "operation": f"run, {state} store",
        "way": f"transfer run, {precision}",
        "seconds": [seconds],
        "phases": result["seconds"],
        "engine": f"{result['engine']['name']} {result['engine']['precision']}",
        "images": result["features"]["images"],
        "computed": result["features"]["computed"],
        "images_per_s": result["features"]["images_per_s"],
        "scores": scores(result),
    }


def call(part: Part, store: Path, *words: str) -> tuple[float, dict[str, Any]]:
    """Compare methods as a user does; return the seconds, the start of the process included, and the result."""
    few = [str(inputs.splits(part)), "--weights", "embedded", "--size", "64x208", "--engine", "eager"]
    words = (*(few if part.small else []), *words, "--device", part.device, "--store", str(store))
    start = now()
    done = subprocess.run(
        [sys.executable, "-m", "transfer", "run", *words, "--json"],
        cwd=ROOT,
        capture_output=True,
        timeout=max(1.0, part.left_s),
        check=False,
    )
    seconds = now() - start
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"exit status {done.returncode}, the last line: {said[-1]}")
    return seconds, json.loads(done.stdout)


def scores(result: dict[str, Any]) -> dict[str, list[float]]:
    """Return accuracy and macro F1 of each method on the test split."""
    return {one["name"]: [one["test"]["accuracy"], one["test"]["macro_f1"]] for one in result["methods"]}


def epochs(part: Part) -> Iterable[Row]:
    """Time some batches of the tutorial's loop on the same images, scaled to four rates of ten epochs."""
    root = inputs.splits(part) if part.small else next((part.work / "store-auto").glob("*/*/train")).parent
    body = pytorch_loop.prepare(inputs.network()).to(part.device)
    images = loader(root / "train", ways.SIZE)
    batches = min(BATCHES[part.device], len(images))
    # Drawn before the clock starts: a new iterator shuffles nothing here, and files are in the system's cache.
    x_N3HW, _ = next(iter(images))
    width = pytorch_loop.features(body, x_N3HW.to(part.device)).shape[1]
    layer = nn.Linear(width, len(images.dataset.classes)).to(part.device)  # type: ignore[attr-defined]
    adam = torch.optim.Adam(layer.parameters(), lr=1e-3)

    def on_device() -> Iterable[Any]:
        some = itertools.islice(images, batches)
        return ((x_N3HW.to(part.device), y_N.to(part.device)) for x_N3HW, y_N in some)

    start = now(part.device)
    uncached_loop.epoch(partial(pytorch_loop.features, body), layer, adam, on_device())
    seconds = now(part.device) - start
    times = len(images) / batches * adam_loop.LAB["epochs"] * len(adam_loop.LAB["lr"])
    yield {
        "operation": "train, files to last layer",
        "way": "network in every epoch",
        "reference": True,
        "precision": pytorch_loop.precision(part.device),
        "images": len(images.dataset),  # type: ignore[arg-type]
        "shape": list(ways.SIZE),
        "seconds": [seconds * times],
        "scaled_by": times,
    }
