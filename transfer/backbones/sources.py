"""Where networks come from: torchvision, and other libraries and packages that are imported only when used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Protocol, cast

from transfer.backbones.preprocessing import Normalisation, Preprocessing
from transfer.config import PACKAGED_BACKBONE
from transfer.system.errors import UserError
from transfer.system.files import HashedFile
from transfer.system.hardware import installed_version
from transfer.system.remote import expand

if TYPE_CHECKING:
    from torch import nn

    from transfer.backbones.checkpoint import State

Settings = Mapping[str, Any]
"""What a network is built from beside its name, as JSON; empty where the name says all."""


class NetworkSource(Protocol):
    """What the module of a source defines. Names have no prefix, normalisations are those of the weights."""

    def check_name(self, name: str) -> None:
        """Raise `UserError` unless there is a network of that name."""

    def describe(self, name: str) -> tuple[Preprocessing, Settings]:
        """Return how the network prepares images, and what it is built from beside its name."""

    def find_pretrained(self, name: str) -> HashedFile:
        """Find the file of the network's pre-trained weights; download it where it is not there."""

    def fit(
        self, name: str, state: State, normalisation: Normalisation, settings: Settings
    ) -> tuple[nn.Module, list[str]]:
        """Build the cut network with weights, as `networks.fit` does; raises `fitting.Misfit`."""

    def cut(self, name: str, normalisation: Normalisation, settings: Settings) -> tuple[nn.Module, str]:
        """Build the network with drawn weights, as `networks.cut` does."""


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """What is known of a source before its module is imported."""

    module: str
    """Name of its module in `transfer.backbones`."""
    layer: str
    """Where networks are cut; part of the key of features."""
    packages: tuple[str, ...] = ()
    """Packages that it needs beside torchvision; their versions are part of the key of features."""


# By what precedes the colon in the name of a network, or by the name of the only one.
SOURCES = {
    "": SourceSpec(module="torchvision_networks", layer="before the last linear or convolutional layer"),
    PACKAGED_BACKBONE: SourceSpec(
        module="packaged_networks",
        layer="pooled, before the classifier",
        packages=("timm",),
    ),
    "hf": SourceSpec(module="hf_networks", layer="before the classifier", packages=("transformers",)),
    "timm": SourceSpec(module="timm_networks", layer="pooled, before the classifier", packages=("timm",)),
}


def split_name(name: str) -> tuple[str, str]:
    """Return the key of `SOURCES` that a network's name belongs to, and its name there."""
    prefix, colon, rest = name.partition(":")
    if colon:
        return prefix, rest
    return (name if name in SOURCES else ""), name


def source_of(name: str) -> tuple[NetworkSource, str]:
    """Import the source of a network; return it and the network's name there.

    Raises
    ------
    UserError
        For a source that is not known, and for one whose packages are not installed.
    """
    key, rest = split_name(name)
    if key not in SOURCES or name in (f":{rest}", f"{PACKAGED_BACKBONE}:{rest}"):
        known = " or ".join(f"{one}:NAME" for one in SOURCES if one not in ("", PACKAGED_BACKBONE))
        raise UserError(f"there is no source of networks {key!r}; give {known}, or a torchvision network")
    spec = SOURCES[key]
    for package in spec.packages:
        if not installed_version(package):
            raise UserError(
                f"{name} needs the package {package}, which is not installed; run: pip install {package}"
            )
    return cast(NetworkSource, import_module(f"transfer.backbones.{spec.module}")), rest


def declare(name: str, settings: Settings) -> dict[str, object]:
    """Return what of a network its features depend on, beside the versions of torch and torchvision."""
    spec = SOURCES[split_name(name)[0]]
    # Settings say all that a name does, and a name may be that of a folder.
    if settings:
        key, kind = split_name(name)[0], settings["config"]["model_type"]
        network: dict[str, object] = {"backbone": f"{key}:{kind}", "settings": dict(settings)}
    else:
        network = {"backbone": name}
    return {**network, "layer": spec.layer, **versions(name)}


def recorded_name(name: str) -> str:
    """Return a network's name as results and models have it: of a folder the last part alone."""
    key, rest = split_name(name)
    if key == "hf" and rest.startswith((".", "/", "~")):
        return "hf:" + re.sub(r"[^\w.-]|\.(?=\.)", "_", expand(rest).resolve().name).strip(".")
    return name


def versions(name: str) -> dict[str, str]:
    """Return the versions of the packages that a network comes from, beside torchvision."""
    return {package: metadata.version(package) for package in SOURCES[split_name(name)[0]].packages}


def check_name(name: str) -> None:
    """Raise `UserError` unless there is a network of that name, and its source is installed."""
    source, rest = source_of(name)
    source.check_name(rest)


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a hint at the names that are closest to one that is unknown."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(close)}?" if close else otherwise
