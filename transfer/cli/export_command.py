"""What `transfer export` does with its arguments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.cli.commands import report_skipped
from transfer.cli.exit_status import DONE, FAILED
from transfer.cli.output import output_folders
from transfer.cli.parsing import parse_columns
from transfer.system.progress import print_line
from transfer.system.remote import path_of
from transfer.system.run_files import CARD, MODELS, RESULT
from transfer.system.text import printable

if TYPE_CHECKING:
    from transfer.evaluation.results import Result


def export(args: argparse.Namespace) -> int:
    """Export a saved model as one file, with a card."""
    from transfer.serving.run_folder import find_record

    find_record(args.model)  # before libraries that take seconds are imported
    from transfer.data.bad_images import BadImages
    from transfer.data.user_paths import find_named, list_image_files
    from transfer.report import rendering
    from transfer.report.card import card
    from transfer.serving.export import export as export_model
    from transfer.system import files

    columns = parse_columns(args.columns)
    given = [args.images] if args.images else []
    names, left_out = list_image_files(find_named(given, sys.stdin.buffer.read, must_exist=True), columns)
    bad = BadImages(None, args.on_bad_image or "error")
    out = args.out or args.model / args.format
    with output_folders(out), rendering.progress(args.quiet) as on_progress:
        done = export_model(
            args.model,
            out,
            format=args.format,
            method=args.method,
            resize=args.resize,
            images=list(map(path_of, names)),
            bad=bad,
            on_progress=on_progress,
        )
    facts = [
        ("licence of the weights", done.licence),
        ("checked", str(done.check)),
        ("written by", ", ".join(f"{name} {version}" for name, version in done.versions.items())),
    ]
    files.write(out / CARD, card(done.metadata, facts, _result(args.model)).encode())
    if not args.quiet:
        print(printable(f"Written to {out}: {done.file.name}, {CARD}; {done.check}"), flush=True)
    skipped = left_out | bad.skipped
    status = report_skipped(skipped, len(skipped))
    if not done.check.passed:
        print_line(f"the answers of {done.file} are not those of the model: {done.check}")
        return FAILED
    return status or DONE


def _result(model: Path) -> Result | None:
    """Return the result of the run that made a model; None where there is none, or that of another run."""
    from transfer.evaluation import results
    from transfer.serving.run_folder import is_same_run

    folder = model.parent if model.name == MODELS and not (model / RESULT).is_file() else model
    path = folder / RESULT
    return results.load(path) if path.is_file() and is_same_run(folder) else None
