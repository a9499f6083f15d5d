"""Methods that train blocks: blocks and last layer trained on cached maps, with several learning rates.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.backbones import networks
from transfer.backbones.blocks import cut_at
from transfer.cache.store import MadeFile
from transfer.config import SCORE_NAMES, RunConfig
from transfer.data.random_splits import SPLITS
from transfer.engines import Plan
from transfer.features.extract import Features, Split
from transfer.features.fill_maps import Tables
from transfer.features.forward import describe_machine
from transfer.features.plan import ExtractionPlan
from transfer.finetuning.adaptation import RATES, choose_trained, list_weights, trained_tensors
from transfer.finetuning.checkpoints import KIND, finish, read_finished
from transfer.finetuning.head import Head
from transfer.finetuning.recipe import Recipe
from transfer.finetuning.rows import cached_rows
from transfer.finetuning.trained import TrainedBlocks, declare
from transfer.finetuning.training import Tensors, Training
from transfer.heads.registry import METHODS
from transfer.heads.solutions import curve_columns, ranking
from transfer.system.hardware import processor
from transfer.system.progress import Progress
from transfer.system.row_storage import RowStorage
from transfer.system.timer import now

# Epochs, and images in a step: fewer than of last layers, which cost nothing.
EPOCHS, BATCH = 10, 32
# The class index of images of a class without training images: what cross entropy leaves out, and no prediction.
UNKNOWN = -100


def train_blocks(
    block: str,
    tables: Tables,
    config: RunConfig,
    features: Features,
    plan: ExtractionPlan,
    on_progress: Progress,
    *,
    adapt: str,
    wanted: Sequence[str],
) -> TrainedBlocks:
    """Train a block, all that comes after it, and the last layer, once for each learning rate of the block.

    Parameters
    ----------
    block : str
    tables : tuple of FeatureTable
        Its maps, as `fill_maps` returns them.
    config : RunConfig
    features : Features
        Of the frozen network.
    plan : ExtractionPlan
        Of `config`.
    on_progress : Progress
    adapt : str
        What of the blocks is trained: `lora:RANK`, `bitfit`, or "": all of their parameters.
    wanted : sequence of str
        Splits whose features are computed: `valid` and `test` at least.

    Returns
    -------
    TrainedBlocks

    Raises
    ------
    UserError
        For a block that the network can't be cut at, and where memory or disk do not suffice.
    """
    start = now()
    trainings = _BlockTrainings(block, tables, config, features, plan, adapt)
    rates = config.lr_blocks or RATES[adapt.partition(":")[0]]
    missing = [lr for lr in rates if not trainings.is_kept(lr)]
    shared_s = (now() - start) / len(rates)
    rows: list[dict[str, Any]] = []
    predictions, kept_bytes = [], 0
    for lr in rates:
        report = _part_of(on_progress, missing.index(lr), missing) if lr in missing else on_progress
        trained = trainings.train(lr, report, wanted)
        rows.append({**trained.row, "fit_s": shared_s + trained.row["fit_s"]})
        predictions.append(trained.predictions)
        kept_bytes += trained.kept_bytes
        if ranking(rows, config.select)[0] == len(rows) - 1:  # features of the others take memory
            best = trained
    index = ranking(rows, config.select)[0]
    return TrainedBlocks(
        best_index_=index,
        best_estimator_=best.head,
        cv_results_=rows,
        valid_predictions_=np.stack([one["valid"] for one in predictions]),
        test_predictions_=np.stack([one["test"] for one in predictions]),
        tensors=best.tensors,
        splits=best.splits,
        fit_s=sum(row["fit_s"] for row in rows),
        predict_s=best.predict_s,
        kept_bytes=kept_bytes,
        at_edge_=find_edges(rates, index),
    )


def find_edges(rates: Sequence[float], best: int) -> list[str]:
    """Return `["lr"]` if the best of the learning rates is the smallest or the largest; of two, any is."""
    return ["lr"] if len(rates) > 2 and rates[best] in (min(rates), max(rates)) else []


def _part_of(on_progress: Progress, i: int, rates: Sequence[float]) -> Progress:
    """Return what one of several trainings of the same length calls in place of `on_progress`."""

    def report(
        phase: str, done: int, total: int, detail: str = "", unit: str = "", share: float | None = None, /
    ) -> None:
        which = f"learning rate {rates[i]:g}, {detail}" if detail else ""
        on_progress(phase, i * total + done, len(rates) * total, which, unit, share)

    return report


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """What one training ended in."""

    row: dict[str, Any]
    head: Any
    tensors: Tensors
    splits: dict[str, Split]
    predictions: dict[str, npt.NDArray[np.int64]]
    predict_s: float
    kept_bytes: int


class _BlockTrainings:
    """The trainings of a block, which differ in its learning rate alone.

    The class weights of the loss are those that `fc` chooses on the frozen features.
    """

    def __init__(
        self,
        block: str,
        tables: Tables,
        config: RunConfig,
        features: Features,
        plan: ExtractionPlan,
        adapt: str,
    ) -> None:
        assert plan.maps
        self._found, (maps,) = features.extraction, plan.maps.of([block])
        self._block, self._tables, self._features, self._store = block, tables, features, plan.store
        self._adapt, self._weights = adapt, self._found.weights
        self._kept: dict[float, MadeFile | None] = {}
        self._make_rows = RowStorage(plan.store.root, on_disk=plan.from_disk)
        self._recipe = Recipe(
            epochs=config.epochs or EPOCHS,
            batch=min(config.batch_size, BATCH),
            seed=config.seed,
            select=config.select,
            precision=_choose_precision(config, self._found.plan),
            device=self._found.plan.device,
        )
        own, size = self._weights.preprocessing.size, self._found.size
        network = networks.at_size(self._weights.network, self._weights.backbone, size, own)
        cut = cut_at(network, self._weights.backbone, block, size)
        train, valid = features.splits["train"], features.splits["valid"]
        probe = METHODS["fc"].build(config).fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
        self._fitted, self._class_weight = probe.best_estimator_, probe.best_params_["class_weight"]
        self._rest, self._parts = cut.rest, {}
        for split in SPLITS:
            images = self._found.images.in_split(split)
            codes_N = _encode(images.label_N, self._fitted.classes_)
            views = tables if split == "train" else tables[:1]
            self._parts[split] = cached_rows(views, images.ids_N32, codes_N, maps, cut.shapes)

    def is_kept(self, lr: float) -> bool:
        """Return whether an earlier run has trained with this learning rate to the end."""
        self._kept[lr] = self._store.find_made(KIND, self._declare(lr))
        return self._kept[lr] is not None

    def train(self, lr: float, on_progress: Progress, wanted: Sequence[str]) -> _Trained:
        """Train with a learning rate, or take what an earlier run ended in, and compute features of splits."""
        training = self._begin(lr)
        kept = self._kept.get(lr) or finish(
            training, self._store, self._declare(lr), describe_machine(self._found.plan), on_progress
        )
        training.best_tensors, numbers = read_finished(kept.path)
        training.take_best()
        head = training.head.folded(self._fitted)
        splits, predictions = {}, {}
        for split in wanted:
            begun = now(self._recipe.device)
            x_ND = training.features(self._parts[split], self._make_rows)
            predictions[split] = head.predict(x_ND)
            predict_s = now(self._recipe.device) - begun
            splits[split] = Split(x_ND, self._features.splits[split].y_N)
        return _Trained(
            row=self._describe(lr, numbers["best"], numbers["history"], kept.seconds),
            head=head,
            tensors=trained_tensors(training.rest),
            splits=splits,
            predictions=predictions,
            predict_s=predict_s,
            kept_bytes=kept.path.stat().st_size,
        )

    def _begin(self, lr: float) -> Training:
        return Training(
            self._rest,
            Head(len(self._fitted.classes_), self._features.splits["train"].x_ND),
            replace(self._recipe, lr_blocks=lr),
            self._parts["train"],
            self._parts["valid"],
            self._class_weight,
            partial(
                choose_trained,
                adapt=self._adapt,
                weights=list_weights(self._weights.network),
                seed=self._recipe.seed,
            ),
        )

    def _declare(self, lr: float) -> dict[str, Any]:
        return declare(
            self._found,
            f"{self._adapt.partition(':')[0] or 'unfreeze'}:{self._block}",
            ("train", "valid"),
            maps=[table.key for table in self._tables],
            adapt=self._adapt,
            class_weight=self._class_weight,
            recipe=asdict(replace(self._recipe, lr_blocks=lr)),
        )

    def _describe(
        self, lr: float, best: int, history: list[dict[str, Any]], seconds: float
    ) -> dict[str, Any]:
        """Return the row of a training, as a search of the registry has one for each setting."""
        rank, per_epoch = self._adapt.partition(":")[2], -(-len(self._parts["train"]) // self._recipe.batch)
        curve = [
            {"step": i * per_epoch, "loss": one["valid_loss"], **{name: one[name] for name in SCORE_NAMES}}
            for i, one in enumerate(history)
        ]
        return {
            "params": {
                **({"rank": int(rank)} if rank else {}),
                "lr": lr,
                "lr_head": self._recipe.lr_head,
                "weight_decay": self._recipe.weight_decay,
                "class_weight": self._class_weight,
                "epochs": self._recipe.epochs,
                "epoch": best,
                **({"views": len(self._tables)} if len(self._tables) > 1 else {}),
            },
            "same_as": [],
            **{name: history[best][name] for name in SCORE_NAMES},
            "fit_s": seconds,
            "curve": curve_columns(curve[1:]),
        }


def _encode(label_N: npt.NDArray[np.integer], classes_C: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return indices of sorted classes; of labels that are none of them what cross entropy leaves out."""
    code_N = np.searchsorted(classes_C, label_N).clip(max=len(classes_C) - 1)
    codes_N: npt.NDArray[np.int64] = np.where(classes_C[code_N] == label_N, code_N, UNKNOWN)
    return codes_N


def _choose_precision(config: RunConfig, plan: Plan) -> str:
    """Return the precision of the features, but on processors that take longer to train in it than in fp32."""
    is_slow = plan.device == "cpu" and "amx_bf16" not in processor()[1]
    return "fp32" if config.precision == "auto" and is_slow else plan.precision
