"""Recorded runs: file a record in `results/`, and write `results/README.md` from all that is there.

`python -m bench.reporting.recorded FILE`; without FILE only the page is written. Records of different machines
stand side by side and are never merged.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.reporting import notes, record, status, tables, timings
from bench.reporting.record import RESULTS, Record
from bench.reporting.timings import DEVICES, amount, by_time, labelled, on, operations
from transfer.config import SCORE_NAMES
from transfer.report.rendering import Table, markdown
from transfer.system import schemas
from transfer.system.errors import UserError
from transfer.system.text import escape

PAGE = "README.md"
COMMAND = "make bench, then make results"
# Other measurements, by the last part of their files' names: the command that made each.
KINDS = {
    "boats": "transfer run boats --weights embedded --out out with an empty store, on 1,248 photographs of 240x800",
    "lagoon": "transfer run --out out with an empty store, on the built-in images",
    "boats-package": "transfer run boats --backbone efficientnet_lite0 --weights package --out out, the same with "
    "ImageNet weights of a package",
    "weights-boats": "python -m bench.studies.weights boats --json FILE: embedded weights against untrained ones",
    "weights-lagoon": "python -m bench.studies.weights --json FILE: the same on the built-in images",
    "rates": "python -m bench.studies.rates boats/train --json FILE: every way to extract, in turn, on 64 of the "
    "photographs",
    "searches": "python -m bench.studies.searches --json FILE: every search and the usual way, in turn, on made-up "
    "features",
    "searches-boats": "python -m bench.studies.searches --features FILE.npz --json FILE: the same on 3,474 features of "
    "boat photographs from a pre-trained MobileNet",
    "large": "python -m bench.studies.large --C 0.01 --json FILE: a linear SVM on 50,000 rows against LinearSVC",
    "gate": "python -m bench.gate.selftest --trials 10 --json FILE: equal revisions, and work added or taken away",
    "self-ratio": "python -m bench.studies.self_ratio --json FILE: a way timed against itself, in turn",
    "growth": "python -m bench.studies.growth --json FILE --plot docs/growth.svg: how the time of every search grows",
}
OTHER = re.compile(r"\d{4}-\d\d-\d\d-([a-z-]+)\.json")
TOP = """# Recorded results

Written by `python -m bench.reporting.recorded` from the files in the folders here, a folder for each machine: as the
programs wrote them, never edited, never merged, never averaged. `python -m bench.reporting.summary FILE` shows a record
of `make bench` again, `transfer report FILE` what `transfer run` wrote (`-boats`, `-lagoon`),
`python -m bench.gate.selftest --show FILE` trials of the gate (`-gate`)."""
PHOTOGRAPHS = """The photographs are a part of the data of the COMP6248 transfer-learning lab, derived from the MarDCT
boat classification set (D. D. Bloisi, L. Iocchi, A. Pennisi, L. Tombolini, "ARGOS-Venice Boat Classification",
AVSS 2015); they are not in this repository."""


def file(new: Record, results: Path, *, replace: bool) -> Path:
    """File a record next to others of its day and machine, or in place of the last of them; return its path."""
    if new.profile == "quick":
        raise UserError("profile quick shows that the benchmarks run, its times mean nothing; run make bench")
    text = new.to_json()
    folder, day = results / new.machine, tables.day(new)
    names = [f"{day}.json", *(f"{day}-{number}.json" for number in range(2, 1000))]
    there = [folder / name for name in names if (folder / name).exists()]
    same = [path for path in there if path.read_text("utf-8") == text]
    if same:
        return same[0]
    free = next(folder / name for name in names if folder / name not in there)
    path = there[-1] if replace and there else free
    record.write(path, text)
    return path


def page(results: Path) -> str:
    """Return the text of the page, from all files in the folders of `results` and nothing else."""
    shown = newest(record.load_filed(results))
    parts = [TOP]
    if shown:
        parts += ["## The newest record of each machine", *map(markdown, side_by_side(shown))]
        for one in shown:
            parts += [
                f"### {escape(one.machine)}",
                escape(notes.heading(one)),
                markdown(tables.ratios(one)),
            ]
            parts += [f"Note: {escape(note.whole())}" for note in notes.notes(one)]
            parts += [escape(one.run["verdict"]), escape(notes.answer(one))]
    return "\n\n".join([*parts, markdown(listing(results)), PHOTOGRAPHS]) + "\n"


def newest(filed: Sequence[Record]) -> list[Record]:
    """Return the newest of the records of each machine, by its name; `filed` has the oldest first."""
    found = {one.machine: one for one in filed}
    return [found[machine] for machine in sorted(found)]


def side_by_side(shown: Sequence[Record]) -> list[Table]:
    """Return the tables of several machines, a column for each."""
    return [accuracies(shown), times(shown)] if shown else []


def accuracies(shown: Sequence[Record]) -> Table:
    """Tabulate accuracy and macro F1 by image set, network and method, a column for each machine."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in shown:
        run = one.run
        network = f"{run['data']['name']}, {tables.network(run)}"
        for method in run["methods"]:
            scores = (tables.with_interval(method, score) for score in SCORE_NAMES)
            cells.setdefault((network, method["name"]), {})[one.machine] = " / ".join(scores)
    rows = [
        [*key, *(row.get(one.machine, "-") for one in shown)]
        for key, row in sorted(cells.items(), key=lambda item: item[0][0])
    ]
    columns = ["images and network", "method", *(f" {one.machine}" for one in shown)]
    return Table("Accuracy / macro F1 on the test split, with 95 % intervals", columns, rows)


