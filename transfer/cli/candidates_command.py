"""What `transfer run` does with several backbones or input sizes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.cli.commands import find_early, note_built_in, read_config, report_skipped, write_run
from transfer.cli.exit_status import INCOMPLETE
from transfer.cli.messages import name_options
from transfer.cli.output import output_folders, printing
from transfer.cli.parsing import parse_duration, parse_size
from transfer.system.errors import UserError
from transfer.system.progress import reported
from transfer.system.run_files import FRONTIER, MODELS, PAGE, RESULT
from transfer.system.text import printable

if TYPE_CHECKING:
    from transfer.evaluation.candidates import Candidate
    from transfer.evaluation.experiment import Experiment


def are_several(args: argparse.Namespace) -> bool:
    """Return whether a run names several backbones or sizes, or a time for them."""
    return "," in f"{args.backbone or ''}{args.size or ''}" or args.time_budget is not None


def run_candidates(args: argparse.Namespace) -> int:
    """Compare every backbone at every size, each in a folder of its own, and then all of them."""
    if args.log:
        raise UserError("--log takes one network at one size; leave it out, or run each by itself")
    backbones = args.backbone.split(",") if args.backbone else []
    sizes = [parse_size(one) for one in args.size.split(",")] if args.size else [None]
    budget_s = None if args.time_budget is None else parse_duration(args.time_budget)
    args.backbone, args.size = (backbones or [None])[0], None
    config = read_config(args)
    if args.out:
        from transfer.data.user_paths import check_output

        check_output(config.data, args.out)
    images = find_early(config)
    from transfer.evaluation.candidate_list import list_candidates

    named = list_candidates(config, backbones or [config.backbone], sizes, time_budget_s=budget_s)
    from transfer import report
    from transfer.evaluation import candidates, results
    from transfer.report import differences, frontier, rendering, runs
    from transfer.system import files

    _check_out(args, named)
    note_built_in(args)
    skipped: dict[str, str] = {}
    count = 0

    def keep(one: Candidate, done: Experiment) -> None:
        nonlocal count
        folder = args.out / one.name
        with output_folders(folder, folder / MODELS):
            failed = write_run(folder, done, on_progress)
        if failed:
            raise failed
        skipped.update((image["name"], image["reason"]) for image in done.result.data["skipped"])
        count = max(count, results.skipped_count(done.result))

    with output_folders(args.out), rendering.progress(args.quiet or args.json) as on_progress:
        record = candidates.compare_candidates(
            named, keep, on_progress, time_budget_s=budget_s, images=images
        )
        found = runs.read_runs(result_files(args.out, record))
        record["points"] = frontier.describe_points(frontier.find_frontier(found))
        remarks = [name_options(remark) for remark in frontier.remarks(record)]
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        with reported(on_progress, "write", PAGE):
            files.write(args.out / FRONTIER, text.encode())
            files.write(args.out / PAGE, report.page_of_several(found, remarks).encode())
    with printing(args.out):
        if args.json:
            print(text, end="", flush=True)
        elif args.quiet:
            for sentence in differences.conclude(found, differences.find_differences(found)):
                print(printable(sentence), flush=True)
        else:
            report.show_side_by_side(found, rendering.console(), remarks)
            folders = ", ".join(f"{run.name}/" for run in found)
            print(printable(f"Written to {args.out}: {PAGE}, {FRONTIER}, {folders}"), flush=True)
    status = report_skipped(skipped, max(count, len(skipped)))
    return INCOMPLETE if any(one["state"] == candidates.FAILED for one in record["candidates"]) else status


def _check_out(args: argparse.Namespace, named: Sequence[Candidate]) -> None:
    """Raise `UserError` for an --out where something would be lost, or none."""
    from transfer.serving import bundle

    if args.out is None:
        raise UserError("several backbones or sizes need --out DIR, where each has a folder of its own")
    if args.force:
        return
    if (args.out / RESULT).exists():
        raise UserError(
            f"{args.out} holds the result of one run; give another --out, or --force to write beside it"
        )
    for one in named:
        bundle.check_replaceable(args.out / one.name / MODELS, one.config)


def result_files(folder: Path, record: dict[str, Any]) -> list[Path]:
    """Return the result files, in the folder that a run named by --out, of the candidates that were compared."""
    return [folder / one["name"] / RESULT for one in record["candidates"] if one["state"] == "compared"]
