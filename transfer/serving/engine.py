"""The engine of a saved model: the run's own where this machine has it, else eager PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from transfer import engines
from transfer.backbones import networks, weights
from transfer.backbones.memory import fit_batch
from transfer.backbones.preprocessing import IMAGENET, Normalisation
from transfer.backbones.sources import check_name
from transfer.data.resize import Resizing
from transfer.engines import Engine, EngineError, Plan
from transfer.engines.options import BATCH, list_options, pick_device
from transfer.serving.bundle import Kept
from transfer.serving.method_files import BLOCKS, stem_of
from transfer.system.errors import UserError

Method = Mapping[str, Any]
"""An entry of `model.json`."""

log = logging.getLogger(__name__)


def build_engine(
    kept: Kept, method: Method, device: str, engine: str, precision: str, batch: int, width: int
) -> Engine:
    """Build an engine that gives features of that width: the run's own where nothing else was asked for."""
    about, way = kept.record["backbone"], kept.record["features"]
    network, normalisation = build_network(kept, method)
    calibrated = _calibrated(kept, precision)
    plain = (
        "eager" if engine == "auto" else engine,
        "fp32" if precision == "auto" else precision,
        pick_device(device),
    )
    wanted = (
        way["engine"] if engine == "auto" else engine,
        way["precision"] if precision == "auto" else precision,
        way["device"] if device == "auto" else plain[2],
    )
    if "cpu" in (wanted[2], plain[2]):
        batch = _fit_batch(network, about["name"], input_size(kept), batch)
    failed: dict[str, str] = {}
    for one in dict.fromkeys((wanted, plain)):
        try:
            ready = _ready(network, _plan(*one, batch), input_size(kept), calibrated, width, normalisation)
        except UserError as error:
            failed[" ".join(one)] = error.reason if isinstance(error, EngineError) else str(error)
            continue
        for name, reason in failed.items():
            instead = f"continuing with {' '.join(one)}: a label may differ now and then"
            log.warning("%s, the way of the features, fails here (%s); %s", name, reason, instead)
        return ready
    raise UserError(f"{' '.join(plain)} fails here ({failed[' '.join(plain)]})")


def build_network(kept: Kept, method: Method) -> tuple[nn.Module, Normalisation]:
    """Build the network of a saved model, cut before its classifier, and return it with its normalisation.

    Blocks that a method trained are read from that method's own file.
    """
    about, size = kept.record["backbone"], input_size(kept)
    check_name(about["name"])
    normalisation = _normalisation(about)
    state = weights.load(kept.whole("backbone", about["sha256"]))
    if "blocks_sha256" in method:
        state |= weights.load(kept.whole(f"{stem_of(method['name'])}{BLOCKS}", method["blocks_sha256"]))
    network = networks.build(about["name"], state, normalisation, about.get("settings"))
    own = tuple(about.get("own_size", size))
    network = networks.at_size(network, about["name"], size, own, about.get("layers", ()))
    return network, normalisation


def _fit_batch(network: nn.Module, name: str, size: tuple[int, int], batch: int) -> int:
    """Find the largest batch whose forward pass fits into memory; on CUDA that is found by trying."""
    image_bytes = networks.measure_at_size(network, name, size)
    remedy = "free memory, or train a model with a smaller `size`"
    return fit_batch(image_bytes, min(batch, BATCH["cpu"]), size, remedy)


def _calibrated(kept: Kept, precision: str) -> Path | None:
    """Find the network's int8 version; `UserError` where there is none and int8 is asked for."""
    sha256 = kept.record["features"]["calibrated_sha256"]
    if sha256 is None and precision == "int8":
        raise UserError(
            f"{kept.folder} has no int8 version of its network; it takes a run with precision int8"
        )
    return kept.whole("calibrated", sha256) if sha256 else None


def _plan(engine: str, precision: str, device: str, batch: int) -> Plan:
    # Quantising a network takes NNCF; running one that was quantised does not.
    of_same_kind = "fp32" if (engine, precision) == ("openvino", "int8") else precision
    plan = list_options(engine, of_same_kind, device)[0]
    torch.set_num_threads(plan.threads)
    return replace(plan, precision=precision, batch=min(batch, plan.batch))


def _ready(
    network: nn.Module,
    plan: Plan,
    size: tuple[int, int],
    calibrated: Path | None,
    width: int,
    normalisation: Normalisation,
) -> Engine:
    """Build an engine and run it once: compilers compile then, and what can't run fails."""
    quantised = calibrated if plan.precision == "int8" else None
    engine = engines.build(network, plan, size, quantised, normalisation)
    found = engines.submit(engine, np.zeros((1, *size, 3), np.uint8))().shape[1]
    if found != width:
        raise UserError(f"the network has {found} features, the head takes {width}")
    return engine


def _normalisation(about: dict[str, Any]) -> Normalisation:
    """Return that of the run; ImageNet's in files from before it was recorded."""
    if "mean" not in about:
        return IMAGENET
    return Normalisation(tuple(about["mean"]), tuple(about["std"]), about["channel_order"])


def input_size(kept: Kept) -> tuple[int, int]:
    """Return the height and width in pixels that images are brought to."""
    height, width = kept.record["features"]["input_size"]
    return height, width


def resizing_of(kept: Kept) -> Resizing:
    """Return how images of another size are brought to it; files from before it was recorded have the usual way."""
    about = kept.record["backbone"]
    return Resizing(about.get("resize", "stretch"), about.get("resample", "bilinear"))
