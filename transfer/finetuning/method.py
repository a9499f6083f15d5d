"""Methods that train blocks: blocks and last layer trained on cached maps, and the features of all images.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.backbones import networks, sources
from transfer.backbones.blocks import cut_at
from transfer.config import RunConfig
from transfer.data.dataset import SPLITS
from transfer.engines import Plan
from transfer.features.extract import Features, Split
from transfer.features.fill import Extraction
from transfer.features.fill_maps import Tables
from transfer.features.forward import made_on
from transfer.features.plan import ExtractionPlan
from transfer.finetuning.adaptation import RATES, choose_trained, list_weights, trained_tensors
from transfer.finetuning.checkpoints import finish, read_finished
from transfer.finetuning.head import Head
from transfer.finetuning.recipe import Recipe
from transfer.finetuning.rows import cached_rows
from transfer.finetuning.training import Tensors, Training
from transfer.heads.registry import METHODS
from transfer.heads.solutions import ranking
from transfer.system import files
from transfer.system.files import SCHEMA_VERSION
from transfer.system.hardware import processor
from transfer.system.progress import Progress
from transfer.system.timer import now

# Epochs, and images in a step: fewer than of last layers, which cost nothing.
EPOCHS, BATCH = 10, 32


@dataclass(frozen=True, kw_only=True)
class TrainedBlocks:
    """What trainings ended in: what a search of the registry has after `fit`, on features of its own.

    S: settings, each a training.
    """

    best_index_: int
    best_estimator_: Any
    """The last layer of the best setting, for the features of its blocks."""
    cv_results_: list[dict[str, Any]]
    valid_predictions_: npt.NDArray[np.int64]
    """Of every setting, `(S, N)`."""
    test_predictions_: npt.NDArray[np.int64]
    """Of every setting, `(S, N)`."""
    tensors: Tensors
    """What was trained of the network in the best setting, as it is called there."""
    splits: dict[str, Split]
    """Features of the best setting's blocks."""
    fit_s: float
    """Seconds of all trainings, in whichever runs they were; those of the maps are not among them."""
    predict_s: float
    """Seconds of the test split by the best setting, from maps or images to labels."""
    extended_: dict[str, Any] = field(default_factory=dict)
    at_edge_: list[str] = field(default_factory=list)

    @property
    def best_params_(self) -> dict[str, Any]:
        """The best setting, and the epoch that was chosen."""
        params: dict[str, Any] = self.cv_results_[self.best_index_]["params"]
        return params

    def predict(self, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Predict the classes of features of the best setting's blocks."""
        labels_N: npt.NDArray[np.int64] = self.best_estimator_.predict(x_ND)
        return labels_N

    def predict_each(self, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return what every setting predicts for the test images, whose features differ from setting to setting."""
        return self.test_predictions_


def train_blocks(
    block: str,
    tables: Tables,
    config: RunConfig,
    features: Features,
    plan: ExtractionPlan,
    on_progress: Progress,
    *,
    adapt: str = "",
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
        What of the blocks is trained: `lora:RANK`, `bitfit`, or, by default, all of their parameters.

    Returns
    -------
    TrainedBlocks

    Raises
    ------
    UserError
        For a block that the network can't be cut at, and where memory or disk do not suffice.
    """
    start = now()
    block_training = _BlockTraining(block, tables, config, features, plan, adapt)
    rates = config.lr_blocks or RATES[adapt.partition(":")[0]]
    shared_s, trained = (now() - start) / len(rates), []
    for i, lr in enumerate(rates):
        trained.append(block_training.train(lr, shared_s, _part_of(on_progress, i, rates)))
    rows = [one.row for one in trained]
    best = ranking(rows, config.select)[0]
    is_at_edge = len(rates) > 1 and rates[best] in (min(rates), max(rates))
    return TrainedBlocks(
        best_index_=best,
        best_estimator_=trained[best].head,
        cv_results_=rows,
        valid_predictions_=np.stack([one.head.predict(one.splits["valid"].x_ND) for one in trained]),
        test_predictions_=np.stack([one.head.predict(one.splits["test"].x_ND) for one in trained]),
        tensors=trained[best].tensors,
        splits=trained[best].splits,
        fit_s=sum(row["fit_s"] for row in rows),
        predict_s=trained[best].predict_s,
        at_edge_=["lr"] if is_at_edge else [],
    )


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
    predict_s: float


class _BlockTraining:
    """What the trainings of a block have in common.

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
            codes_N = np.searchsorted(self._fitted.classes_, images.label_N).astype(np.int64)
            views = tables if split == "train" else tables[:1]
            self._parts[split] = cached_rows(views, images.ids_N32, codes_N, maps, cut.shapes)

    def train(self, lr: float, shared_s: float, on_progress: Progress) -> _Trained:
        """Train with a learning rate of the block, or take what an earlier run ended in, and predict all splits."""
        recipe = replace(self._recipe, lr_blocks=lr)
        kind, _, rank = self._adapt.partition(":")
        choose = partial(
            choose_trained,
            adapt=self._adapt,
            weights=list_weights(self._weights.network),
            seed=recipe.seed,
        )
        head = Head(len(self._fitted.classes_), self._features.splits["train"].x_ND)
        train, valid = self._parts["train"], self._parts["valid"]
        training = Training(self._rest, head, recipe, train, valid, self._class_weight, choose)
        declared = declare(
            self._found,
            f"{kind or 'unfreeze'}:{self._block}",
            ("train", "valid"),
            maps=[table.key for table in self._tables],
            adapt=self._adapt,
            class_weight=self._class_weight,
            recipe=asdict(recipe),
        )
        kept = finish(training, self._store, declared, made_on(self._found.plan), on_progress)
        training.best_tensors, numbers = read_finished(kept.path)
        training.take_best()
        layer, splits = training.head.folded(self._fitted), {}
        for split in SPLITS:
            begun = now(recipe.device)
            x_ND = training.features(self._parts[split]).cpu().numpy()
            layer.predict(x_ND)
            predict_s = now(recipe.device) - begun
            splits[split] = Split(x_ND, self._features.splits[split].y_N)
        history, best = numbers["history"], numbers["best"]
        names = {"step": "step", "loss": "valid_loss", "accuracy": "accuracy", "macro_f1": "macro_f1"}
        steps = [{**one, "step": i * training.steps_per_epoch} for i, one in enumerate(history)][1:]
        row = {
            "params": {
                **({"rank": int(rank)} if rank else {}),
                "lr": lr,
                "lr_head": recipe.lr_head,
                "weight_decay": recipe.weight_decay,
                "class_weight": self._class_weight,
                "epochs": recipe.epochs,
                "epoch": best,
                **({"views": len(self._tables)} if len(self._tables) > 1 else {}),
            },
            "same_as": [],
            "accuracy": history[best]["accuracy"],
            "macro_f1": history[best]["macro_f1"],
            "fit_s": shared_s + kept.seconds,
            "curve": {name: [one[key] for one in steps] for name, key in names.items()},
        }
        return _Trained(
            row=row, head=layer, tensors=trained_tensors(training.rest), splits=splits, predict_s=predict_s
        )


def _choose_precision(config: RunConfig, plan: Plan) -> str:
    """Return the precision of the features, but on processors that take longer to train in it than in fp32."""
    is_slow = plan.device == "cpu" and "amx_bf16" not in processor()[1]
    return "fp32" if config.precision == "auto" and is_slow else plan.precision


def declare(found: Extraction, method: str, splits: Sequence[str], **own: Any) -> dict[str, Any]:
    """Return what a training depends on: data alone, as for features.

    Parameters
    ----------
    found : Extraction
        Of the frozen network.
    method : str
    splits : sequence of str
        Those whose images decide how it ends.
    **own
        What else does, of this method.
    """
    images = [found.images.in_split(split) for split in splits]
    arrays = [one for part in images for one in (part.ids_N32, part.label_N)]
    return {
        "schema_version": SCHEMA_VERSION,
        **sources.declare(found.weights.backbone, found.weights.settings),
        "weights_sha256": found.weights.sha256,
        "size": list(found.size),
        "method": method,
        "images": [files.sha256(one.tobytes()) for one in arrays],
        "features": found.table.key,
        "machine": made_on(found.plan),
        **own,
    }
