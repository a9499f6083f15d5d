"""torchvision's classification networks, cut before their last layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from transfer.backbones import torchvision_files
from transfer.backbones.preprocessing import IMAGENET, Normalisation, Preprocessing
from transfer.backbones.sources import Settings, suggest
from transfer.system.errors import UserError
from transfer.system.files import HashedFile

if TYPE_CHECKING:
    from torch import nn

    from transfer.backbones.checkpoint import State

# torch and torchvision take seconds to import, and names are checked without them: functions import what they use.

# Their position embedding, or their partition into windows, is for images of 224x224.
_FIXED = ("vit_", "maxvit_")


def check_name(name: str) -> None:
    """Raise `UserError` unless torchvision has a classification network of that name."""
    names = torchvision_files.names()
    if name not in names:
        hint = suggest(name, names, "try resnet50 (networks for detection or segmentation can't be used)")
        raise UserError(f"torchvision has no classification network {name!r}; {hint}")


def describe(name: str) -> tuple[Preprocessing, Settings]:
    """Return how images are prepared: alike for all of torchvision's networks."""
    return Preprocessing(is_fixed=name.startswith(_FIXED)), {}


def find_pretrained(name: str) -> HashedFile:
    """Find torchvision's `IMAGENET1K_V1` weights."""
    from transfer.backbones import downloads

    return downloads.imagenet_file(name)


def fit(
    name: str, state: State, normalisation: Normalisation, settings: Settings
) -> tuple[nn.Module, list[str]]:
    """Build a network with weights, as `networks.fit` does."""
    from transfer.backbones import fitting

    try:
        return fitting.fit(partial(_without_branches, name, normalisation), name, state)
    except fitting.Misfit as error:
        other = _fitting_network(name, state) if error.of_another else None
        hint = f"; they fit {other}: give `backbone='{other}'`" if other else ""
        raise fitting.Misfit(f"{error}{hint}", of_another=error.of_another) from None


def _fitting_network(name: str, state: State) -> str | None:
    """Another network that a checkpoint fits."""
    from transfer.backbones import fitting

    if not (family := fitting.family(state)):
        return None
    for other in torchvision_files.names():
        if other != name and other.startswith(family):
            try:
                fitting.fill(*fitting.outline(partial(_without_branches, other)), other, state)
            except fitting.Misfit:
                continue
            return other
    return None


def _without_branches(name: str, normalisation: Normalisation = IMAGENET) -> tuple[nn.Module, str]:
    """Without the branches that a network runs in training alone, whose weights files may lack."""
    from transfer.backbones import fitting

    network, layer = cut(name, normalisation)
    for part, _ in list(network.named_children()):
        if fitting.TRAINING_ONLY.match(part):
            setattr(network, part, None)
    return network, layer


def cut(
    name: str, normalisation: Normalisation = IMAGENET, settings: Settings | None = None
) -> tuple[nn.Module, str]:
    """Build a network with drawn weights and cut its last layer off, as `networks.cut` does."""
    from torch import nn
    from torchvision import models

    # GoogLeNet and Inception warn unless `init_weights` says whether to initialise their weights.
    own_init = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = models.get_model(name, weights=None, **own_init)
    if hasattr(network, "transform_input"):
        # These two scale images from ImageNet's statistics to their own; what a user gives is what they see.
        setattr(network, "transform_input", normalisation == IMAGENET)  # noqa: B010 - for the type checker any attribute is a tensor
    # In every torchvision network the classifier comes last; before it lie the features.
    layer = [n for n, part in network.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))][-1]
    network.set_submodule(layer, nn.Identity())
    return network, layer
