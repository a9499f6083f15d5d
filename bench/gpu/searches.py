"""Every search on features, on the processor and on CUDA in turn."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bench import features
from bench.bench_heads import fit, takes_device
from bench.features import Rows
from bench.gpu.part import Part, Row
from bench.studies.searches import ROWS
from bench.turns import Way, time_in_turn
from transfer.config import RunConfig
from transfer.heads.registry import METHODS
from transfer.system.timer import now

ROUNDS = 3


def measure(part: Part) -> None:
    """Measure every method, those that take a device on both."""
    rows = features.synthetic(300, 30, 100, width=256) if part.small else features.synthetic(*ROWS)
    for name in sorted(METHODS, key=takes_device, reverse=True):
        part.run(f"search {name}", partial(search, part, rows, name))


def search(part: Part, rows: Rows, name: str) -> Iterable[Row]:
    """Yield a row for each device; scores show that both find the same."""
    devices = ["cpu", "cuda"] if part.device == "cuda" and takes_device(name) else ["cpu"]
    fits = {
        device: partial(fit, METHODS[name].build(RunConfig(data="synthetic", device=device)), rows)
        for device in devices
    }
    seconds = time_in_turn(
        {device: Way(call=call) for device, call in fits.items()},
        1 if part.small else ROUNDS,
        warm_up=not part.small,
        clock=partial(now, part.device),
    )
    for device, call in fits.items():
        accuracy = float((call().predict(rows.x_test) == rows.y_test).mean())
        yield {
            "operation": "search",
            "way": name,
            "device": device,
            "shape": list(rows.x_train.shape),
            "accuracy": accuracy,
            "seconds": seconds[device],
        }
