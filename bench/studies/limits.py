"""What this machine can do, and which share of it forward passes reach: `python -m bench.studies.limits`.

Measured in turn, in one run: matrix products, the convolutions of a ResNet50 at 240x800 one kind at a time (by PyTorch
and by OpenVINO), copying and reading memory, decoding, and forward passes by the engine that `auto` usually takes.
Figures are medians over rounds; shares are of the fastest rounds, since other load only slows. An addition and a
multiplication are two operations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from bench import synthetic_images, ways
from bench.busy import OtherCores, report_busy
from bench.reporting.status import exit_status
from bench.studies import convolutions, machine
from bench.studies.convolutions import Layers
from bench.studies.machine import FLOPS, IMAGES, Limit, Work
from bench.turns import rest
from transfer.backbones import bundled
from transfer.config import BUNDLED_BACKBONE, PACKAGED_BACKBONE
from transfer.engines import ENGINES
from transfer.engines.options import BATCH
from transfer.report.rendering import Table, draw
from transfer.system import hardware
from transfer.system.text import first_line

PHOTOGRAPHS = 16
NETWORKS = (BUNDLED_BACKBONE, *((PACKAGED_BACKBONE,) if find_spec("timm") else ()))
UNITS = {FLOPS: (1e12, "TFLOP/s"), machine.BYTES: (1e9, "GB/s"), IMAGES: (1, "images/s")}
# What a forward pass is compared with: the rate of all of ResNet50's convolutions, whatever the network, of the fastest
# of them, and of matrix products.
COMPARED = ("convolutions", "fastest convolution", "products")


def main() -> None:
    """Measure in turn, print tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.limits", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", help="with commas between; those that the device multiplies")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (5)")
    parser.add_argument("--json", type=Path, help="raw rates go there")
    args = parser.parse_args()
    wanted = args.precision.split(",") if args.precision else machine.precisions(args.device)
    if unknown := set(wanted) - set(machine.PRECISIONS):
        parser.error(f"--precision is {min(unknown)!r}; give some of {','.join(machine.PRECISIONS)}")
    if args.rounds < 1:
        parser.error(f"--rounds is {args.rounds}; give a whole number from 1 up")
    torch.set_num_threads(hardware.usable_cores())
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        others = OtherCores()
        record = measured(everything(args.device, wanted, Path(work), stack), args.rounds, print_rate)
        record = {
            "machine": hardware.describe(),
            "device": args.device,
            "other_cores": others.mean(),
            **record,
        }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")
    show(record)


def everything(
    device: str,
    wanted: Sequence[str],
    work: Path,
    stack: ExitStack,
    kinds: Sequence[Layers] = convolutions.RESNET50,
    networks: Sequence[str] = NETWORKS,
) -> Iterator[Limit]:
    """Yield all that is measured on a device in the precisions that are wanted.

    Parameters
    ----------
    device
        `cpu` or `cuda`.
    wanted
        Of `machine.precisions`.
    work
        A folder for files.
    stack
        Closes what is open.
    kinds
        The convolutions.
    networks
        Whose forward passes are measured.
    """
    folder = work / "photographs"
    for i in range(PHOTOGRAPHS):
        synthetic_images.draw(folder, ways.CLASSES[i % 2], i, seed=i)
    yield from machine.products(device, wanted)
    yield from machine.layers(device, wanted, kinds)
    yield from machine.memory(device)
    yield from machine.decoding(folder)
    for name in networks:
        yield from forward(name, folder, work, device, wanted, stack)


def forward(
    name: str, folder: Path, work: Path, device: str, wanted: Sequence[str], stack: ExitStack
) -> Iterator[Limit]:
    """Yield forward passes of a network by the usual engine, in each precision that it has."""
    own = work / name
    own.mkdir()
    weights = bundled.FILE if name == BUNDLED_BACKBONE else None
    extractor = stack.enter_context(ways.opened(folder, own, name, weights))
    usual = ways.usual_plan(device).engine

    def prepare(precision: str) -> Callable[[], float]:
        def make() -> Work:
            engine = ways.engine(extractor, usual, precision, device)
            some_NHW3 = extractor.sample(extractor.images, PHOTOGRAPHS)
            x_NHW3 = np.resize(some_NHW3, (engine.plan.batch, *some_NHW3.shape[1:]))  # repeated
            calls = 2 * engine.in_flight
            return partial(ways.compute_batches, engine, [x_NHW3] * calls), calls * len(x_NHW3)

        return machine.timed(make, device)

    for precision in wanted:
        if precision in ENGINES[usual].precisions[device] and (precision != "int8" or find_spec("nncf")):
            yield Limit(
                operation="forward",
                what=name,
                way=usual,
                unit=IMAGES,
                precision=precision,
                prepare=partial(prepare, precision),
                facts={"batch": BATCH[device], "flops_per_image": extractor.flops, "shape": list(ways.SIZE)},
            )


