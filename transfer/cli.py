"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from transfer import __version__
from transfer.config import (
    BAD_IMAGE_RULES,
    DECODERS,
    DEVICES,
    MODELS,
    SELECT_BY,
    RunConfig,
    UserError,
    parse_size,
)
from transfer.heads import METHODS

# torch, scikit-learn and rich take seconds to import; each command imports what it needs when it runs, so
# that help and usage errors come at once.

DONE, FAILED, USAGE, SKIPPED, INTERRUPTED = 0, 1, 2, 3, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, where argparse prints its usage too."""
        raise UserError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is returned."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # Pillow's warning of huge images: `decode` refuses them.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    try:
        args = _parser().parse_args(argv)
        _tell(quiet=getattr(args, "quiet", False))
        status: int = args.command(args)
        return status
    except UserError as error:
        return _fail(str(error), USAGE, argv)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; a run or an extraction goes on where it was when started again", INTERRUPTED, argv
        )
    except BrokenPipeError:  # the reader of our output had enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:  # a full disk, a folder without permission
        return _fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), USAGE, argv)
    except Exception as error:
        told = f"unexpected {type(error).__name__}: {error}; --debug shows where"
        return _fail(told, FAILED, argv)


def _tell(*, quiet: bool) -> None:
    """What happens on the way is told on standard error; where little is wanted, only what went wrong."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(f"transfer: {record.getMessage()}", file=sys.stderr)

    logger = logging.getLogger("transfer")
    logger.handlers = [Lines()]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def _fail(message: str, status: int, argv: Sequence[str]) -> int:
    if "--debug" in argv:
        raise  # the error that is being handled, with its traceback
    line = "".join(c if c.isprintable() else " " for c in message)
    print(f"transfer: {line}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="transfer",
        description="Fine-tune the last layer, or train an SVM on frozen features? Compared in one command.",
    )
    parser.add_argument("--version", action="version", version=f"transfer {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    run = _command(
        commands, "run", _run, "compare the methods on labelled images", "run photos --out out/photos"
    )
    run.add_argument("data", nargs="?", default="lagoon", metavar="DATA", help=_DATA_HELP)
    run.add_argument("--out", type=Path, metavar="DIR", help="write result.json, report.md and models/ there")
    run.add_argument("--methods", metavar="A,B", help=f"of {', '.join(METHODS)} (all)")
    _add_extraction_options(run)
    run.add_argument("--lr", metavar="A,B", help="learning rates of fine-tuning (1e-5,1e-4,1e-3,1e-2)")
    run.add_argument("--epochs", type=int, metavar="N", help="epochs of fine-tuning (10)")
    run.add_argument("--batch-size", type=int, metavar="N", help="rows in a step of fine-tuning (128)")
    run.add_argument(
        "--select", choices=SELECT_BY, help="validation score that settings are chosen by (macro_f1)"
    )
    run.add_argument(
        "--json", action="store_true", help="the result on standard output, and nothing else there"
    )

    extract = _command(commands, "extract", _extract, "fill the store only", "extract photos --device cuda")
    extract.add_argument("data", metavar="DATA", help=_DATA_HELP)
    _add_extraction_options(extract)

    predict = _command(
        commands, "predict", _predict, "name the classes of images", "predict out/photos new/ boat.jpg"
    )
    predict.add_argument("model", type=Path, metavar="MODEL", help="the folder that a run wrote by --out")
    predict.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGES", help="image files, or folders of them"
    )
    predict.add_argument("--method", metavar="M", help="whose head (the best on the validation split)")
    _add_engine_options(predict, "as in the run", "as in the run")
    _add_bad_image_option(predict)
    predict.add_argument(
        "--json", action="store_true", help="a list on standard output, and nothing else there"
    )
    predict.add_argument("--quiet", action="store_true", help="no progress")

    report = _command(
        commands,
        "report",
        _report,
        "show a result again, or several side by side",
        "report out/photos/result.json",
    )
    report.add_argument("files", nargs="+", type=Path, metavar="FILE", help="result files")

    env = _command(commands, "env", _env, "what this machine offers, as it will be recorded", "env")
    env.add_argument("--json", action="store_true", help="as JSON")
    env.add_argument("--store", type=Path, metavar="DIR", help="whose trials of engines are shown too")
    return parser


_DATA_HELP = "a folder with train/ valid/ test/ of class folders, or of class folders alone, or: lagoon"


def _command(commands: Any, name: str, call: Any, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary.capitalize()}.", epilog=f"Example: transfer {example}"
    )
    parser.set_defaults(command=call)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_extraction_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", metavar="NAME", help="a torchvision classification network (resnet50)")
    parser.add_argument("--weights", metavar="W", help="imagenet, random, or a .safetensors or .pth file")
    parser.add_argument(
        "--size", metavar="HxW", help="input size (the images' own if all agree, else 224x224)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of splits, weights and batches (0)")
    _add_engine_options(parser, "measured", "measured, never int8")
    parser.add_argument("--decoder", choices=DECODERS, help="nvjpeg decodes JPEGs on a CUDA device (pillow)")
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="where features are kept (the user's cache)"
    )
    _add_bad_image_option(parser)
    parser.add_argument(
        "--quiet", action="store_true", help="no progress; of what is printed the verdict alone"
    )