def times(shown: Sequence[Record]) -> Table:
    """Tabulate medians with minimum and maximum, a column for each machine; only equal work shares a row."""
    works: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for one in shown:
        for operation, benchmarks in operations(one.benchmarks).items():
            for device, name in DEVICES.items():
                if ways := on(benchmarks, device):
                    works.setdefault((operation, name, amount(ways)), {})[one.machine] = labelled(ways)
    rows = []
    for (operation, name, of), found in sorted(works.items()):
        columns = [found.get(one.machine, {}) for one in shown]
        for i, label in enumerate(by_time(*columns)):
            first = [operation, f"{name}, {of}" if of else name] if i == 0 else ["", ""]
            rows.append([*first, label, *(_cell(column.get(label)) for column in columns)])
    machines = [f" {one.machine}" for one in shown]
    return Table("Time by operation: median (least-most)", ["operation", "on", "way", *machines], rows)


def listing(results: Path) -> Table:
    """List every file, with its commit, how busy its machine was before, and the command that made it."""
    rows = []
    for path in sorted(results.glob("*/[!.]*")):
        name, environment, command = f"{path.parent.name}/{path.name}", *_read(path)
        rows.append([name, path.name[:10], tables.commit(environment), tables.load(environment), command])
    return Table("Every recorded file", ["file", "date", "commit", "load before", "command"], rows)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """Return the environment that a file was made in, and the command. Raises `UserError` for any other file."""
    if record.FILED.fullmatch(path.name):
        one = record.load(path)
        if one.machine != path.parent.name:
            raise UserError(f"{path} is of {one.machine}; move it to that folder")
        return one.environment, f"{COMMAND} (profile {one.profile})"
    match = OTHER.fullmatch(path.name)
    if not match or match[1] not in KINDS:
        raise UserError(
            f"{path} is no recorded file: its name contains no known kind; move it elsewhere, or name its kind in KINDS"
        )
    found = schemas.parse(path, "recorded", schemas.MAX_BYTES)
    for key in ("environment", "machine", "machine_info"):
        if key in found:
            schemas.validate(found[key], record.schema()["properties"]["environment"], path, "recorded")
            return found[key], KINDS[match[1]]
    raise UserError(f"{path} does not name its machine; run its command again: {KINDS[match[1]]}")


def _cell(benchmark: dict[str, Any] | None) -> str:
    time, rate = timings.time_and_rate(benchmark)
    return f"{time}, {rate} images/s" if rate else time


def main() -> int:
    """File a record if one is given, and write the page, or check it."""
    parser = argparse.ArgumentParser(prog="python -m bench.reporting.recorded", description=__doc__)
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="a record, as bench.reporting.record makes it"
    )
    parser.add_argument(
        "--replace", action="store_true", help="in place of the last record of its day and machine"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if the page is not what the files give"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="(results/)")
    args = parser.parse_args()
    if args.file and args.check:
        raise UserError("--check files nothing; give either FILE or --check")
    if args.file:
        print(file(record.load(args.file), args.results, replace=args.replace))
    path, text = args.results / PAGE, page(args.results)
    if not args.check:
        record.write(path, text)
    elif not path.exists() or path.read_text("utf-8") != text:
        print(f"{path} is not what the recorded files give; run python -m bench.reporting.recorded")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
