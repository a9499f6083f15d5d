"""Which weights a configuration asks for, before they are found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transfer.backbones import formats, networks
from transfer.backbones.networks import Normalisation
from transfer.config import BUNDLED_BACKBONE, NAMED_WEIGHTS, RunConfig
from transfer.system.errors import UserError


@dataclass(frozen=True, kw_only=True)
class WeightsChoice:
    """The weights that a configuration asks for, which need not be there yet."""

    backbone: str
    source: str
    """`imagenet`, `embedded`, `random`, or the path of a file."""
    normalisation: Normalisation
    """What is done to pixels for these weights."""
    is_assumed: bool
    """Whether that is ImageNet's for want of another."""
    seed: int


def choose_weights(config: RunConfig) -> WeightsChoice:
    """Decide which weights a configuration asks for.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    WeightsChoice

    Raises
    ------
    UserError
        For a backbone that is not there, and for weights that are known not to be there or not to be its.
    """
    networks.check_name(config.backbone)
    source = config.weights_or_default
    if source not in NAMED_WEIGHTS:
        if not Path(source).is_file():
            what = "a folder, not a weights file" if Path(source).is_dir() else "no such weights file"
            raise UserError(
                f"{what}: {source}; give imagenet, embedded, random, or a .safetensors or .pth file"
            )
        formats.kind_of(Path(source))
    if source == "embedded" and config.backbone != BUNDLED_BACKBONE:
        raise UserError(
            f"`weights='embedded'` is a {BUNDLED_BACKBONE}, and `backbone='{config.backbone}'`; "
            "give imagenet, random, or a .safetensors or .pth file"
        )
    return WeightsChoice(
        backbone=config.backbone,
        source=source,
        normalisation=_normalisation(config),
        is_assumed=config.mean is None and config.std is None,
        seed=config.seed,
    )


def _normalisation(config: RunConfig) -> Normalisation:
    """ImageNet's statistics, unless the configuration has others."""
    turn = -1 if config.channel_order == "bgr" else 1
    return Normalisation(
        mean=config.mean or networks.MEAN[::turn],
        std=config.std or networks.STD[::turn],
        channel_order=config.channel_order,
    )