def _add_engine_options(parser: argparse.ArgumentParser, engine: str, precision: str) -> None:
    """The options of an engine; what `auto` is for the engine and the precision."""
    parser.add_argument("--device", choices=DEVICES, help="(auto)")
    parser.add_argument("--engine", metavar="E", help=f"auto, eager, openvino or compile (auto: {engine})")
    parser.add_argument(
        "--precision", metavar="P", help=f"auto, fp32, bf16, fp16 or int8 (auto: {precision})"
    )


def _add_bad_image_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-bad-image", choices=BAD_IMAGE_RULES, help="stop, or go on and exit with 3 (error)"
    )


def _config(args: argparse.Namespace) -> RunConfig:
    """What was given on the command line; the rest keeps the defaults of `RunConfig`."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    fields = {name: given[name] for name in RunConfig.__dataclass_fields__ if name in given}
    if "size" in fields:
        fields["size"] = parse_size(fields["size"])
    if "methods" in fields:
        fields["methods"] = tuple(dict.fromkeys(fields["methods"].split(",")))
    if "lr" in fields:
        try:
            fields["lr"] = tuple(float(value) for value in fields["lr"].split(","))
        except ValueError:
            raise UserError(f"--lr is {fields['lr']!r}; give numbers, such as 1e-4,1e-3") from None
    return RunConfig(**fields)


def _run(args: argparse.Namespace) -> int:
    config = _config(args)
    models = args.out / MODELS if args.out else None
    if models:
        _make_folder(args.out)
        _make_folder(models)
    from transfer import experiment, render, report

    with render.progress(args.quiet or args.json) as on_progress:
        result = experiment.run(config, on_progress, models=models)
    if args.json:
        print(result.to_json(), end="")
    elif args.quiet:
        print(report.verdict(result))
    else:
        report.show(result, render.console())
    if args.out:
        (args.out / "result.json").write_text(result.to_json(), "utf-8")
        (args.out / "report.md").write_text(report.markdown(result), "utf-8")
    return _told_skipped({image["name"]: image["reason"] for image in result.data["skipped"]})


def _extract(args: argparse.Namespace) -> int:
    config = _config(args)
    from transfer import experiment, render
    from transfer.extract import check, fill
    from transfer.timing import Stopwatch

    check(config)
    watch = Stopwatch()
    with render.progress(args.quiet) as on_progress:
        found = fill(config, experiment.find_images(config, watch, on_progress), watch, on_progress)
    if not args.quiet:
        print(f"{found.computed} images computed, {found.reused} already in {config.store}")
    return _told_skipped(found.skipped)


def _predict(args: argparse.Namespace) -> int:
    from transfer import images, model, render
    from transfer.reading import BadImages

    paths = images.below(args.images)
    chosen = ("method", "device", "engine", "precision")
    given = {name: value for name, value in vars(args).items() if name in chosen and value is not None}
    loaded = model.load(args.model, batch=len(paths), **given)
    bad = BadImages(None, args.on_bad_image or "error")
    with render.progress(args.quiet or args.json) as on_progress:
        found = loaded.predict(paths, bad, on_progress)
    if args.json:
        print(json.dumps([{**vars(one), "path": str(one.path)} for one in found], indent=1))
    else:
        for one in found:
            share = "-" if one.probability is None else f"{one.probability:.3f}"
            print(render.line(str(one.path), one.label, share))
    return _told_skipped(bad.skipped)


def _told_skipped(skipped: dict[str, str]) -> int:
    """Name the images that were left out, on standard error; the exit status."""
    for name, reason in skipped.items():
        print(f"transfer: skipped {name!r}: {reason}", file=sys.stderr)
    return SKIPPED if skipped else DONE


def _report(args: argparse.Namespace) -> int:
    from transfer import render, report, results

    loaded = [results.load(path) for path in args.files]
    if len(loaded) == 1:
        report.show(loaded[0], render.console())
    else:
        report.show_side_by_side(loaded, render.console())
    return DONE


def _env(args: argparse.Namespace) -> int:
    from transfer import choice, environment
    from transfer.config import default_store
    from transfer.store import Store

    found = environment.describe()
    trials = Store(args.store or default_store()).all_trials()
    if args.json:
        print(json.dumps({**found, "trials": trials}, indent=1))
        return DONE
    for name, value in found.items():
        print(f"{name:13} {value}")
    for line in choice.told(trials):
        print(line)
    return DONE


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't make {folder} ({error.strerror}); give another --out") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"can't write to {folder}; give another --out")
