"""A finished comparison as a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from transfer import report
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent
from transfer.system.run_files import MODELS, PAGE, PREDICTIONS, RESULT

if TYPE_CHECKING:
    from transfer.evaluation.experiment import Experiment
    from transfer.evaluation.results import Result


def save(out: Path, done: Experiment, on_progress: Progress = silent) -> list[UserError]:
    """Keep a comparison in a folder, what can't be made again first; return the errors of what can't be kept.

    Parameters
    ----------
    out : Path
        A folder that is there.
    done : Experiment
    on_progress : Progress
        Called in the phase `write`.

    Returns
    -------
    list of UserError
        Whatever fails does not keep the rest from being written.
    """
    text = done.result_json.encode()
    failures = []
    with contextlib.suppress(OSError):  # another user's
        for path in files.list_abandoned(out):
            path.unlink(missing_ok=True)
    steps: dict[str, Callable[[], object]] = {
        RESULT: lambda: files.write(out / RESULT, text),
        "report.md": lambda: files.write(out / "report.md", report.markdown(done.result).encode()),
        PREDICTIONS: lambda: done.save_predictions(out / PREDICTIONS),
        MODELS: lambda: done.save_models(out / MODELS),
        PAGE: lambda: write_page(out / PAGE, done.result, out / PREDICTIONS, done.thumbnail),
    }
    for i, (name, write) in enumerate(steps.items()):
        on_progress("write", i, len(steps), name)
        try:
            write()
        except UserError as error:
            failures.append(error)
    on_progress("write", len(steps), len(steps))
    return failures


def write_page(path: Path, result: Result, predictions: Path, thumbnail: report.Thumbnail) -> None:
    """Write the page of a result, without pictures where there are no predictions."""
    page = report.page(result, predictions if predictions.exists() else None, thumbnail)
    files.write(path, page.encode())
