"""Backbones and input sizes to compare, checked before any work begins."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transfer.config import NAMED_WEIGHTS, RunConfig
from transfer.features.image_sets import features_are_given
from transfer.features.plan import check_size, plan_extraction
from transfer.heads.registry import check_methods
from transfer.system.errors import UserError
from transfer.system.remote import path_of


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backbone at an input size.

    Examples
    --------
    >>> from transfer import RunConfig
    >>> from transfer.evaluation.candidates import Candidate
    >>> Candidate(name="resnet18", config=RunConfig(data="images", backbone="resnet18")).name
    'resnet18'
    """

    name: str
    """Its folder: `resnet50-240x800`, or `resnet50` where no size is asked for."""
    config: RunConfig


def list_candidates(
    config: RunConfig,
    backbones: Sequence[str],
    sizes: Sequence[tuple[int, int] | None] = (None,),
    *,
    time_budget_s: float | None = None,
) -> list[Candidate]:
    """List every backbone at every size, all of them checked before any work begins.

    Parameters
    ----------
    config : RunConfig
        Settings of all of them but the backbone and the size.
    backbones : sequence of str
    sizes : sequence of (int, int) or None
        Height and width in pixels; None: decided from the images.
    time_budget_s : float, optional
        Seconds for `compare_candidates`.

    Returns
    -------
    list of Candidate

    Raises
    ------
    UserError
        For a name or a size that is there twice or can't be used, weights of one network for several, given features,
        and a time budget for one candidate.

    Examples
    --------
    >>> from transfer import RunConfig
    >>> from transfer.evaluation.candidates import list_candidates
    >>> config = RunConfig(data="images", weights="random")
    >>> [one.name for one in list_candidates(config, ["resnet18"], [(32, 48), (48, 64)])]
    ['resnet18-32x48', 'resnet18-48x64']
    """
    for name, values in (("backbone", backbones), ("size", sizes)):
        twice = [one for i, one in enumerate(values) if one in values[:i]]
        if twice:
            shown = twice[0] if isinstance(twice[0], str) else _size_text(twice[0])
            raise UserError(f"`{name}` names {shown} twice; give each once")
    check_methods(config.methods)
    if features_are_given(config):
        raise UserError(
            f"{path_of(config.data)} holds features, which have no backbone and no size to compare"
        )
    if len(backbones) > 1 and config.weights is not None and config.weights not in NAMED_WEIGHTS:
        raise UserError(
            f"`weights='{config.weights}'` is a file of one network, and {len(backbones)} backbones are named; "
            "give pretrained or random, or one backbone"
        )
    found = [
        Candidate(name=_name(backbone, size), config=replace(config, backbone=backbone, size=size))
        for backbone, size in itertools.product(backbones, sizes)
    ]
    if time_budget_s is not None and len(found) == 1:
        raise UserError(
            "`time_budget` drops candidates, and there is one; give several backbones or sizes, or leave it out"
        )
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise UserError(
            f"two of `backbone` would be kept in one folder, {max(names, key=names.count)}; leave one out"
        )
    for one in found:
        check_size(plan_extraction(one.config))
    return found


def _name(backbone: str, size: tuple[int, int] | None) -> str:
    name = re.sub(r"[^\w.-]", "_", backbone)
    return name if size is None else f"{name}-{_size_text(size)}"


def _size_text(size: tuple[int, int] | None) -> str:
    return "x".join(map(str, size or ()))
