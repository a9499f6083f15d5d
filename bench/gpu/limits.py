"""What the machine can do, and the share of it that our forward pass reaches: `bench.studies.limits`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from bench.gpu.part import Part, Row
from bench.studies import convolutions, limits, machine

ROUNDS = 3


def measure(part: Part) -> None:
    """Measure products, convolutions, memory, decoding and forward passes in turn."""
    wanted = ("fp32",) if part.small else machine.precisions(part.device)
    kinds = convolutions.RESNET50[-2:] if part.small else convolutions.RESNET50

    def measured() -> Iterable[Row]:
        with tempfile.TemporaryDirectory(dir=part.work) as work, ExitStack() as stack:
            every = limits.everything(part.device, wanted, Path(work), stack, kinds, limits.NETWORKS[:1])
            record = limits.measured(every, 1 if part.small else ROUNDS)
        for left in record["left_out"]:
            part.leave_out(**left)
        yield from record["rates"]
        for share in record["shares"]:
            yield {"operation": "share", **share}

    part.run("limits", measured)
