"""timm's networks, without their classifier: what remains is their own pooling of their last map or tokens."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from transfer.backbones import downloads, fitting, hub
from transfer.backbones.checkpoint import State
from transfer.backbones.preprocessing import MEAN, STD, Normalisation, Preprocessing
from transfer.backbones.sources import Settings, suggest
from transfer.system.errors import UserError
from transfer.system.files import HashedFile, hash_file

_REMEDY = "fetch it elsewhere and give it as `weights=FILE`"


def check_name(name: str) -> None:
    """Raise `UserError` unless timm has a network of that name, with or without the tag of its weights."""
    architecture, dot, tag = name.partition(".")
    if architecture not in timm.list_models():
        hint = suggest(architecture, timm.list_models(), "try timm:resnet50 (timm.list_models() lists all)")
        raise UserError(f"timm has no network {name!r}; {hint}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        known = (
            f"its weights are {', '.join(tags)}" if tags else f"it has no weights: give timm:{architecture}"
        )
        raise UserError(f"timm has no weights {tag!r} of {architecture}; {known}")


def describe(name: str) -> tuple[Preprocessing, Settings]:
    """Return how images are prepared, as timm's configuration of the weights says."""
    own = _configuration(name)
    return Preprocessing(
        normalisation=Normalisation(tuple(own["mean"]), tuple(own["std"])),
        size=(own["input_size"][1], own["input_size"][2]),
        is_fixed=bool(own.get("fixed_input_size")),
        resample="bilinear" if own["interpolation"] == "bilinear" else "bicubic",
        crop=own["crop_pct"],
    ), {}


def find_pretrained(name: str) -> HashedFile:
    """Find the weights in the cache of the Hugging Face hub or of torch.hub; download them where they are not there."""
    own = _configuration(name)
    file = own.get("hf_hub_filename")
    if own.get("hf_hub_id"):
        return hash_file(hub.find_file(own["hf_hub_id"], (file,) if file else hub.WEIGHTS, _REMEDY))
    if own.get("url") and not own.get("custom_load"):
        return downloads.fetch(own["url"], downloads.checkpoints())
    raise UserError(f"timm has no weights for {name} that can be read here; give `weights=FILE` or random")


def fit(
    name: str, state: State, normalisation: Normalisation, settings: Settings
) -> tuple[nn.Module, list[str]]:
    """Build a network with weights, as `networks.fit` does."""
    build = partial(cut, name, normalisation, settings)
    try:
        return fitting.fit(build, name, state)
    except fitting.Misfit:
        with contextlib.suppress(Exception):  # of what kind it may be, the first error says what does not fit
            return fitting.fit(build, name, _translate(fitting.outline(build)[0], state))
        raise


def _translate(network: nn.Module, state: State) -> State:
    """Return the tensors that the authors of an architecture published under timm's names, by timm's own rules."""
    translated: State = sys.modules[type(network).__module__].checkpoint_filter_fn(dict(state), network)
    return translated


def cut(name: str, normalisation: Normalisation, settings: Settings) -> tuple[nn.Module, str]:
    """Build a network with drawn weights and without its classifier, as `networks.cut` does."""
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    classifier = _configuration(name).get("classifier") or "head"
    return network, classifier if isinstance(classifier, str) else classifier[0]


def _configuration(name: str) -> dict[str, Any]:
    """Return timm's configuration of the weights that a name has a tag of, else of the network's first."""
    found = get_pretrained_cfg(name)
    own: dict[str, Any] = vars(found) if found else {}
    usual = {"input_size": (3, 224, 224), "mean": MEAN, "std": STD}
    return {**usual, "interpolation": "bicubic", "crop_pct": None, **own}
