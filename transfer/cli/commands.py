"""What each command does with its arguments: call, print, and the exit status."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.cli.exit_status import DONE, INCOMPLETE, SKIPPED
from transfer.cli.messages import name_options
from transfer.cli.output import output_folders, printing
from transfer.cli.parsing import parse_bytes, parse_columns, parse_numbers, parse_repeats, parse_size
from transfer.config import BUILT_IN, EXAMPLES, RunConfig
from transfer.heads.registry import METHODS, check_methods
from transfer.system.errors import UserError, check_choice, check_installed
from transfer.system.progress import Progress, print_line, reported
from transfer.system.remote import path_of
from transfer.system.run_files import FRONTIER, MODELS, PAGE, PREDICTIONS, RESULT
from transfer.system.text import printable
from transfer.system.user_folders import default_store

if TYPE_CHECKING:
    from transfer.data.dataset import ImageSet
    from transfer.evaluation.experiment import Experiment
    from transfer.features.plan import ExtractionPlan

# torch, scikit-learn and rich take seconds to import; each command imports what it needs when it runs, so
# that help and usage errors come at once.

# Bad images that are named on standard error, one by one; a result file has more of them.
SKIPPED_NAMED = 100


def run(args: argparse.Namespace) -> int:
    """Compare the methods."""
    from transfer.cli.candidates_command import are_several, run_candidates

    if are_several(args):
        return run_candidates(args)
    config = read_config(args)
    if args.out and not args.force and (args.out / FRONTIER).exists():
        raise UserError(
            f"{args.out} holds a comparison of several networks; give another --out, or --force to replace its page"
        )
    note_built_in(args)
    models = args.out / MODELS if args.out else None
    if models and config.data != BUILT_IN:
        from transfer.data.feature_files import holds_features
        from transfer.data.user_paths import check_output

        check_output(config.data, args.out)
        if holds_features(path_of(config.data), config.columns):
            models = None
    if args.log:
        check_installed("mlflow", "`log='mlflow'`", "mlflow")
    images, plan = prepare_early(config)
    from transfer import report
    from transfer.evaluation import experiment, results
    from transfer.evaluation.earlier import expected_seconds
    from transfer.report import rendering
    from transfer.serving import bundle

    if args.out and not args.force:
        bundle.check_replaceable(args.out / MODELS, config)
    hidden = args.quiet or args.json
    expected = expected_seconds(args.out / RESULT, config) if args.out and not hidden else {}
    with output_folders(args.out, models), rendering.progress(hidden, expected) as on_progress:
        done = experiment.compare(config, on_progress, images, plan)
        result = done.result
        # Whoever reads standard output may be gone, or show no such letter: what took time is written before.
        failed = write_run(args.out, done, on_progress) if args.out else None
        logged = _log(done, args.out, on_progress) if args.log else None
    with printing(args.out, failed):
        try:
            if args.json:
                print(done.result_json, end="", flush=True)
            elif args.quiet:
                print(report.verdict(result), flush=True)
            else:
                report.show(result, rendering.console(), verbose=args.verbose)
                print(printable(_where(args.out, models)), flush=True)
        finally:
            if logged:
                print_line(str(logged))
    skipped = {image["name"]: image["reason"] for image in result.data["skipped"]}
    status = report_skipped(skipped, results.skipped_count(result))
    return INCOMPLETE if logged else status


def note_built_in(args: argparse.Namespace) -> None:
    """Say so where a run is on the built-in images because no others were named."""
    if args.data is None and not (args.quiet or args.json):
        print_line("no DATA is given: running on the built-in images")


def _where(out: Path | None, models: Path | None) -> str:
    """Say where the result was written, and the models, which need a network."""
    if out is None:
        return "The result was not kept: --out DIR writes it, its page and, for images, the models."
    kept = f"{MODELS}/" if models else "no models (given features have no network)"
    return f"Written to {out}: {PAGE}, {RESULT}, {PREDICTIONS}, report.md, {kept}"


def write_run(out: Path, done: Experiment, on_progress: Progress) -> UserError | None:
    """Keep a comparison in a folder; return the first error of what can't be kept, and print the others."""
    from transfer.outputs import folder
    from transfer.system import schemas

    failures = folder.save(out, done, on_progress)
    if len(done.result_json.encode()) > schemas.MAX_BYTES:
        print_line(f"{out / RESULT} is larger than what transfer report reads")
    for further in failures[1:]:
        print_line(name_options(str(further)))
    return failures[0] if failures else None


