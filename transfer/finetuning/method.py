"""Methods that train blocks: blocks and last layer trained on cached maps, and the features of all images.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.backbones import networks, sources
from transfer.backbones.blocks import CutNetwork, cut_at
from transfer.backbones.choice import Maps
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
from transfer.finetuning.rows import MapRows, cached_rows
from transfer.finetuning.training import Tensors, Training
from transfer.heads.registry import METHODS
from transfer.system import files
from transfer.system.files import SCHEMA_VERSION
from transfer.system.hardware import processor
from transfer.system.progress import Progress
from transfer.system.timer import now

# Epochs, and images in a step: fewer than of last layers, which cost nothing.
EPOCHS, BATCH = 10, 32


@dataclass(frozen=True, kw_only=True)
class TrainedBlocks:
    """What a training ended in: what a search of the registry has after `fit`, on features of its own."""

    best_estimator_: Any
    """The last layer, for the features of the trained blocks."""
    cv_results_: list[dict[str, Any]]
    valid_predictions_: npt.NDArray[np.int64]
    tensors: Tensors
    """The trained ones, as they are called in the network."""
    splits: dict[str, Split]
    """Features of the trained blocks."""
    fit_s: float
    """Seconds of the training, in whichever runs that was; those of the maps are not among them."""
    predict_s: float
    """Seconds of the test split, from maps to labels."""

    best_index_ = 0
    extended_: dict[str, Any] = field(default_factory=dict)
    at_edge_: list[str] = field(default_factory=list)

    @property
    def best_params_(self) -> dict[str, Any]:
        """The settings that it was trained with, and the epoch that was chosen."""
        params: dict[str, Any] = self.cv_results_[self.best_index_]["params"]
        return params

    def predict(self, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Predict the classes of features of the trained blocks."""
        labels_N: npt.NDArray[np.int64] = self.best_estimator_.predict(x_ND)
        return labels_N

    def predict_each(self, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Predict with every setting: there is one."""
        return self.predict(x_ND)[None]


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
    """Train a block, all that comes after it, and the last layer.

    The class weights of the loss are those that `fc` chooses on the frozen features.

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
    kind, _, rank = adapt.partition(":")
    assert plan.maps
    found, (maps,) = features.extraction, plan.maps.of([block])
    weights = found.weights
    network = networks.at_size(weights.network, weights.backbone, found.size, weights.preprocessing.size)
    cut = cut_at(network, weights.backbone, block, found.size)
    train, valid = features.splits["train"], features.splits["valid"]
    probe = METHODS["fc"].build(config).fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
    fitted, class_weight = probe.best_estimator_, probe.best_params_["class_weight"]
    recipe = Recipe(
        epochs=config.epochs or EPOCHS,
        batch=min(config.batch_size, BATCH),
        seed=config.seed,
        select=config.select,
        precision=_choose_precision(config, found.plan),
        device=found.plan.device,
        **({"lr_blocks": RATES[kind]} if adapt else {}),
    )
    parts = {
        split: _rows(found, tables if split == "train" else tables[:1], maps, cut, split, fitted.classes_)
        for split in SPLITS
    }
    training = Training(
        cut.rest,
        Head(len(fitted.classes_), train.x_ND),
        recipe,
        parts["train"],
        parts["valid"],
        class_weight,
        partial(choose_trained, adapt=adapt, weights=list_weights(weights.network), seed=config.seed),
    )
    probe_s = now() - start
    declared = declare(
        found,
        f"{kind or 'unfreeze'}:{block}",
        ("train", "valid"),
        maps=[table.key for table in tables],
        adapt=adapt,
        class_weight=class_weight,
        recipe=asdict(recipe),
    )
    kept = finish(training, plan.store, declared, made_on(found.plan), on_progress)
    training.best_tensors, numbers = read_finished(kept.path)
    training.take_best()
    head = training.head.folded(fitted)
    seen: dict[str, Split] = {}
    for split in SPLITS:
        begun = now(recipe.device)
        seen[split] = Split(training.features(parts[split]).cpu().numpy(), features.splits[split].y_N)
        head.predict(seen[split].x_ND)
        predict_s = now(recipe.device) - begun
    predicted_N = head.predict(seen["valid"].x_ND)
    history, best = numbers["history"], numbers["best"]
    names = {"step": "step", "loss": "valid_loss", "accuracy": "accuracy", "macro_f1": "macro_f1"}
    steps = [{**one, "step": i * training.steps_per_epoch} for i, one in enumerate(history)][1:]
    row = {
        "params": {
            **({"rank": int(rank)} if rank else {}),
            "lr": recipe.lr_blocks,
            "lr_head": recipe.lr_head,
            "weight_decay": recipe.weight_decay,
            "class_weight": class_weight,
            "epochs": recipe.epochs,
            "epoch": best,
            **({"views": len(tables)} if len(tables) > 1 else {}),
        },
        "same_as": [],
        "accuracy": history[best]["accuracy"],
        "macro_f1": history[best]["macro_f1"],
        "fit_s": probe_s + kept.seconds,
        "curve": {name: [one[key] for one in steps] for name, key in names.items()},
    }
    return TrainedBlocks(
        best_estimator_=head,
        cv_results_=[row],
        valid_predictions_=predicted_N[None],
        tensors=trained_tensors(training.rest),
        splits=seen,
        fit_s=probe_s + kept.seconds,
        predict_s=predict_s,
    )


def _choose_precision(config: RunConfig, plan: Plan) -> str:
    """Return the precision of the features, but on processors that take longer to train in it than in fp32."""
    is_slow = plan.device == "cpu" and "amx_bf16" not in processor()[1]
    return "fp32" if config.precision == "auto" and is_slow else plan.precision


def _rows(
    found: Extraction, tables: Tables, maps: Maps, cut: CutNetwork, split: str, classes: npt.NDArray[Any]
) -> MapRows:
    images = found.images.in_split(split)
    codes_N = np.searchsorted(classes, images.label_N).astype(np.int64)
    return cached_rows(tables, images.ids_N32, codes_N, maps, cut.shapes)


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
