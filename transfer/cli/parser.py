"""The command line: what may be given to each command."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from transfer.cli import (
    commands,
    curve_command,
    export_command,
    predict_command,
    report_command,
    store_commands,
)
from transfer.cli.options import (
    DATA_HELP,
    add_bad_image_option,
    add_columns_option,
    add_command,
    add_engine_options,
    add_extraction_options,
    add_fitting_options,
    add_json_option,
    add_method_option,
    add_model_argument,
    add_quiet_option,
    add_verbose_option,
    path_argument,
    source_argument,
    text_argument,
)
from transfer.config import CHOICES, EXPORT_FORMATS
from transfer.heads.registry import METHODS, default_methods
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

    _add_run(kinds)
    _add_extract(kinds)
    _add_predict(kinds)
    _add_report(kinds)
    _add_env(kinds)
    _add_export(kinds)
    _add_curve(kinds)
    _add_store(kinds)
    return parser


def _add_run(kinds: Any) -> None:
    run = add_command(
        kinds, "run", commands.run, "compare the methods on labelled images", "run photos --out out/photos"
    )
    run.add_argument("data", nargs="?", type=text_argument, metavar="DATA", help=DATA_HELP)
    run.add_argument(
        "--out",
        type=path_argument,
        metavar="DIR",
        help="write report.html, result.json, predictions.csv and models/ there",
    )
    run.add_argument(
        "--force", action="store_true", help="replace the models in --out, whatever they were made from"
    )
    add_verbose_option(run)
    run.add_argument(
        "--methods", metavar="A,B", help=f"of {', '.join(METHODS)} ({','.join(default_methods())})"
    )
    run.add_argument(
        "--unfreeze",
        metavar="A,B",
        help="train these blocks too, each with all that follows, on cached maps: layer4.2,layer4 (none)",
    )
    run.add_argument(
        "--adapt",
        metavar="A,B",
        help="for these blocks also low-rank updates (LoRA, of a rank) and biases alone (BitFit): lora:8,bitfit (none)",
    )
    run.add_argument(
        "--lr-blocks",
        metavar="A,B",
        help="learning rates of these blocks, each a training (1e-4,1e-3; of --adapt 1e-3,1e-2)",
    )
    run.add_argument(
        "--views",
        type=int,
        metavar="K",
        help="train blocks on K views of each image: itself, and others cropped, mirrored and recoloured (1)",
    )
    run.add_argument(
        "--max-cache",
        metavar="SIZE",
        help="refuse a run whose maps would take more, such as 20GB (no limit but the disk)",
    )
    run.add_argument(
        "--bn",
        choices=CHOICES["bn"],
        help="train adds fc-lab-uncached: the whole network in each epoch, batch norm by batch statistics (eval)",
    )
    add_extraction_options(run, several=True)
    run.add_argument(
        "--time-budget",
        metavar="T",
        help="of several backbones or sizes, 90s, 10m or 1h: the worse half is dropped after each round of more images",
    )
    add_fitting_options(run)
    run.add_argument(
        "--from-disk",
        action="store_true",
        default=None,
        help="read features from a file on disk, as is done with those that do not fit into memory",
    )
    run.add_argument(
        "--repeats",
        metavar="N",
        help="compare on N other splits too, or: groups, to leave one group out after the other "
        "(10 if they have no test split and at most 300 classes, else 0; not of what --unfreeze or --bn adds)",
    )
    run.add_argument("--log", choices=("mlflow",), help="log settings, scores, times and the page there too")
    add_json_option(run, "the result")
    add_quiet_option(run, "; of what is printed the verdict alone")


def _add_extract(kinds: Any) -> None:
    extract = add_command(
        kinds,
        "extract",
        commands.extract,
        "compute and keep the features only",
        "extract photos --device cuda",
    )
    extract.add_argument("data", type=text_argument, metavar="DATA", help=DATA_HELP)
    add_extraction_options(extract)
    add_quiet_option(extract, " and no summary")


def _add_predict(kinds: Any) -> None:
    predict = add_command(
        kinds,
        "predict",
        predict_command.predict,
        "name the classes of images",
        "predict out/photos new/ boat.jpg",
    )
    add_model_argument(predict)
    predict.add_argument(
        "images",
        nargs="+",
        type=source_argument,
        metavar="IMAGES",
        help="image files, folders of them, tables, patterns ('new/**/*.jpg'), or: -, for names on standard input",
    )
    predict.add_argument(
        "--out",
        type=path_argument,
        metavar="FILE",
        help="write a table there, with the probability of every class: .csv, .json or .parquet",
    )
    add_method_option(predict)
    predict.add_argument(
        "--min-confidence",
        type=float,
        metavar="P",
        help="leave images without a label whose class has a smaller probability, 0 to 1",
    )
    add_engine_options(predict, "as in the run", "as in the run")
    add_columns_option(predict)
    add_bad_image_option(predict)
    add_json_option(predict, "a list")
    add_quiet_option(predict)


def _add_report(kinds: Any) -> None:
    report = add_command(
        kinds,
        "report",
        report_command.report,
        "show a result again, or several side by side",
        "report out/photos",
    )
    report.add_argument(
        "files",
        nargs="+",
        type=path_argument,
        metavar="OUT",
        help="result files, or folders that --out named",
    )
    add_verbose_option(report)
    report.add_argument(
        "--html", type=path_argument, metavar="PAGE", help="write one page of the results there"
    )
    report.add_argument(
        "--images",
        type=source_argument,
        metavar="DATA",
        help="folder or table whose images the page of one result shows",
    )
    add_columns_option(report)


def _add_env(kinds: Any) -> None:
    env = add_command(kinds, "env", commands.env, "what this machine offers, as it will be recorded", "env")
    env.add_argument("--json", action="store_true", help="as JSON")
    env.add_argument(
        "--store", type=source_argument, metavar="DIR", help="whose trials of engines are shown too"
    )


def _add_export(kinds: Any) -> None:
    export = add_command(
        kinds, "export", export_command.export, "the network and a head as one file", "export out/photos"
    )
    add_model_argument(export)
    export.add_argument("--format", choices=EXPORT_FORMATS, default="onnx", help="(onnx)")
    export.add_argument(
        "--out", type=path_argument, metavar="DIR", help="write the file there (MODEL/FORMAT)"
    )
    add_method_option(export)
    export.add_argument(
        "--images", type=source_argument, metavar="DATA", help="images to check the file on (noise)"
    )
    export.add_argument(
        "--no-resize", dest="resize", action="store_false", help="take images of the model's size alone"
    )
    add_columns_option(export)
    add_bad_image_option(export)
    add_quiet_option(export)


def _add_curve(kinds: Any) -> None:
    curve = add_command(
        kinds,
        "curve",
        curve_command.curve,
        "scores against the number of labels",
        "curve photos --out out/curve",
    )
    curve.add_argument("data", type=text_argument, metavar="DATA", help=DATA_HELP)
    curve.add_argument(
        "--out", type=path_argument, metavar="DIR", help="write curve.json and curve.html there"
    )
    curve.add_argument("--methods", metavar="A,B", help=f"of {', '.join(METHODS)} (fc,svm)")
    curve.add_argument("--draws", type=int, metavar="N", help="training sets of each size (5)")
    add_extraction_options(curve)
    add_fitting_options(curve)
    add_json_option(curve, "the curve")
    add_quiet_option(curve, "; of what is printed the sentences alone")


def _add_store(kinds: Any) -> None:
    store = kinds.add_parser("store", help="what is kept on disk", description="What is kept on disk.")
    kinds = store.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    lists = add_command(kinds, "list", store_commands.list_entries, "what the store holds", "store list")
    lists.add_argument("--json", action="store_true", help="as JSON, keys whole")
    verify = add_command(
        kinds,
        "verify",
        store_commands.verify_entries,
        "check every checksum; exit 1 for damage",
        "store verify",
    )
    add_quiet_option(verify)
    prune = add_command(
        kinds,
        "prune",
        store_commands.prune_entries,
        "show what would be deleted, which is what was chosen and what killed runs left; --yes deletes it",
        "store prune --older-than 90d --max-size 20GB",
    )
    prune.add_argument(
        "--older-than", metavar="AGE", help="entries that were not used for so long, such as 90d or 12h"
    )
    prune.add_argument(
        "--max-size",
        metavar="SIZE",
        help="entries used longest ago, until the rest takes no more than this, such as 20GB",
    )
    prune.add_argument("--key", action="append", metavar="KEY", help="the entry whose key begins with this")
    prune.add_argument("--yes", action="store_true", help="delete it; never what a running process uses")
    for parser in (lists, verify, prune):
        parser.add_argument(
            "--store", type=source_argument, metavar="DIR", help="which store (the user's cache)"
        )
