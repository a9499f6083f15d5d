"""What is known of the licence of a network's weights."""

from __future__ import annotations

from transfer.backbones.sources import source_of, split_name
from transfer.config import PACKAGED_BACKBONE
from transfer.system.errors import UserError

_IMAGENET = "trained on ImageNet, whose photographs are for non-commercial research"


def describe_licence(name: str, weights: str) -> str:
    """Describe the licence of a network's weights in a phrase.

    Parameters
    ----------
    name : str
        Of the network, as models record it.
    weights : str
        Where its weights came from, as models record it.

    Returns
    -------
    str
        What to ask where it is not known.
    """
    source, own_name = split_name(name)
    if weights == "random":
        return "none: the weights are drawn at random"
    if weights == "embedded":
        return "MIT, as transfer itself"
    if weights == "package" and source == PACKAGED_BACKBONE:
        return f"Apache 2.0 (Google); {_IMAGENET}"
    if weights not in ("pretrained", "imagenet"):
        return f"not known: ask who made {weights}"
    if source == "hf":
        return f"as https://huggingface.co/{own_name} says"
    if source == "timm":
        return _licence_of_timm(name)
    return f"torchvision (BSD 3-Clause) states none of its own for weights; these were {_IMAGENET}"


def _licence_of_timm(name: str) -> str:
    try:
        source_of(name)
    except UserError:
        return "not known: timm, which names it, is not installed"
    from timm.models import get_pretrained_cfg

    licence = getattr(get_pretrained_cfg(split_name(name)[1]), "license", None)
    return f"{licence} (timm)" if licence else "not known: timm names none"
