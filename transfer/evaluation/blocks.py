"""Methods that train blocks of the network too, fitted after those that train on its features alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from transfer.config import RunConfig
from transfer.evaluation.fitting import FittedSearch
from transfer.features.extract import Features
from transfer.features.plan import ExtractionPlan, plan_extraction
from transfer.heads.registry import METHODS
from transfer.system.progress import Progress
from transfer.system.timer import Stopwatch

PREFIX, KIND = "unfreeze:", "fine-tuning of blocks"


def list_methods(config: RunConfig) -> list[str]:
    """Return the names of a run's methods that train blocks."""
    return [f"{PREFIX}{block}" for block in config.unfreeze]


def describe_settings(config: RunConfig) -> dict[str, Any]:
    """Return what of a run's settings is of methods that train blocks; nothing where there are none."""
    if not config.unfreeze:
        return {}
    return {"unfreeze": list(config.unfreeze), **({"views": config.views} if config.views > 1 else {})}


def describe_method(name: str) -> tuple[str, str]:
    """Return the kind and the summary of a method of either sort."""
    if name in METHODS:
        return METHODS[name].kind, METHODS[name].summary
    block = name.removeprefix(PREFIX)
    return KIND, f"{block}, what follows it and the last layer, AdamW, from cached maps of what lies before"


def fit_blocks(
    config: RunConfig,
    features: Features,
    plan: ExtractionPlan | None,
    watch: Stopwatch,
    on_error: Callable[[str, Exception], None],
    on_progress: Progress,
) -> dict[str, FittedSearch]:
    """Train the blocks that a configuration names, one after the other.

    Parameters
    ----------
    config : RunConfig
    features : Features
        Of the frozen network, not transformed.
    plan : ExtractionPlan, optional
        Of `config`, where the caller has resolved it.
    watch : Stopwatch
        Gets the phases `maps` and `train`.
    on_error : callable
        Called with the method and the error of a training that fails; if it returns, the method is left out.
    on_progress : Progress

    Returns
    -------
    dict of str to FittedSearch
        By method, each with features of its own.
    """
    fitted: dict[str, FittedSearch] = {}
    if not config.unfreeze:
        return fitted
    from transfer.features.fill_maps import fill_maps  # torch's tracers, which most runs do without
    from transfer.finetuning.method import train_blocks

    plan = plan or plan_extraction(config)
    tables = {}
    if len(config.unfreeze) > 1:
        with suppress(Exception), watch("maps"):  # one of them may be what fails: each by itself then
            tables = fill_maps(config.unfreeze, plan, features.extraction, on_progress)
    for name, block in zip(list_methods(config), config.unfreeze, strict=True):
        try:
            if block not in tables:
                with watch("maps"):
                    tables |= fill_maps([block], plan, features.extraction, on_progress)
            with watch("train"):
                found = train_blocks(block, tables[block], config, features, plan, on_progress)
        except Exception as error:  # memory, a disk, a tracer: it costs this method alone
            on_error(name, error)
            continue
        fitted[name] = FittedSearch(
            search=found,
            predicted_N=found.predict(found.splits["test"].x_ND),
            fit_seconds=[found.fit_s],
            predict_seconds=[found.predict_s],
            splits=found.splits,
        )
    return fitted
