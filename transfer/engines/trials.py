"""What trials of engines found, as it is kept in the store and shown."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transfer.system import hardware

# A trial holds for so long: drivers, firmware and what else runs on a machine change.
MAX_AGE_S = 30 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a trial of an engine in a precision found."""

    engine: str
    precision: str
    setup_s: float
    """Seconds from the network to the engine's first features, less those that a batch takes later."""
    images_per_s: float
    cosine: float
    """Of features with those of eager fp32, the least over the images of the trial."""
    made_at: float
    """Seconds since 1970."""
    contention: float | None
    """The share of the cores this process may use that others took while it was timed; None where it is not known."""
    share: float | None = None
    """Of the rate of matrix products, what an extraction by it reached later, both measured in one run."""

    @property
    def is_current(self) -> bool:
        """Whether its seconds can still be relied on: it is recent, and the machine was not busy."""
        return 0 <= time.time() - self.made_at <= MAX_AGE_S and (self.contention or 0) <= hardware.BUSY


def known(records: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Read trials that were kept as plain data; what is none, or has a number that is not finite, is left out."""
    found = []
    for record in records:
        with contextlib.suppress(TypeError, KeyError, ValueError, OverflowError):
            numbers = {name: float(record[name]) for name in ("setup_s", "images_per_s", "cosine", "made_at")}
            contention = record.get("contention")
            share = record.get("share")
            finite = all(map(math.isfinite, [*numbers.values(), float(contention or 0), float(share or 0)]))
            if finite and numbers["images_per_s"] > 0:
                found.append(
                    Trial(
                        engine=str(record["engine"]),
                        precision=str(record["precision"]),
                        contention=None if contention is None else float(contention),
                        share=None if share is None else float(share),
                        **numbers,
                    )
                )
    return found


def describe_trials(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield lines on the trials that a store keeps: for each network, input size and machine, what was found."""
    for entry in entries:
        declared, trials = entry["declared"], known(entry["trials"])
        # The store is a folder: anything may lie in it.
        with contextlib.suppress(KeyError, TypeError, ValueError):
            height, width = declared["size"]
            yield f"trials        {declared['backbone']} {height}x{width} on {declared['machine']}"
            for trial in trials:
                reached = f", extraction at {trial.share:.0%} of the rate of products" if trial.share else ""
                yield (
                    f"              {trial.engine:8} {trial.precision:4} {trial.images_per_s:8.1f} images/s, "
                    f"ready in {trial.setup_s:.1f} s, cosine with fp32 {trial.cosine:.5f}{reached}"
                    f"{'' if trial.is_current else ' (old or made while the machine was busy: made again when needed)'}"
                )
