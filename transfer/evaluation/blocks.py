"""Methods that train with the network itself, fitted after those that train on its features alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transfer.config import RunConfig
from transfer.data.dataset import ImageSet
from transfer.evaluation.fitting import FittedSearch
from transfer.features.extract import Features
from transfer.features.plan import ExtractionPlan, plan_extraction
from transfer.heads.registry import METHODS
from transfer.system.progress import Progress
from transfer.system.timer import Stopwatch


@dataclass(frozen=True)
class Way:
    """A way to train with the network, which names of methods begin with."""

    kind: str
    """Family of its methods, as in `transfer.heads.registry.Method`."""
    summary: str
    step: str
    """Of the ladder, which ends there where such a method is the best."""


UNCACHED = "fc-lab-uncached"
AFTER = "of a block and all that follows, and the last layer, AdamW, from cached maps of what lies before"
WAYS = {
    "unfreeze": Way("fine-tuning of blocks", f"all parameters {AFTER}", "train blocks"),
    "lora": Way("low-rank updates of blocks", f"LoRA {AFTER}", "train low-rank updates of blocks"),
    UNCACHED: Way(
        "fine-tuning in train mode",
        "fc-lab, the network in train mode: batch norm by the statistics of each batch, nothing cached",
        "batch norm in train mode",
    ),
    "bitfit": Way("biases of blocks", f"the biases {AFTER}", "train biases of blocks"),
}


def list_methods(config: RunConfig) -> list[str]:
    """Return the names of a run's methods that train with the network."""
    of_blocks = [f"{way}:{block}" for block in config.unfreeze for way in _adaptations(config)]
    return [*of_blocks, *([UNCACHED] if config.bn == "train" else [])]


def way_of(name: str) -> Way:
    """Return the way that a method trains with the network."""
    return WAYS[name.partition(":")[0]]


def describe_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings of these methods that are not the defaults, for the result."""
    lists = {name: list(getattr(config, name)) for name in ("unfreeze", "adapt") if getattr(config, name)}
    return lists | ({"bn": config.bn} if config.bn != "eval" else {})


def _adaptations(config: RunConfig) -> dict[str, str]:
    """Return what is trained of each block, by the way: `lora:8`, or all parameters if it is empty."""
    return {"unfreeze": "", **{one.partition(":")[0]: one for one in config.adapt}}


def describe_method(name: str) -> tuple[str, str]:
    """Return the kind and the summary of a method of either sort."""
    found = METHODS.get(name) or way_of(name)
    return found.kind, found.summary


def fit_blocks(
    config: RunConfig,
    image_set: ImageSet,
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
    image_set : ImageSet
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
    from transfer.finetuning.method import train_blocks  # torch's tracers, which most runs do without
    from transfer.finetuning.uncached_method import train_uncached

    plan = plan or plan_extraction(config)
    for name in list_methods(config):
        way, _, block = name.partition(":")
        given = (config, image_set, features, plan, watch, on_progress)
        try:
            found = (
                train_uncached(*given)
                if name == UNCACHED
                else train_blocks(block, *given, way=_adaptations(config)[way])
            )
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
