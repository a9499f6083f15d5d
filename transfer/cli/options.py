"""The command line: commands and the options that several have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from transfer.config import CHOICES
from transfer.system.errors import UserError
from transfer.system.remote import expand


def path_argument(given: str, *, urls: bool = False) -> Path:
    """Parse a path; where it is none, with the reason, which argparse does not show of a `ValueError`."""
    try:
        return expand(given, urls=urls)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def source_argument(given: str) -> Path:
    """Parse a path, or a URL."""
    return path_argument(given, urls=True)


def text_argument(given: str) -> str:
    """Expand what may be a path, and return text."""
    return str(path_argument(given)) if given.startswith("~") else given


DATA_HELP = (
    "a folder with train/ valid/ test/ of class folders, or of class folders alone, a table of files and labels "
    "(.csv, .tsv, .parquet), files that hold images (.tar, .parquet, .arrow) or a folder of them, "
    "features and labels (.npz, .parquet), the URL of one of these (s3://bucket/photos), or: lagoon"
)


def add_command(commands: Any, name: str, call: Any, summary: str, example: str) -> argparse.ArgumentParser:
    """Add a command: what it calls, its help, and the options of every command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary.capitalize()}.", epilog=f"Example: transfer {example}"
    )
    parser.set_defaults(command=call, prog=parser.prog)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_extraction_options(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add what decides how features are computed and images split, by one network or by several."""
    _add_network_options(parser, "; several: A,B" if several else "")
    parser.add_argument("--seed", type=int, metavar="N", help="of splits, weights and batches (0)")
    parser.add_argument(
        "--groups",
        metavar="REGEX|COLUMN",
        help="on file names, or a column; images that agree in its first group, or whole match, share a split",
    )
    _add_machine_options(parser)
    parser.add_argument(
        "--store", type=source_argument, metavar="DIR", help="of kept features (the user's cache)"
    )
    add_columns_option(parser)
    add_bad_image_option(parser)
    parser.add_argument(
        "--rehash",
        action="store_true",
        default=None,
        help="read files again whose path, size, times and inode are as before",
    )


def _add_network_options(parser: argparse.ArgumentParser, more: str) -> None:
    """Add which network takes images, and how; `more` ends the help of what may be several."""
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="a torchvision classification network, timm:NAME, hf:NAME, hf:./FOLDER or efficientnet_lite0 "
        f"(resnet50){more}",
    )
    parser.add_argument(
        "--weights",
        type=text_argument,
        metavar="W",
        help="pretrained, embedded, random, or a .safetensors, .pth, .pt or .bin file (pretrained)",
    )
    parser.add_argument(
        "--mean",
        metavar="A,B,C",
        help="mean of each channel (pixels from 0 to 1) that the weights were trained with (the network's own)",
    )
    parser.add_argument("--std", metavar="A,B,C", help="standard deviation of each channel, likewise")
    parser.add_argument(
        "--channel-order",
        choices=CHOICES["channel_order"],
        help="that the weights were trained with, and of --mean and --std (rgb)",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help=f"input size (the images' own within bounds if all agree, else the network's){more}",
    )
    parser.add_argument(
        "--resize",
        choices=CHOICES["resize"],
        help="how images of another size are brought to it: letterbox keeps their ratio on black (stretch)",
    )
    parser.add_argument(
        "--layers",
        metavar="A,B",
        help="blocks of the network whose outputs are the features, such as layer3,layer4 (what its classifier takes)",
    )


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add where features are computed, and by what."""
    add_engine_options(parser, "measured", "measured, never int8")
    parser.add_argument(
        "--decoder",
        choices=CHOICES["decoder"],
        help="pillow-reduced decodes large JPEGs at 1/2, 1/4 or 1/8, nvjpeg JPEGs on a CUDA device (pillow)",
    )
    parser.add_argument(
        "--on",
        metavar="WHERE",
        help="compute features in this process (local), on a Ray cluster (ray: RAY_ADDRESS, else one started here), "
        "or on the cluster at ray://HOST:PORT (local)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes of the cluster (one on each GPU, or on each machine without one)",
    )


def add_fitting_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides how methods are fitted."""
    parser.add_argument(
        "--transform",
        metavar="A,B",
        help="of features before every method, fitted on training images: l2, pca:N, whiten (none)",
    )
    parser.add_argument("--lr", metavar="A,B", help="learning rates of fc-lab and fc (their own)")
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="of fc-lab, and of blocks (10); fc trains for at least as many, and at least 500 steps",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows in a step of fine-tuning (128)")
    parser.add_argument(
        "--select", choices=CHOICES["select"], help="validation score that settings are chosen by (macro_f1)"
    )


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a model."""
    parser.add_argument(
        "model", type=path_argument, metavar="MODEL", help="the folder that a run wrote by --out"
    )


def add_method_option(parser: argparse.ArgumentParser) -> None:
    """Add `--method`."""
    parser.add_argument(
        "--method", metavar="M", help="whose answers (of the best method on the validation split)"
    )


def add_quiet_option(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add `--quiet`, and more that it does."""
    parser.add_argument("--quiet", action="store_true", help=f"no progress{more}")


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--json`, which prints what is named."""
    parser.add_argument(
        "--json", action="store_true", help=f"{what} on standard output, and nothing else there"
    )


def add_verbose_option(parser: argparse.ArgumentParser) -> None:
    """Add `--verbose`."""
    parser.add_argument("--verbose", action="store_true", help="all tables and notes, not a summary")


def add_engine_options(parser: argparse.ArgumentParser, engine: str, precision: str) -> None:
    """Add the options of an engine, with what `auto` is for the engine and the precision."""
    parser.add_argument("--device", choices=CHOICES["device"], help="(auto)")
    parser.add_argument("--engine", metavar="E", help=f"auto, eager, openvino or compile (auto: {engine})")
    parser.add_argument(
        "--precision", metavar="P", help=f"auto, fp32, bf16, fp16 or int8 (auto: {precision})"
    )


def add_columns_option(parser: argparse.ArgumentParser) -> None:
    """Add `--columns`."""
    parser.add_argument(
        "--columns",
        metavar="A=B,C=D",
        help="names of a table's columns, such as file=path,label=species (file, label, split, group)",
    )


def add_bad_image_option(parser: argparse.ArgumentParser) -> None:
    """Add `--on-bad-image`."""
    parser.add_argument(
        "--on-bad-image", choices=CHOICES["on_bad_image"], help="stop, or continue and exit with 3 (error)"
    )
