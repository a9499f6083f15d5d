"""The settings of a run, as its result keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transfer.config import RunConfig

# Those that say nothing where they are the defaults.
KEPT_IF_GIVEN = ("unfreeze", "adapt", "lr_blocks", "views", "bn", "transform")


def describe_settings(config: RunConfig, methods: Iterable[str]) -> dict[str, Any]:
    """Return `config` of the result of a run.

    Parameters
    ----------
    config : RunConfig
    methods : iterable of str
        Those that were fitted.
    """
    given = {name: getattr(config, name) for name in KEPT_IF_GIVEN}
    return {
        "methods": list(methods),
        "select": config.select,
        "size": list(config.size) if config.size else None,
        "seed": config.seed,
        "lr": list(config.lr) if config.lr else None,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        **({"columns": dict(config.columns)} if config.columns else {}),
        **{
            name: list(value) if isinstance(value, tuple | list) else value
            for name, value in given.items()
            if value and value != getattr(RunConfig, name)
        },
        "groups": config.groups,
        "repeats": config.repeats,
    }
