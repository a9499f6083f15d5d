"""Methods that train with the network itself, fitted after those that train on its features alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer.config import UNCACHED, RunConfig
from transfer.evaluation.fitting import FittedSearch
from transfer.features.extract import Features
from transfer.features.plan import ExtractionPlan, plan_extraction
from transfer.heads.registry import METHODS
from transfer.system.progress import Progress
from transfer.system.timer import Stopwatch

if TYPE_CHECKING:
    from transfer.finetuning.trained import TrainedBlocks


@dataclass(frozen=True)
class Family:
    """Methods that train the same of a network; their names begin with that of the family."""

    kind: str
    """As in `transfer.heads.registry.Method`."""
    summary: str
    step: str
    """Of the ladder, which ends there where such a method is the best."""


AFTER = "of a block and all that follows, and the last layer, AdamW, from cached maps of what lies before"
FAMILIES = {
    "unfreeze": Family("fine-tuning of blocks", f"all parameters {AFTER}", "train blocks"),
    "lora": Family("low-rank updates of blocks", f"LoRA {AFTER}", "train low-rank updates of blocks"),
    "bitfit": Family("biases of blocks", f"the biases {AFTER}", "train biases of blocks"),
    UNCACHED: Family(
        "fine-tuning in train mode",
        "fc-lab, the network in train mode: batch norm by the statistics of each batch, nothing cached",
        "batch norm in train mode",
    ),
}


def list_methods(config: RunConfig) -> list[str]:
    """Return the names of a run's methods that train with the network."""
    of_blocks = [f"{family}:{block}" for block in config.unfreeze for family in _adaptations(config)]
    return [*of_blocks, *([UNCACHED] if config.bn == "train" else [])]


def family_of(name: str) -> Family:
    """Return the family of a method that trains with the network."""
    return FAMILIES[name.partition(":")[0]]


def describe_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings of these methods that are not the defaults, for the result."""
    values = {name: getattr(config, name) for name in ("unfreeze", "adapt", "lr_blocks", "views", "bn")}
    changed = {name: value for name, value in values.items() if value != getattr(RunConfig, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def _adaptations(config: RunConfig) -> dict[str, str]:
    """Return what is trained of each block, by the family: `lora:8`, or all parameters if it is empty."""
    return {"unfreeze": "", **{one.partition(":")[0]: one for one in config.adapt}}


def describe_method(name: str) -> tuple[str, str]:
    """Return the kind and the summary of a method of either sort."""
    found = METHODS.get(name) or family_of(name)
    return found.kind, found.summary


def fit_blocks(
    config: RunConfig,
    features: Features,
    plan: ExtractionPlan | None,
    watch: Stopwatch,
    on_error: Callable[[str, Exception], None],
    on_progress: Progress,
) -> dict[str, FittedSearch]:
    """Fit the methods that train with the network, one after the other.

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
    if not list_methods(config):
        return fitted
    from transfer.features.fill_maps import fill_maps  # torch's tracers, which most runs do without
    from transfer.finetuning.method import train_blocks
    from transfer.finetuning.uncached_method import train_uncached

    plan = plan or plan_extraction(config)
    tables = {}
    if len(config.unfreeze) > 1:
        with suppress(Exception), watch("maps"):  # one of them may be what fails: each by itself then
            tables = fill_maps(config.unfreeze, plan, features.extraction, on_progress)

    def train(name: str) -> TrainedBlocks:
        if name == UNCACHED:
            return train_uncached(config, features, plan, watch, on_progress)
        family, _, block = name.partition(":")
        if block not in tables:
            with watch("maps"):
                tables.update(fill_maps([block], plan, features.extraction, on_progress))
        with watch("train"):
            adapt = _adaptations(config)[family]
            return train_blocks(block, tables[block], config, features, plan, on_progress, adapt=adapt)

    for name in list_methods(config):
        try:
            found = train(name)
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
