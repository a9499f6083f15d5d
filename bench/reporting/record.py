"""Record of one `make bench`, in a file small enough to keep.

`python -m bench.reporting.record RESULT BENCHMARKS --out FILE`: RESULT is what `transfer run` wrote, BENCHMARKS what
`pytest bench --benchmark-json` did. Seconds stay raw.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.reporting import status
from transfer import report
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.report.verdict import headline
from transfer.system import schemas
from transfer.system.errors import UserError

# Raised with every change of the file; one of the version before is then kept in tests/recorded/ and still read.
SCHEMA_VERSION = 2
SCHEMA = Path(__file__).with_name("record.schema.json")
RESULTS = Path(__file__).parents[2] / "results"
# What is committed stays small.
MAX_BYTES = 300_000
# Records filed in `results/<machine>/`: the day, and which of its records.
FILED = re.compile(r"\d{4}-\d\d-\d\d(-\d+)?\.json")
# What two files of one `make bench` agree in.
SAME = ("processor", "usable_cores", "python", "libraries", "commit")
# The fields that identify a benchmark; no two benchmarks of a record agree in all of them.
OWN = ("operation", "way", "reference", "device", "precision", "batch", "images", "shape", "network")


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a `make bench`, with its parts as `record.schema.json` describes them."""

    created: str
    """When the benchmarks were done, UTC, ISO 8601."""
    profile: str
    machine: str
    environment: dict[str, Any]
    run: dict[str, Any]
    benchmarks: list[dict[str, Any]]
    schema_version: int = SCHEMA_VERSION
    skipped: dict[str, int] | None = None
    """How many tests and ways were skipped or failed, by reason; None in records of earlier versions."""

    @property
    def in_turn(self) -> bool:
        """Whether its ways were timed in turn; those of version 1 were not."""
        return self.schema_version > 1

    def to_json(self) -> str:
        """Return the text of a record file, a line for each benchmark."""
        parts = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        benchmarks = ",\n".join(f"  {_dumped(benchmark)}" for benchmark in parts.pop("benchmarks"))
        lines = [f' "{name}": {_dumped(value)}' for name, value in parts.items()]
        return "{\n" + ",\n".join([*lines, f' "benchmarks": [\n{benchmarks}\n ]']) + "\n}\n"


def make_record(result: Path, benchmarks: Path) -> Record:
    """Make the record of two files of one `make bench`. Raises `UserError` if they are not, or can't be read."""
    ran, timed = results.load(result), schemas.parse(benchmarks, "benchmark", schemas.MAX_BYTES)
    for key in ("machine_info", "datetime", "benchmarks", "profile"):
        if key not in timed:
            raise UserError(f"{benchmarks} is no file of pytest bench --benchmark-json: it has no {key}")
    environment = timed["machine_info"]
    schemas.validate(environment, schema()["properties"]["environment"], benchmarks, "benchmark")
    for key in SAME:
        if ran.environment.get(key) != environment.get(key):
            raise UserError(f"{result} and {benchmarks} differ in {key}: not of one make bench; run it again")
    record = {
        "schema_version": SCHEMA_VERSION,
        "created": timed["datetime"],
        "profile": timed["profile"],
        "machine": machine(environment),
        "environment": {
            **environment,
            "dirty": environment["dirty"] or ran.environment["dirty"],
            # Of the run, which comes first: the benchmarks begin on a machine that the run has kept busy.
            "load_before": ran.environment.get("load_before"),
        },
        "run": _run(ran),
        "benchmarks": _benchmarks(timed["benchmarks"], benchmarks),
        **({"skipped": timed["skipped"]} if "skipped" in timed else {}),
    }
    return _checked(record, benchmarks)


def load(path: Path) -> Record:
    """Read a record file. Raises `UserError` if it is not one, has another version or was edited by hand."""
    return _checked(schemas.parse(path, "record", MAX_BYTES), path)


def load_filed(folder: Path) -> list[Record]:
    """Return all records under `folder/<machine>/`, the oldest first; other measurements there have longer names."""
    found = [load(path) for path in sorted(folder.glob("*/*.json")) if FILED.fullmatch(path.name)]
    return sorted(found, key=lambda record: record.created)


