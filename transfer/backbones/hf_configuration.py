"""What the files beside a network of transformers say: how it is built, and how it takes images."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfer.backbones import hub
from transfer.backbones.preprocessing import IMAGENET, Normalisation, Preprocessing
from transfer.system.errors import UserError
from transfer.system.remote import expand
from transfer.system.text import first_line

CONFIGURATION, PREPROCESSOR = "config.json", "preprocessor_config.json"
REMEDY = f"put {CONFIGURATION}, {PREPROCESSOR} and {hub.WEIGHTS[0]} of it in a folder and give `backbone='hf:./FOLDER'`"
# Entries that name code, files or other models to load, or that only a classifier needs.
_LEFT_OUT = re.compile(
    r"_.*|auto_map|architectures|(id2label|label2id|num_labels)|.*implementation|.*_config_name_or_path|kernel_config"
    r"|(torch_)?dtype|quantization_config|transformers_.*|distributed_config|fusion_config|problem_type"
)
# Pillow's numbers of filters, by those that are used here.
_FILTERS = {0: "bilinear", 1: "bicubic", 2: "bilinear", 3: "bicubic"}

log = logging.getLogger(__name__)


def folder_of(name: str) -> Path | None:
    """Return the folder that a name stands for; None for the name of a repository of the hub."""
    return expand(name) if name.startswith((".", "/", "~")) else None


def check_name(name: str) -> None:
    """Raise `UserError` for a folder that is not there, and for what is no name of a repository."""
    if folder := folder_of(name):
        if not folder.is_dir():
            raise UserError(
                f"no such folder: {folder}; give one that save_pretrained wrote, or hf:ORGANISATION/NAME"
            )
    elif not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or ".." in name:
        raise UserError(
            f"{name!r} is no name of a repository; give hf:ORGANISATION/NAME, or hf:./FOLDER for a folder that "
            "save_pretrained wrote"
        )


def read_configuration(name: str) -> dict[str, Any]:
    """Read what a network is built from, without what names code or other files."""
    path = _find(name, CONFIGURATION)
    if path is None:
        raise UserError(f"no {CONFIGURATION} in {name}; give a folder that save_pretrained wrote")
    found = _read(path)
    if "model_type" not in found and "architecture" in found:
        raise UserError(f"{name} is a network of timm; give timm:{found['architecture']}")
    return clean(found)


def clean(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the entries that name code, files or other models to load."""
    return {
        key: clean(value) if isinstance(value, Mapping) else value
        for key, value in configuration.items()
        if not _LEFT_OUT.fullmatch(key)
    }


def read_preprocessing(name: str, configuration: Mapping[str, Any]) -> Preprocessing:
    """Read how a network takes images; by ImageNet's statistics where that is not said."""
    path = _find(name, PREPROCESSOR, is_optional=True)
    found = _read(path) if path else {}
    if "image_mean" not in found and found.get("do_normalize", True):
        log.warning(
            "%s has no %s with a mean: pixels are scaled by ImageNet's mean and deviation; "
            "give `mean` and `std` if its weights were trained otherwise",
            name,
            PREPROCESSOR,
        )
    try:
        edge, size = _sizes(found, configuration)
        return Preprocessing(
            normalisation=_normalisation(found),
            size=size,
            resample=_FILTERS.get(found.get("resample", 2), "bicubic"),
            crop=found.get("crop_pct") or (round(size[0] / edge, 4) if edge else None),
        )
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path or CONFIGURATION} of {name} can't be read as settings of images: {first_line(error)}"
        ) from error


def _sizes(found: Mapping[str, Any], configuration: Mapping[str, Any]) -> tuple[int | None, tuple[int, int]]:
    """Return the shorter side that images are resized to before they are cropped, and the size that is seen."""
    resized = found.get("size", configuration.get("image_size") or 224)
    edge = resized.get("shortest_edge") if isinstance(resized, Mapping) else None
    seen = found["crop_size"] if found.get("do_center_crop") and found.get("crop_size") else resized
    if isinstance(seen, Mapping):
        seen = [seen["height"], seen["width"]] if "height" in seen else seen["shortest_edge"]
    height, width = map(int, seen if isinstance(seen, list) else (seen, seen))
    if min(height, width, 1 if edge is None else edge) < 1:
        raise ValueError(f"sizes of {height}x{width} pixels" + (f" and {edge}" if edge is not None else ""))
    return edge, (height, width)


def _normalisation(found: Mapping[str, Any]) -> Normalisation:
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if found.get("do_normalize", True):
        mean = tuple(map(float, found.get("image_mean", IMAGENET.mean)))
        std = tuple(map(float, found.get("image_std", IMAGENET.std)))
    # Others than 1/255 are of networks that take pixels from -1 to 1, or from 0 to 255.
    scale = 255 * float(found.get("rescale_factor", 1 / 255) if found.get("do_rescale", True) else 1)
    shift = 1.0 if found.get("rescale_offset") else 0.0
    if len(mean) != 3 or len(std) != 3:
        raise ValueError("its mean and deviation are not of three channels")
    return Normalisation(
        mean=tuple(round((one + shift) / scale, 10) for one in mean),
        std=tuple(round(one / scale, 10) for one in std),
        channel_order="bgr" if found.get("do_flip_channel_order") else "rgb",
    )


def _find(name: str, file: str, *, is_optional: bool = False) -> Path | None:
    if folder := folder_of(name):
        return folder / file if (folder / file).is_file() else None
    return hub.find_optional(name, file, REMEDY) if is_optional else hub.find_file(name, (file,), REMEDY)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read as JSON: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings; give a folder that save_pretrained wrote")
    return found
