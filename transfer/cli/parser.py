"""The command line: what may be given to each command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from transfer.cli import commands, curve_command, export_command, report_command, store_commands
from transfer.config import (
    BAD_IMAGE_RULES,
    CHANNEL_ORDERS,
    DECODERS,
    DEVICES,
    EXPORT_FORMATS,
    SELECT_BY,
    expand,
)
from transfer.heads.registry import METHODS
from transfer.system.errors import UserError
from transfer.system.version import __version__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, where argparse prints its usage too."""
        raise UserError(f"{message}; see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; what it refuses is a `UserError`."""
    parser = _Parser(
        prog="transfer",
        description="Fine-tune the last layer, or train an SVM on frozen features? Compared in one command.",
    )
    parser.add_argument("--version", action="version", version=f"transfer {__version__}")
    kinds = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    run = _command(
        kinds, "run", commands.run, "compare the methods on labelled images", "run photos --out out/photos"
    )
    run.add_argument("data", nargs="?", type=_text, metavar="DATA", help=_DATA_HELP)
    run.add_argument(
        "--out",
        type=_path,
        metavar="DIR",
        help="write report.html, result.json, predictions.csv and models/ there",
    )
    run.add_argument(
        "--force", action="store_true", help="replace the models in --out, whatever they were made from"
    )
    _add_verbose_option(run)
    run.add_argument("--methods", metavar="A,B", help=f"of {', '.join(METHODS)} (all)")
    _add_extraction_options(run)
    _add_fitting_options(run)
    run.add_argument(
        "--repeats",
        metavar="N",
        help="compare on N other splits too, or: groups, to leave one group out after the other "
        "(10 if the images bring no test split and have at most 300 classes, else 0)",
    )
    run.add_argument(
        "--json", action="store_true", help="the result on standard output, and nothing else there"
    )

    extract = _command(
        kinds, "extract", commands.extract, "fill the store only", "extract photos --device cuda"
    )
    extract.add_argument("data", type=_text, metavar="DATA", help=_DATA_HELP)
    _add_extraction_options(extract)

    predict = _command(
        kinds, "predict", commands.predict, "name the classes of images", "predict out/photos new/ boat.jpg"
    )
    predict.add_argument("model", type=_path, metavar="MODEL", help="the folder that a run wrote by --out")
    predict.add_argument(
        "images", nargs="+", type=_path, metavar="IMAGES", help="image files, folders of them, or tables"
    )
    predict.add_argument("--method", metavar="M", help="whose head (the best on the validation split)")
    predict.add_argument(
        "--min-confidence",
        type=float,
        metavar="P",
        help="leave images without a label whose class has a smaller probability, 0 to 1",
    )
    _add_engine_options(predict, "as in the run", "as in the run")
    _add_columns_option(predict)
    _add_bad_image_option(predict)
    predict.add_argument(
        "--json", action="store_true", help="a list on standard output, and nothing else there"
    )
    predict.add_argument("--quiet", action="store_true", help="no progress")

    report = _command(
        kinds,
        "report",
        report_command.report,
        "show a result again, or several side by side",
        "report out/photos",
    )
    report.add_argument(
        "files", nargs="+", type=_path, metavar="OUT", help="result files, or folders that --out named"
    )
    _add_verbose_option(report)
    report.add_argument("--html", type=_path, metavar="PAGE", help="write one page of the results there")
    report.add_argument(
        "--images",
        type=_path,
        metavar="DATA",
        help="folder or table whose images the page of one result shows",
    )
    _add_columns_option(report)

    env = _command(kinds, "env", commands.env, "what this machine offers, as it will be recorded", "env")
    env.add_argument("--json", action="store_true", help="as JSON")
    env.add_argument("--store", type=_path, metavar="DIR", help="whose trials of engines are shown too")

    _add_export(kinds)
    _add_curve(kinds)
    _add_store(kinds)
    return parser


def _add_export(kinds: Any) -> None:
    export = _command(
        kinds, "export", export_command.export, "the network and a head as one file", "export out/photos"
    )
    export.add_argument("model", type=_path, metavar="MODEL", help="the folder that a run wrote by --out")
    export.add_argument("--format", choices=EXPORT_FORMATS, default="onnx", help="(onnx)")
    export.add_argument("--out", type=_path, metavar="DIR", help="write the file there (MODEL/FORMAT)")
    export.add_argument("--method", metavar="M", help="whose head (the best on the validation split)")
    export.add_argument("--images", type=_path, metavar="DATA", help="images to check the file on (noise)")
    export.add_argument(
        "--no-resize", dest="resize", action="store_false", help="take images of the model's size alone"
    )
    _add_columns_option(export)
    _add_bad_image_option(export)
    export.add_argument("--quiet", action="store_true", help="no progress")


def _add_curve(kinds: Any) -> None:
    curve = _command(
        kinds,
        "curve",
        curve_command.curve,
        "scores against the number of labels",
        "curve photos --out out/curve",
    )
    curve.add_argument("data", type=_text, metavar="DATA", help=_DATA_HELP)
    curve.add_argument("--out", type=_path, metavar="DIR", help="write curve.json and curve.html there")
    curve.add_argument("--methods", metavar="A,B", help=f"of {', '.join(METHODS)} (fc,svm)")
    curve.add_argument("--draws", type=int, metavar="N", help="training sets of each size (5)")
    _add_extraction_options(curve)
    _add_fitting_options(curve)
    curve.add_argument(
        "--json", action="store_true", help="the curve on standard output, and nothing else there"
    )


def _add_store(kinds: Any) -> None:
    store = kinds.add_parser("store", help="what is kept on disk", description="What is kept on disk.")
    kinds = store.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    lists = _command(kinds, "list", store_commands.list_entries, "what the store holds", "store list")
    lists.add_argument("--json", action="store_true", help="as JSON, keys whole")
    verify = _command(
        kinds,
        "verify",
        store_commands.verify_entries,
        "check every checksum; exit 1 for damage",
        "store verify",
    )
    verify.add_argument("--quiet", action="store_true", help="no progress")
    prune = _command(
        kinds,
        "prune",
        store_commands.prune_entries,
        "delete what was chosen and what killed runs left; by default tell what that is",
        "store prune --older-than 90d --max-size 20GB",
    )
    prune.add_argument(
        "--older-than", metavar="AGE", help="what was not used for so long, such as 90d or 12h"
    )
    prune.add_argument(
        "--max-size", metavar="SIZE", help="what was used longest ago beyond a size, such as 20GB"
    )
    prune.add_argument("--key", action="append", metavar="KEY", help="the entry whose key begins so")
    prune.add_argument("--yes", action="store_true", help="delete it; never what a running process uses")
    for parser in (lists, verify, prune):
        parser.add_argument("--store", type=_path, metavar="DIR", help="which store (the user's cache)")


def _path(given: str) -> Path:
    """Parse a path; where it is none, with the reason, which argparse does not show of a `ValueError`."""
    try:
        return expand(given)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _text(given: str) -> str:
    """Expand what may be a path, and return text."""
    return str(_path(given)) if given.startswith("~") else given


_DATA_HELP = (
    "a folder with train/ valid/ test/ of class folders, or of class folders alone, a table of files and labels "
    "(.csv, .tsv, .parquet), files that hold images (.tar, .parquet, .arrow) or a folder of them, "
    "features and labels (.npz, .parquet), or: lagoon"
)


def _command(commands: Any, name: str, call: Any, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary.capitalize()}.", epilog=f"Example: transfer {example}"
    )
    parser.set_defaults(command=call, prog=parser.prog)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_extraction_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="a torchvision classification network, timm:NAME, hf:NAME, hf:./FOLDER or efficientnet_lite0 (resnet50)",
    )
    parser.add_argument(
        "--weights",
        type=_text,
        metavar="W",
        help="pretrained, embedded, random, or a .safetensors, .pth or .bin file (pretrained)",
    )
    parser.add_argument(
        "--mean",
        metavar="A,B,C",
        help="of each channel, 0 to 1, that the weights were trained with (the network's own)",
    )
    parser.add_argument("--std", metavar="A,B,C", help="standard deviation, likewise")
    parser.add_argument(
        "--channel-order",
        choices=CHANNEL_ORDERS,
        help="that the weights were trained with, and of --mean and --std (rgb)",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="input size (the images' own within bounds if all agree, else the network's)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of splits, weights and batches (0)")
    parser.add_argument(
        "--groups",
        metavar="REGEX|COLUMN",
        help="on file names, or a column; images that agree in its first group, or whole match, share a split",
    )
    _add_engine_options(parser, "measured", "measured, never int8")
    parser.add_argument("--decoder", choices=DECODERS, help="nvjpeg decodes JPEGs on a CUDA device (pillow)")
    parser.add_argument("--store", type=_path, metavar="DIR", help="of kept features (the user's cache)")
    _add_columns_option(parser)
    _add_bad_image_option(parser)
    parser.add_argument(
        "--quiet", action="store_true", help="no progress; of what is printed the verdict alone"
    )


def _add_fitting_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lr", metavar="A,B", help="learning rates of fc-lab and fc (their own)")
    parser.add_argument("--epochs", type=int, metavar="N", help="of fc-lab (10), and at least so many of fc")
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows in a step of fine-tuning (128)")
    parser.add_argument(
        "--select", choices=SELECT_BY, help="validation score that settings are chosen by (macro_f1)"
    )


def _add_verbose_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verbose", action="store_true", help="all tables and notes, not a summary")


def _add_engine_options(parser: argparse.ArgumentParser, engine: str, precision: str) -> None:
    """Add the options of an engine, with what `auto` is for the engine and the precision."""
    parser.add_argument("--device", choices=DEVICES, help="(auto)")
    parser.add_argument("--engine", metavar="E", help=f"auto, eager, openvino or compile (auto: {engine})")
    parser.add_argument(
        "--precision", metavar="P", help=f"auto, fp32, bf16, fp16 or int8 (auto: {precision})"
    )


def _add_columns_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--columns",
        metavar="A=B,C=D",
        help="names of a table's columns, such as file=path,label=species (file, label, split, group)",
    )


def _add_bad_image_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-bad-image", choices=BAD_IMAGE_RULES, help="stop, or continue and exit with 3 (error)"
    )
