"""How sure methods are of their labels, and how often they are right then."""

from __future__ import annotations

from transfer.evaluation.results import Result
from transfer.report.rendering import Table
from transfer.report.wording import format_bound


def table(result: Result) -> Table:
    """Return the calibration errors of every method, and what each confidence came to.

    Parameters
    ----------
    result : Result
        One whose methods have a `calibration`.
    """
    levels = [one["min_confidence"] for one in result.methods[0]["calibration"]["confident"]]
    images = {split: sum(result.data["splits"][split]["per_class"]) for split in ("valid", "test")}
    rows = []
    for method in result.methods:
        found = method["calibration"]
        before = found["error_before"]
        row = [method["name"], "-" if before is None else f"{before:.3f}", f"{found['error']:.3f}"]
        for one in found["confident"]:
            row += [
                "/".join(format_part(one[split]["images"], total) for split, total in images.items()),
                "/".join(format_part(one[split]["right"], one[split]["images"]) for split in images),
            ]
        rows.append(row)
    columns = [column for level in levels for column in (f" p {format_bound(level)}", " right")]
    return Table(
        "Probabilities, calibrated on the validation split: calibration error on the test split before and after; "
        "% of labels at least so probable, and % of these that are right (validation/test)",
        ["method", " before", " after", *columns],
        rows,
    )


def format_part(part: int, whole: int) -> str:
    """Format a share in whole per cent, without the sign; `-` of nothing."""
    return f"{100 * part / whole:.0f}" if whole else "-"
