"""`transfer predict`: the classes of images, on standard output or as a table in a file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from transfer.cli.commands import report_skipped
from transfer.cli.parsing import parse_columns
from transfer.system.progress import print_line
from transfer.system.remote import path_of
from transfer.system.text import join_cells

if TYPE_CHECKING:
    from transfer.serving.prediction import Prediction


def predict(args: argparse.Namespace) -> int:
    """Name the classes of images."""
    from transfer.data.bad_images import BadImages
    from transfer.data.user_paths import find_named, list_image_files
    from transfer.engines.options import check_names, pick_device
    from transfer.serving import prediction_table
    from transfer.serving.prediction import check_confidence
    from transfer.serving.run_folder import find_record

    least = args.min_confidence or 0.0
    check_confidence(least)
    check_names(args.engine or "auto", args.precision or "auto")
    if args.device:
        pick_device(args.device)
    if args.out:
        prediction_table.check_path(args.out)
    must_exist = args.on_bad_image != "skip"
    given = find_named(args.images, sys.stdin.buffer.read, must_exist=must_exist, out=args.out)
    names, left_out = list_image_files(given, parse_columns(args.columns))
    find_record(args.model)  # before libraries that take seconds are imported
    from transfer.report import rendering
    from transfer.serving import predictor
    from transfer.system.timer import Stopwatch

    chosen = ("method", "device", "engine", "precision")
    options = {name: value for name, value in vars(args).items() if name in chosen and value is not None}
    bad, watch, count, sure = BadImages(None, args.on_bad_image or "error"), Stopwatch(), 0, 0
    shown = _Shown(args.json)
    with rendering.progress(args.quiet or args.json) as on_progress:
        loaded = predictor.load(args.model, batch=len(names), on_progress=on_progress, **options)
        if args.out:
            loaded.require_calibration("`out`")
        table = prediction_table.open_table(args.out, loaded.classes) if args.out else nullcontext(None)
        with table as add:
            for start in range(0, len(names), predictor.ROWS):

                def report(phase: str, done: int, total: int, *more: Any, start: int = start) -> None:
                    on_progress(phase, start + done, len(names), *more)

                part = list(map(path_of, names[start : start + predictor.ROWS]))
                with watch("predict"):
                    found = loaded.predict(
                        part, bad, report, min_confidence=least, all_classes=add is not None
                    )
                count += len(found)
                sure += sum(one.label is not None for one in found)
                if add:
                    add(found)
                if args.json or not add:
                    shown.add(found)
    if args.json or not args.out:
        shown.print()
    if not args.quiet:
        if least:
            words = f"{sure:,} of {count:,} images have a label of probability {least:g} or more"
            print_line(f"{words}; {loaded.count_confident(least)}")
        rate = count / sum(watch.seconds.get("predict", [])) if count else 0.0
        where = f", written to {args.out}" if args.out else ""
        print_line(f"{count:,} image{'' if count == 1 else 's'} at {rate:,.1f} images/s{where}")
    skipped = left_out | bad.skipped
    return report_skipped(skipped, len(skipped))


class _Shown:
    """What is printed once every image is seen: nothing is, where one of them is an error."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._rows: list[str] = []

    def add(self, predictions: Iterable[Prediction]) -> None:
        for one in predictions:
            if self._json:
                row = {"path": str(one.path), "label": one.label, "probability": one.probability}
                self._rows.append(json.dumps(row, indent=1).replace("\n", "\n "))
            else:
                share = "-" if one.probability is None else f"{one.probability:.3f}"
                self._rows.append(join_cells(str(one.path), one.label or "", share))

    def print(self) -> None:
        if self._json:
            print("[\n " + ",\n ".join(self._rows) + "\n]" if self._rows else "[]")
        for row in self._rows if not self._json else ():
            print(row)
