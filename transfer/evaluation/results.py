"""The result of a run: one record, and its versioned JSON."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.config import SCORE_NAMES
from transfer.system import schemas
from transfer.system.errors import UserError

# Files of version 1 are still read: they lack what the schema does not require.
SCHEMA_VERSION = 2
# A difference is said to be more than chance with a smaller p, and of no practical concern within 2 points.
ALPHA, MARGIN = 0.05, 0.02
SAME = f"same within {100 * MARGIN:g} points"
_LINE_BREAK = re.compile(r"\n\s*")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a run, with its parts as `result.schema.json` describes them.

    Examples
    --------
    >>> from transfer import RunConfig, run
    >>> result = run(RunConfig(data="features.npz", methods=("knn",), repeats=0))
    >>> result.method("knn")["test"]["accuracy"] > 0.5
    True
    >>> sorted(result.data["splits"])
    ['test', 'train', 'valid']
    """

    created: str
    """UTC, ISO 8601."""
    config: dict[str, Any]
    data: dict[str, Any]
    backbone: dict[str, Any]
    engine: dict[str, Any]
    environment: dict[str, Any]
    features: dict[str, Any]
    methods: list[dict[str, Any]]
    comparison: dict[str, Any]
    seconds: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    def method(self, name: str) -> dict[str, Any]:
        """Return the entry of the method `name`."""
        return next(method for method in self.methods if method["name"] == name)

    def to_json(self) -> str:
        """Return the text of a result file."""
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)
        # Rows of numbers on one line each. No string holds a line break in JSON, so none is touched.
        return (
            re.sub(r"\[\n\s*([^][{}]*?)\n\s*\]", lambda row: f"[{_LINE_BREAK.sub(' ', row[1])}]", text) + "\n"
        )


def skipped_count(result: Result) -> int:
    """Return the number of bad images that were left out; the result names only the first of them."""
    named: list[dict[str, str]] = result.data["skipped"]
    return max(int(result.data.get("skipped_count", 0)), len(named))


def are_given(result: Result) -> bool:
    """Return whether the user brought the features: there are no images, no network and no engine."""
    return bool(result.features.get("given"))


def load(path: Path) -> Result:
    """Read a result file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Result

    Raises
    ------
    UserError
        If it can't be read, is not a valid result file, or has another version.
    """
    record = schemas.load(path, "result")
    for fault in _faults(record):
        raise UserError(f"{path} is no valid result file: {fault}")
    return Result(**{field.name: record[field.name] for field in dataclasses.fields(Result)})


def _faults(record: dict[str, Any]) -> Iterator[str]:
    """Yield what the schema can't say: methods and settings that do not fit each other, scores not of all classes."""
    names = [method["name"] for method in record["methods"]]
    comparison = record["comparison"]
    champions = {comparison["best"], *comparison["best_of_kind"].values()}
    pairs = {frozenset((pair["a"], pair["b"])) for pair in comparison["pairs"]}
    if not champions <= set(names) or pairs != {frozenset(pair) for pair in itertools.combinations(names, 2)}:
        yield "its comparison does not fit its methods"
    if repeated := comparison.get("repeats"):
        lists = [repeated["test_images"], repeated["names"] or None, repeated.get("untrained")]
        lists += [method[score] for method in repeated["methods"] for score in SCORE_NAMES]
        if {len(values) for values in lists if values is not None} != {repeated["n"]}:
            yield f"a list of its repeats is not of {repeated['n']} splits"
    n_classes = len(record["data"]["classes"])
    for split, part in record["data"]["splits"].items():
        if len(part["per_class"]) != n_classes:
            yield f"the {split} split is not of {n_classes} classes"
    for method in record["methods"]:
        if all(row["params"] != method["best_params"] for row in method["sweep"]):
            yield f"the chosen setting of {method['name']!r} was not fitted"
        if any(len(set(map(len, row.get("curve", {}).values()))) > 1 for row in method["sweep"]):
            yield f"a learning curve of {method['name']!r} has lists of several lengths"
        for entry, split in itertools.product((method, *method["sweep"]), ("valid", "test")):
            confusion = entry[split].get("confusion") or []
            tables = [entry[split].get("per_class"), confusion or None, *confusion]
            if {len(table) for table in tables if table is not None} - {n_classes}:
                yield f"a table of {method['name']!r} is not of {n_classes} classes"


def conclude(ci95: Sequence[float] | None, p: float | None = None) -> str:
    """State what an interval of a difference shows.

    Parameters
    ----------
    ci95 : (low, high) or None
    p : float, optional
        Adjusted for other comparisons; at 0.05 or above, no method is ahead.

    Returns
    -------
    str
        `ahead` or `behind` if zero is outside the interval (however small the difference) and p, if there is one, is
        small enough; else `SAME` if the interval is inside `MARGIN`, else `undecided`.
    """
    if ci95 is None:
        return "undecided"
    low, high = ci95
    significant = p is None or p < ALPHA
    if low > 0 and significant:
        return "ahead"
    if high < 0 and significant:
        return "behind"
    return SAME if is_small(ci95) else "undecided"


def is_small(ci95: Sequence[float]) -> bool:
    """Return whether an interval of a difference lies within `MARGIN` of zero."""
    return ci95[0] >= -MARGIN and ci95[1] <= MARGIN
