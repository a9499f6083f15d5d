"""Which of several results have the same test images, and what a reader must know where they have not."""

from __future__ import annotations

from collections.abc import Sequence

from transfer.report.answers import Answers
from transfer.report.runs import OLD_VERSION, Run

# How the images of two results relate.
SAME, SPLIT, OTHER, UNKNOWN = "same", "split", "other", "unknown"


def group_runs(runs: Sequence[Run]) -> list[list[Run]]:
    """Put runs together whose test images are the same."""
    groups: list[list[Run]] = []
    for run in runs:
        own = next((group for group in groups if relate(group[0], run) == SAME), None)
        if own is None:
            groups.append([run])
        else:
            own.append(run)
    return groups


def relate(a: Run, b: Run) -> str:
    """Return whether the test images of two runs are the same, a different part of the same images, or others.

    Predictions tell by names and labels of the test images, the fingerprint of the data by all images and their
    contents. A different split is recognised by the number of images of each class in all splits together.

    Parameters
    ----------
    a, b : Run

    Returns
    -------
    {"same", "split", "other", "unknown"}
    """
    if a.answers and b.answers:
        if _test_images(a.answers) == _test_images(b.answers):
            return SAME
    else:
        prints = [run.result.data.get("fingerprint") for run in (a, b)]
        if None not in prints and prints[0] == prints[1]:
            return SAME
        # The fingerprint is of all images: another one may have the same test images.
        tests = [
            (run.result.data["classes"], run.result.data["splits"]["test"]["per_class"]) for run in (a, b)
        ]
        if tests[0] == tests[1]:
            return UNKNOWN
    return SPLIT if _totals(a) == _totals(b) else OTHER


def _test_images(answers: Answers) -> list[tuple[str, str]]:
    return sorted(zip(answers.files, answers.labels, strict=True))


def _totals(run: Run) -> dict[str, int]:
    """Return the number of images of each class in all splits."""
    data = run.result.data
    counts = zip(*(part["per_class"] for part in data["splits"].values()), strict=True)
    return dict(zip(data["classes"], map(sum, counts), strict=True))


def notes(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know before scores of different runs are compared, a line each.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    list of str
    """
    first, found = runs[0], []
    related = {
        kind: [run.name for run in runs[1:] if relate(first, run) == kind] for kind in (SPLIT, OTHER, UNKNOWN)
    }
    if names := related[SPLIT]:
        found.append(
            f"{_join(names)}: as many images of each class as {first.name}, but not the same test images "
            f"(another split, or other files), so there is no difference to {first.name}"
        )
    if names := related[OTHER]:
        found.append(
            f"{_join(names)}: other images than {first.name}, so their scores do not compare with its"
        )
    if names := related[UNKNOWN]:
        found.append(
            f"{_join(names)}: it is not known whether the test images are those of {first.name}; scores may not compare"
        )
    for group in group_runs([run for run in runs if run.answers]):
        prints = {run.result.data.get("fingerprint") for run in group} - {None}
        if len(prints) > 1:
            found.append(
                f"{_join([run.name for run in group])}: the test images have the same names and labels, but training "
                "images, validation images or contents of files differ"
            )
    missing = [
        run.name
        for run in runs
        if not (run.answers or run.fault)
        and any(relate(run, other) in (SAME, UNKNOWN) for other in runs if other is not run)
    ]
    if missing:
        found.append(
            f"{_join(missing)}: no predictions.csv beside the result, so no difference has an interval"
        )
    found += [f"{run.name}: {run.fault}; no difference has an interval" for run in runs if run.fault]
    old = [run.name for run in runs if run.result.schema_version == OLD_VERSION]
    if old:
        found.append(
            f"{_join(old)}: old protocol (result files of version {OLD_VERSION}), whose grids and training were others"
        )
    return found


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)