def machine(environment: dict[str, Any]) -> str:
    """Return the machine's name for file names: processor, usable cores and GPUs, such as `amd-epyc-2-cores`."""
    gpus = Counter(gpu["name"] for gpu in environment["gpus"])
    parts = [environment["processor"], f"{environment['usable_cores']} cores"]
    parts += [name if count == 1 else f"{count} {name}" for name, count in gpus.items()]
    text = re.sub(r"\((r|tm|c)\)", " ", " ".join(parts).lower())
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of record files."""
    published: dict[str, Any] = json.loads(SCHEMA.read_text("utf-8"))
    return published


def main() -> int:
    """Make a record of two files."""
    parser = argparse.ArgumentParser(prog="python -m bench.reporting.record", description=__doc__)
    parser.add_argument("result", type=Path, metavar="RESULT")
    parser.add_argument("benchmarks", type=Path, metavar="BENCHMARKS")
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the record goes there")
    args = parser.parse_args()
    text = make_record(args.result, args.benchmarks).to_json()
    if len(text) > MAX_BYTES:
        raise UserError(f"the record would take {len(text):,} bytes, and {MAX_BYTES:,} are allowed")
    write(args.out, text)
    return 0


def write(path: Path, text: str) -> None:
    """Write a text file. Raises `UserError` if that can't be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror}") from error


def _run(result: Result) -> dict[str, Any]:
    """Return what tables need of a result: without every setting of the sweeps and without the confusions."""
    return {
        "data": {
            "name": result.data["name"],
            "classes": result.data["classes"],
            **{split: part["per_class"] for split, part in result.data["splits"].items()},
        },
        "backbone": result.backbone,
        "engine": {key: result.engine[key] for key in ("name", "precision", "device", "threads")},
        "images_per_s": result.features["images_per_s"],
        "cold_s": result.features["cold_seconds"],
        "total_s": result.seconds["total"],
        "methods": [_method(method) for method in result.methods],
        "verdict": report.verdict(result),
        "headline": headline(result),
    }


def _method(method: dict[str, Any]) -> dict[str, Any]:
    scores = ("accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95")
    return {
        **{key: method[key] for key in ("name", "kind", "best_params", "fit_s", "predict_s")},
        "settings": len(method["sweep"]),
        **{key: method["test"][key] for key in scores},
        "recall": [entry["recall"] for entry in method["test"]["per_class"]],
    }


def _benchmarks(entries: Any, path: Path) -> list[dict[str, Any]]:
    try:
        return [
            {**entry["extra_info"], "operation": entry["group"], "seconds": entry["stats"]["data"]}
            for entry in entries
        ]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no file of pytest bench --benchmark-json: a benchmark lacks group, extra_info or data"
        ) from error


def _checked(record: dict[str, Any], path: Path) -> Record:
    schemas.check(record, schema(), path, "record")
    if record["machine"] != machine(record["environment"]):
        raise UserError(f"{path} makes no valid record: machine is not what its environment says")
    _check_work(record["benchmarks"], path)
    return Record(
        **{field.name: record[field.name] for field in dataclasses.fields(Record) if field.name in record}
    )


def _check_work(benchmarks: list[dict[str, Any]], path: Path) -> None:
    """Raise `UserError` if two ways can't be distinguished, or ours and a reference did not do the same."""
    own = Counter(_dumped([benchmark.get(key) for key in OWN]) for benchmark in benchmarks)
    twice, count = own.most_common(1)[0]
    if count > 1:
        raise UserError(f"{path} makes no valid record: {count} benchmarks are both {twice[:200]}")
    # A GPU may be given more images than a processor.
    for operation, device in {(b["operation"], b["device"]) for b in benchmarks if b["reference"]}:
        group = [b for b in benchmarks if (b["operation"], b["device"]) == (operation, device)]
        for key in ("images", "shape", "network"):
            if len({_dumped(benchmark[key]) for benchmark in group if key in benchmark}) > 1:
                raise UserError(
                    f"{path} makes no valid record: {key} differ within {operation!r} on {device}"
                )


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