def measured(
    limits: Iterable[Limit], rounds: int, on_rate: Callable[[Limit, float], None] = lambda limit, rate: None
) -> dict[str, Any]:
    """Measure limits in turn.

    Parameters
    ----------
    limits
    rounds
        Of each.
    on_rate
        Called with the rates of the first round as they come.

    Returns
    -------
    dict
        `rates`: of each limit what it is, and `per_s`, a rate for each round; `left_out`: what failed, and why;
        `shares` of forward passes.
    """
    left_out: dict[str, str] = {}
    ready = []

    def attempt(limit: Limit, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # such as a product that this library lacks: that row alone is lost
            left_out[f"{limit.operation} {limit.what} {limit.precision}".strip()] = first_line(error)
            return None

    for limit in limits:
        if measure := attempt(limit, limit.prepare):
            ready.append((limit, measure, limit.described() | {"per_s": []}))
    for i in range(rounds):
        for limit, measure, row in ready if i % 2 == 0 else reversed(ready):
            rest()
            if rate := attempt(limit, measure):
                row["per_s"].append(rate)
                if i == 0:
                    on_rate(limit, rate)
    rows = [row for _, _, row in ready if row["per_s"]]
    return {
        "rates": rows,
        "left_out": [{"what": what, "why": why} for what, why in left_out.items()],
        "shares": shares(rows),
    }


def print_rate(limit: Limit, rate: float) -> None:
    """Print the rate of a first round on standard error."""
    scale, unit = UNITS[limit.unit]
    words = " ".join(filter(None, (f"{limit.operation}, {limit.what}", limit.precision, limit.way)))
    print(f"limits: {words}: {rate / scale:.2f} {unit}", file=sys.stderr, flush=True)


def shares(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what share of the rates in the same precision forward passes reach."""
    found = []
    for row in rows:
        if row["operation"] == "forward" and row["flops_per_image"]:
            flops_per_s = max(row["per_s"]) * row["flops_per_image"]
            compared = compare(rows, row["precision"])
            found.append(
                {name: row[name] for name in ("what", "way", "precision", "batch")}
                | {"flops_per_s": flops_per_s}
                | {name: flops_per_s / rate if rate else None for name, rate in compared.items()}
            )
    return found


def compare(rows: Sequence[dict[str, Any]], precision: str) -> dict[str, float | None]:
    """Return the rates that a forward pass is compared with, in the order of `COMPARED`.

    For each kind of convolution the faster library is used. The first rate weights the kinds by how often they
    occur in ResNet50.
    """
    own = [row for row in rows if row["precision"] == precision]
    best: dict[str, float] = {}
    for row in own:
        if row["operation"] == "convolution":
            best[row["what"]] = max(*row["per_s"], best.get(row["what"], 0))
    network = [(one.blocks * one.flops, best.get(str(one))) for one in convolutions.RESNET50]
    whole = None
    if all(rate for _, rate in network):
        whole = sum(flops for flops, _ in network) / sum(flops / rate for flops, rate in network if rate)
    products = [max(row["per_s"]) for row in own if row["operation"] == "product"]
    rates = (whole, max(best.values(), default=None), max(products, default=None))
    return dict(zip(COMPARED, rates, strict=True))


def show(record: dict[str, Any]) -> None:
    """Print what was measured."""
    console = Console(highlight=False)
    rows = []
    for row in record["rates"]:
        scale, unit = UNITS[row["unit"]]
        rates = row["per_s"]
        low, middle, high = (value / scale for value in (min(rates), statistics.median(rates), max(rates)))
        figures = [f"{value:.2f}" for value in (middle, low, high)]
        rows.append([f"{row['operation']}, {row['what']}", row["precision"], row["way"], *figures, unit])
    columns = ["what", "precision", "by", " median", " min", " max", "unit"]
    draw(Table(f"What this machine does, on {record['device']}", columns, rows), console)
    cells = [
        [
            f"{share['what']}, {share['way']} {share['precision']}",
            f"{share['flops_per_s'] / 1e12:.2f}",
            *("" if share[name] is None else f"{share[name]:.2f}" for name in COMPARED),
        ]
        for share in record["shares"]
    ]
    columns = ["forward passes", " TFLOP/s", *(f" of {name}" for name in COMPARED)]
    draw(Table("Their share of the rates in the same precision", columns, cells), console)
    for left in record["left_out"]:
        console.print(f"not measured: {left['what']} ({left['why']})")
    report_busy(record["other_cores"], record["machine"]["usable_cores"])


if __name__ == "__main__":
    sys.exit(exit_status(main))
