"""Methods that train with the network itself, fitted after those that train on its features alone.

N: images. R: splits.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer import metrics
from transfer.config import UNCACHED, RunConfig
from transfer.data.random_splits import SPLITS
from transfer.evaluation.fitting import FittedSearch
from transfer.evaluation.repeats import OnFit, Split
from transfer.features.extract import Features
from transfer.features.plan import ExtractionPlan
from transfer.heads.registry import METHODS
from transfer.system.files import free_bytes
from transfer.system.progress import Progress, silent
from transfer.system.text import in_bytes
from transfer.system.timer import Stopwatch, now

if TYPE_CHECKING:
    from transfer.features.fill_maps import Tables
    from transfer.finetuning.trained import TrainedBlocks

log = logging.getLogger(__name__)


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


def _adaptations(config: RunConfig) -> dict[str, str]:
    """Return what is trained of each block, by the family: `lora:8`, or all parameters if it is empty."""
    return {"unfreeze": "", **{one.partition(":")[0]: one for one in config.adapt}}


def describe_method(name: str) -> tuple[str, str]:
    """Return the kind and the summary of a method of either sort."""
    found = METHODS.get(name) or family_of(name)
    return found.kind, found.summary


class NetworkMethods:
    """The methods of a run that train with the network.

    Parameters
    ----------
    config : RunConfig
    features : Features
        Of the frozen network, not transformed.
    plan : ExtractionPlan, optional
        Of `config`; there is none, and none of these methods, where features are given.

    Attributes
    ----------
    seconds : dict of str to float
        By fitted method what it would take on another split.
    """

    def __init__(self, config: RunConfig, features: Features, plan: ExtractionPlan | None) -> None:
        self._config, self._features, self._plan = config, features, plan
        self._tables: dict[str, Tables] = {}
        self.seconds: dict[str, float] = {}
        self._kept_bytes: dict[str, int] = {}

    def fit(
        self, watch: Stopwatch, on_error: Callable[[str, Exception], None], on_progress: Progress
    ) -> dict[str, FittedSearch]:
        """Fit all of them, one after the other.

        Parameters
        ----------
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
        if len(self._config.unfreeze) > 1:
            with suppress(Exception):  # one of them may be what fails: each by itself then
                self._fill(self._config.unfreeze, watch, on_progress)
        for name in list_methods(self._config):
            try:
                self._fill_for(name, watch, on_progress)
                start = now()
                found = self._train(name, self._features, watch, on_progress)
            except Exception as error:  # memory, a disk, a tracer: it costs this method alone
                on_error(name, error)
                continue
            # Of a kept training the recorded seconds; else all of it, features of the images included.
            self.seconds[name], self._kept_bytes[name] = max(now() - start, found.fit_s), found.kept_bytes
            fitted[name] = FittedSearch(
                search=found,
                predicted_N=found.test_predictions_[found.best_index_],
                fit_seconds=[found.fit_s],
                predict_seconds=[found.predict_s],
                splits=found.splits,
            )
        return fitted

    def announce_repeats(self, train_R: Sequence[int]) -> None:
        """Log what it takes to train the fitted methods on other splits, of so many training images."""
        assert self._plan
        seconds = sum(self.seconds.values()) * sum(train_R) / len(self._features.splits["train"].y_N)
        needed, free = sum(self._kept_bytes.values()) * len(train_R), free_bytes(self._plan.store.root)
        log.info(
            "training %s on %d other splits takes about %s min, and %s in the store, except what earlier runs trained",
            ", ".join(self.seconds),
            len(train_R),
            f"{math.ceil(seconds / 60):,}",
            in_bytes(needed),
        )
        if needed > free:
            log.warning("the store has %s left", in_bytes(free))

    def score_splits(
        self, name: str, splits: Sequence[Split], n_classes: int, on_fit: OnFit
    ) -> dict[str, list[Any]]:
        """Train a method on other splits of the images, and score it on their test images.

        Trainings are kept in the store, as those of a run are: where this one is stopped, the next one goes on.

        Parameters
        ----------
        name : str
        splits : sequence of (train, valid, test)
            Row indices of each split.
        n_classes : int
        on_fit : OnFit

        Returns
        -------
        dict
            As `repeats.score_splits` returns it.
        """
        found: dict[str, list[Any]] = {"accuracy": [], "macro_f1": [], "best_params": []}
        self._fill_for(name, Stopwatch(), silent)
        for i, split in enumerate(splits):

            def on_progress(phase: str, done: int, total: int, detail: str = "", *_: Any, i: int = i) -> None:
                if phase == "train" and done < total:
                    on_fit(i + done / total, detail)

            features = self._features.in_splits(*split)
            trained = self._train(name, features, Stopwatch(), on_progress, ("valid", "test"))
            predicted_N = trained.test_predictions_[trained.best_index_]
            scores = metrics.score(features.splits["test"].y_N, predicted_N, n_classes)
            for key, value in {**scores, "best_params": trained.best_params_}.items():
                found[key].append(value)
            on_fit(i + 1)
        return found

    def _train(
        self,
        name: str,
        features: Features,
        watch: Stopwatch,
        on_progress: Progress,
        wanted: Sequence[str] = SPLITS,
    ) -> TrainedBlocks:
        """Train a method on the splits of some features; compute those of its own for the wanted splits."""
        from transfer.finetuning.method import train_blocks  # torch's tracers, which most runs do without
        from transfer.finetuning.uncached_method import train_uncached

        assert self._plan
        if name == UNCACHED:
            return train_uncached(self._config, features, self._plan, watch, on_progress, wanted)
        family, _, block = name.partition(":")
        with watch("train"):
            adapt = _adaptations(self._config)[family]
            return train_blocks(
                block,
                self._tables[block],
                self._config,
                features,
                self._plan,
                on_progress,
                adapt=adapt,
                wanted=wanted,
            )

    def _fill_for(self, name: str, watch: Stopwatch, on_progress: Progress) -> None:
        """Compute the maps of a method that the store lacks, unless that has been done."""
        block = name.partition(":")[2]
        if block and block not in self._tables:
            self._fill([block], watch, on_progress)

    def _fill(self, blocks: Sequence[str], watch: Stopwatch, on_progress: Progress) -> None:
        from transfer.features.fill_maps import fill_maps

        assert self._plan
        with watch("maps"):
            self._tables |= fill_maps(blocks, self._plan, self._features.extraction, on_progress)
