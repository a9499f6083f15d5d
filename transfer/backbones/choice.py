"""Which weights a configuration asks for, before they are found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from transfer.backbones import formats, sources
from transfer.backbones.preprocessing import IMAGENET, Normalisation, Preprocessing
from transfer.config import BUNDLED_BACKBONE, NAMED_WEIGHTS, RunConfig
from transfer.system.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps that a block of a network takes, kept as features are."""

    block: str
    dtype: str
    """`bfloat16` or `float32`."""


@dataclass(frozen=True, kw_only=True)
class WeightsChoice:
    """The weights that a configuration asks for, which need not be there yet."""

    backbone: str
    settings: sources.Settings
    """What the network is built from beside its name."""
    preprocessing: Preprocessing
    """How the network's own configuration prepares images."""
    source: str
    """`imagenet`, `pretrained`, `package`, `embedded`, `random`, or the path of a file."""
    normalisation: Normalisation
    """What is done to pixels for these weights."""
    is_assumed: bool
    """Whether that is ImageNet's for want of another."""
    seed: int
    layers: tuple[str, ...] = ()
    """Modules whose outputs are the features; none: what the classifier takes."""


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
    origin, name = sources.source_of(config.backbone)
    origin.check_name(name)
    source = config.weights_or_default
    if source not in NAMED_WEIGHTS:
        if not Path(source).is_file():
            what = "a folder, not a weights file" if Path(source).is_dir() else "no such weights file"
            raise UserError(
                f"{what}: {source}; give pretrained, embedded, random, or a .safetensors, .pth or .bin file"
            )
        formats.kind_of(Path(source))
    if source == "embedded" and config.backbone != BUNDLED_BACKBONE:
        raise UserError(
            f"`weights='embedded'` is a {BUNDLED_BACKBONE}, and `backbone='{config.backbone}'`; "
            "give pretrained, random, or a .safetensors, .pth or .bin file"
        )
    if source in ("imagenet", "package") and source != config.pretrained_weights:
        raise UserError(
            f"`weights='{source}'` are not of `backbone='{config.backbone}'`; "
            "give pretrained, random, or a .safetensors, .pth or .bin file"
        )
    preprocessing, settings = origin.describe(name)
    normalisation = _normalisation(config, preprocessing.normalisation)
    trains = "unfreeze" if config.unfreeze else "bn" if config.bn == "train" else ""
    if trains and (config.layers or config.precision == "int8"):
        other = "`layers`" if config.layers else "`precision='int8'`"
        raise UserError(f"`{trains}` changes the network, which {other} leaves as it is; give one of the two")
    if config.layers or trains:
        from transfer.backbones import fitting  # torch, which other settings are checked without
        from transfer.backbones.batch_norm import check_batch_norm
        from transfer.backbones.blocks import check_blocks
        from transfer.backbones.layers import check_layers

        outline = fitting.outline(lambda: origin.cut(name, normalisation, settings))[0]
        check_layers(outline, config.backbone, config.layers)
        check_blocks(outline, config.backbone, config.unfreeze)
        if config.bn == "train":
            check_batch_norm(outline, config.backbone)
    return WeightsChoice(
        backbone=config.backbone,
        source=source,
        settings=settings,
        preprocessing=replace(preprocessing, resize=config.resize),
        normalisation=normalisation,
        is_assumed=config.mean is None and config.std is None and preprocessing.normalisation == IMAGENET,
        seed=config.seed,
        layers=config.layers,
    )


def choose_normalisation(config: RunConfig) -> Normalisation:
    """Return what a configuration does to pixels; `UserError` for a backbone that is not there."""
    origin, name = sources.source_of(config.backbone)
    origin.check_name(name)
    return _normalisation(config, origin.describe(name)[0].normalisation)


def _normalisation(config: RunConfig, own: Normalisation) -> Normalisation:
    """Return the network's own statistics, unless the configuration has others."""
    order = config.channel_order if config.channel_order != "rgb" else own.channel_order
    turn = 1 if order == own.channel_order else -1
    return Normalisation(
        mean=config.mean or own.mean[::turn], std=config.std or own.std[::turn], channel_order=order
    )
