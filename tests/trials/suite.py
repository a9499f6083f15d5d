"""The trials by name, with the number of cases that one round has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.trials import (
    children,
    damage,
    disks,
    hostile,
    kills,
    many,
    memory,
    outputs,
    races,
    stops,
    trainings,
)

HOSTILE = 20_000
# What of the store is damaged is as good as absent: nothing refuses it.
ABSENT = ("store", "records", "manifests")


@dataclass(frozen=True)
class Trial:
    """A function of a number of cases, a seed and a folder; that number; what must happen in a whole round."""

    call: Callable[[int, int, Path], Counter[str]]
    cases: int
    happens: tuple[str, ...] = ()

    def run(self, seed: int, folder: Path, cases: int | None = None) -> Counter[str]:
        """A round of it, of so many cases."""
        counted = self.call(cases or self.cases, seed, folder)
        assert counted["cases"] >= (cases or self.cases)
        if cases is None:
            assert all(counted[name] for name in self.happens), f"did not happen: {counted}"
        return counted


def _apart(kind: str, count: int, seed: int, folder: Path) -> Counter[str]:
    """Hostile files in a process of their own, so that its memory can be measured, and a crash is reported."""
    out = folder / "counted"
    children.complete(_counted, kind, count, seed, folder, out)
    return Counter(
        {name: int(number) for name, number in (line.split("\t") for line in out.read_text().splitlines())}
    )


def _counted(kind: str, count: int, seed: int, folder: Path, out: Path) -> None:
    counted = hostile.hostile(kind, count, seed, folder / "files")
    out.write_text("\n".join(f"{name}\t{number}" for name, number in counted.items()))


TRIALS: dict[str, Trial] = {
    "kills": Trial(kills.kills, 200, ("in time", "none done", "some done", "all done")),
    "trainings": Trial(trainings.trainings, 12, ("while maps are filled", "while it trains")),
    "stops": Trial(stops.stops, 30, ("SIGINT", "SIGTERM")),
    "races": Trial(partial(races.races, locks=True), 20, ("prunings",)),
    "races-no-locks": Trial(partial(races.races, locks=False), 20),
    "damage": Trial(damage.damage, 500),
    **{
        f"hostile-{kind}": Trial(
            partial(_apart, kind), HOSTILE * share // 100, ("read" if kind in ABSENT else "refused",)
        )
        for kind, share in hostile.SHARES.items()
    },
    "output-fails": Trial(outputs.failing, 20, outputs.KINDS),
    "many": Trial(many.many, 10_000),
    "hostile-large": Trial(partial(_apart, "large"), 11, ("refused",)),
}
if memory.can_limit_addresses():
    TRIALS["memory-addresses"] = Trial(memory.addresses, 24, ("refused", "done"))
if memory.can_limit_groups():
    TRIALS["memory-group"] = Trial(memory.groups, 16, ("killed",))
if disks.can_mount():
    TRIALS |= {
        "disks-full": Trial(disks.full, 8, ("full",)),
        "disks-full-at-models": Trial(outputs.models_full, 8, ("full", "fits")),
        "disks-sticky": Trial(disks.sticky, 4),
        "disks-read-only": Trial(disks.read_only, 8, ("became read-only",)),
    }
