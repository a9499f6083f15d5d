"""What `transfer curve` does with its arguments."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from transfer.cli.commands import prepare_early, read_config, report_skipped
from transfer.cli.output import output_folders, printing
from transfer.config import LEAST_DRAWS, MOST_DRAWS
from transfer.system.errors import UserError, check_number
from transfer.system.run_files import CURVE, CURVE_PAGE
from transfer.system.text import printable


def curve(args: argparse.Namespace) -> int:
    """Measure scores against the number of labels."""
    config = read_config(args)
    if args.draws is not None:
        check_number("draws", args.draws, LEAST_DRAWS, MOST_DRAWS)
    if args.out:
        from transfer.data.user_paths import check_output

        check_output(config.data, args.out)
    images, plan = prepare_early(config)
    from transfer.evaluation import learning_curve
    from transfer.report import curve as report
    from transfer.report import rendering
    from transfer.system.timer import Stopwatch

    draws = learning_curve.DEFAULT_DRAWS if args.draws is None else args.draws
    hidden, watch = args.quiet or args.json, Stopwatch()
    with output_folders(args.out), rendering.progress(hidden) as on_progress:
        image_set, features = learning_curve.prepare(config, draws, watch, on_progress, images, plan)
        found = learning_curve.measure(config, draws, image_set, features, watch, on_progress)
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    # What took time is written before it is shown, and shown where it can't be written.
    failed = _write(args.out, found, text) if args.out else None
    with printing(args.out, failed):
        if args.json:
            print(text, end="", flush=True)
        elif args.quiet:
            for sentence in report.sentences(found, config.select):
                print(printable(sentence), flush=True)
        else:
            report.show(found, rendering.console())
            if args.out and not failed:
                print(printable(f"Written to {args.out}: {CURVE_PAGE}, {CURVE}"), flush=True)
    skipped = features.skipped
    return report_skipped(skipped, len(skipped))


def _write(out: Path, found: dict[str, Any], text: str) -> UserError | None:
    """Write the curve and its page; return the error where they can't be written."""
    from transfer.report.html import learning_curve
    from transfer.system import files

    try:
        files.write(out / CURVE, text.encode())
        files.write(out / CURVE_PAGE, learning_curve.render(found).encode())
    except UserError as error:
        return error
    return None