def _log(done: Experiment, out: Path | None, on_progress: Progress) -> UserError | None:
    """Log a comparison to MLflow, with the page of --out if there is one; return the error where that fails."""
    from transfer import report
    from transfer.outputs import tracking

    kept = out / PREDICTIONS if out and (out / PREDICTIONS).exists() else None
    try:
        with reported(on_progress, "log", "MLflow"):
            tracking.log_run(done.result, report.page(done.result, kept, done.thumbnail))
    except UserError as error:
        return error
    return None


def extract(args: argparse.Namespace) -> int:
    """Fill the store."""
    config = read_config(args)
    images = find_early(config)
    from transfer.features.plan import plan_extraction

    plan = plan_extraction(config)
    from transfer.features.fill import fill
    from transfer.features.image_sets import find_images
    from transfer.report import rendering
    from transfer.system.timer import Stopwatch

    watch = Stopwatch()
    with rendering.progress(args.quiet) as on_progress:
        found = fill(plan, images or find_images(config, watch, on_progress), watch, on_progress)
    if not args.quiet:
        print(printable(f"{found.computed} images computed, {found.reused} already in {config.store}"))
    return report_skipped(found.skipped, len(found.skipped))


def env(args: argparse.Namespace) -> int:
    """Tell what this machine offers."""
    from transfer.cache.store import Store
    from transfer.engines.trials import describe_trials
    from transfer.system import hardware

    found = hardware.describe()
    trials = []
    with contextlib.suppress(UserError):  # without a home folder there is no store to look into
        trials = Store(args.store or default_store()).all_trials()
    if args.json:
        print(json.dumps({**found, "trials": trials}, indent=1))
        return DONE
    for name, value in found.items():
        print(printable(f"{name:13} {value}"))
    for text in describe_trials(trials):
        print(printable(text))
    return DONE


def report_skipped(skipped: dict[str, str], count: int) -> int:
    """Name the first of `count` images that were left out, on standard error, and tell how many more; the status."""
    named = list(skipped.items())[:SKIPPED_NAMED]
    for name, reason in named:
        print_line(f"skipped {name!r}: {reason}")
    if more := count - len(named):
        print_line(f"skipped {more:,} more images")
    return SKIPPED if count else DONE


def read_config(args: argparse.Namespace) -> RunConfig:
    """Take what was given on the command line; the rest keeps the defaults of `RunConfig`."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    fields = {name: given[name] for name in RunConfig.__dataclass_fields__ if name in given}
    if "columns" in fields:
        fields["columns"] = parse_columns(fields["columns"])
    if "size" in fields:
        fields["size"] = parse_size(fields["size"])
    if "repeats" in fields:
        fields["repeats"] = parse_repeats(fields["repeats"])
    if "methods" in fields:
        fields["methods"] = tuple(dict.fromkeys(fields["methods"].split(",")))
        if hasattr(args, "unfreeze"):
            check_methods(fields["methods"])
        else:  # a learning curve, which has no options that add methods
            for name in fields["methods"]:
                check_choice("methods", name, METHODS)
    if "transform" in fields:
        fields["transform"] = tuple(step.strip() for step in fields["transform"].split(","))
    if "max_cache" in fields:
        fields["max_cache"] = parse_bytes("--max-cache", fields["max_cache"])
    for name in ("layers", "unfreeze", "adapt"):
        if name in fields:
            fields[name] = tuple(fields[name].split(","))
    for name in ("lr", "lr_blocks", "mean", "std"):
        if name in fields:
            option = f"--{name.replace('_', '-')}"
            fields[name] = parse_numbers(option, fields[name], EXAMPLES.get(name, "1e-4,1e-3"))
    return RunConfig(**fields)


def find_early(config: RunConfig) -> ImageSet | None:
    """Find the image set before libraries that take seconds are imported, so that a wrong DATA is refused at once.

    Returns
    -------
    ImageSet or None
        None where there is nothing to find (the built-in images, given features).
    """
    from transfer.features import image_sets
    from transfer.system.progress import silent
    from transfer.system.timer import Stopwatch

    if config.data in image_sets.SOURCES or image_sets.features_are_given(config):
        return None
    return image_sets.find_images(config, Stopwatch(), silent)


def prepare_early(config: RunConfig) -> tuple[ImageSet | None, ExtractionPlan | None]:
    """Resolve the settings, then find the images: of a large folder that takes longer. Either is None as below."""
    if not path_of(config.data).exists():
        find_early(config)
    plan = plan_early(config)
    return find_early(config), plan


def plan_early(config: RunConfig) -> ExtractionPlan | None:
    """Resolve the settings before libraries that take seconds are imported, so that wrong ones are refused at once.

    Only names of layers, and of networks that are not torchvision's, take those.

    Returns
    -------
    ExtractionPlan or None
        None for given features.
    """
    from transfer.features.image_sets import features_are_given
    from transfer.features.plan import plan_extraction

    return None if features_are_given(config) else plan_extraction(config)
