"""The method `fc-lab-uncached`: images read in each epoch, last layers trained, features of the network as it ends.

N: images. D: features an image.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transfer import engines
from transfer.backbones import networks
from transfer.backbones.memory import check_batch
from transfer.backbones.pixels import FromPixels
from transfer.config import UNCACHED, RunConfig
from transfer.data.bad_images import BadImages
from transfer.data.loader import IndexedImages
from transfer.data.random_splits import SPLITS
from transfer.engines import Engine
from transfer.features.extract import Features, Split
from transfer.features.fill import Extraction
from transfer.features.forward import batches_for, check_finite, describe_machine
from transfer.features.plan import ExtractionPlan
from transfer.finetuning.checkpoints import finish, read_finished
from transfer.finetuning.trained import TrainedBlocks, declare
from transfer.finetuning.uncached import Places, Protocol, UncachedTraining
from transfer.heads.linear_probe_classifier import FineTune
from transfer.heads.registry import METHODS
from transfer.heads.solutions import ranking, validation_scores
from transfer.system.progress import Progress
from transfer.system.row_storage import RowStorage, without_subnormals
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import Stopwatch, now


def train_uncached(
    config: RunConfig,
    features: Features,
    plan: ExtractionPlan,
    watch: Stopwatch,
    on_progress: Progress,
    wanted: Sequence[str],
) -> TrainedBlocks:
    """Train last layers by the protocol of `fc-lab` while the network before them runs in train mode.

    Parameters
    ----------
    config : RunConfig
    features : Features
        Of the network in eval mode.
    plan : ExtractionPlan
        Of `config`.
    watch : Stopwatch
        Gets the phases `train` and `extract again`.
    on_progress : Progress
    wanted : sequence of str
        Splits whose features are computed: `valid` and `test` at least.

    Returns
    -------
    TrainedBlocks

    Raises
    ------
    UserError
        Where memory does not suffice.
    """
    found, lab = features.extraction, METHODS["fc-lab"].build(config).get_params()
    protocol = Protocol(
        lr=tuple(lab["lr"]),
        epochs=lab["epochs"],
        batch=lab["batch_size"],
        seed=lab["seed"],
        precision=config.precision if config.precision in ("bf16", "fp16") else "fp32",
    )
    images = {split: found.images.in_split(split) for split in SPLITS}
    classes, codes_N = np.unique(images["train"].label_N, return_inverse=True)
    network = _copy_network(found, min(protocol.batch, len(codes_N)))
    with StartedPool(found.plan.threads) as pool:
        bad = BadImages(None, "error")  # all of them could be read before

        def pixels(order: Places) -> Iterator[torch.Tensor]:
            batched = replace(found.plan, batch=protocol.batch)
            ready = batches_for(batched, images["train"].select(order), found.size, found.decoder, pool, bad)
            return (torch.as_tensor(x_NHW3) for _, x_NHW3 in ready)

        training = UncachedTraining(
            network.to(found.plan.device), features.x_ND.shape[1], pixels, codes_N.astype(np.int64), protocol
        )
        with watch("train"):
            declared = declare(found, UNCACHED, ("train",), protocol=asdict(protocol))
            kept = finish(training, plan.store, declared, describe_machine(found.plan), on_progress)
            training.take(read_finished(kept.path)[0])
        with watch("extract again"):
            engine = engines.build(
                network.network.cpu(), found.plan, found.size, None, found.weights.normalisation
            )
            make_rows = RowStorage(plan.store.root, on_disk=plan.from_disk)
            splits, seconds = {}, {}
            for split in wanted:
                start = now(found.plan.device)
                x_ND = make_rows((len(images[split]), features.x_ND.shape[1]))
                _extract(engine, images[split], found, pool, bad, x_ND)
                splits[split] = Split(x_ND, features.splits[split].y_N)
                seconds[split] = now(found.plan.device) - start
    return _score(
        training,
        protocol,
        config,
        classes,
        splits,
        fit_s=kept.seconds + seconds["valid"],
        predict_s=seconds["test"],
        kept_bytes=kept.path.stat().st_size,
    )


def _copy_network(found: Extraction, batch: int) -> FromPixels:
    """Copy the network; raise `UserError` where a batch does not fit into memory."""
    weights = found.weights
    own = weights.preprocessing.size
    network = networks.at_size(weights.network, weights.backbone, found.size, own)
    if found.plan.device == "cpu":  # batch norm takes the statistics of a whole batch: it can't be divided
        image_bytes = networks.measure_at_size(network, weights.backbone, found.size, own)
        check_batch(image_bytes, batch, found.size)
    copied = FromPixels(copy.deepcopy(network), weights.normalisation)
    return copied.to(memory_format=torch.channels_last)


def _extract(
    engine: Engine,
    images: IndexedImages,
    found: Extraction,
    pool: ThreadPoolExecutor,
    bad: BadImages,
    out_ND: npt.NDArray[np.float32],
) -> None:
    """Compute features `(N, D)` of images by the engine of the run."""
    end = 0

    def take(batch: Any, x_BD: npt.NDArray[np.float32]) -> None:
        nonlocal end
        check_finite(x_BD, batch, found.plan)
        out_ND[end : end + len(x_BD)] = x_BD
        end += len(x_BD)

    engines.run(engine, batches_for(found.plan, images, found.size, found.decoder, pool, bad), take)
    assert end == len(out_ND)
    without_subnormals(out_ND, in_place=True)


def _score(
    training: UncachedTraining,
    protocol: Protocol,
    config: RunConfig,
    classes: npt.NDArray[Any],
    splits: dict[str, Split],
    *,
    fit_s: float,
    predict_s: float,
    kept_bytes: int,
) -> TrainedBlocks:
    valid, rows, estimators, predictions = splits["valid"], [], [], []
    for lr, layer in zip(protocol.lr, training.layers, strict=True):
        one = FineTune(
            lr=lr,
            epochs=protocol.epochs,
            batch_size=protocol.batch,
            standardize=False,
            seed=protocol.seed,
            device=config.device,
        )
        one.coef_, one.intercept_ = (value.detach().cpu().numpy() for value in layer.parameters())
        one.classes_, one.n_features_in_ = classes, valid.x_ND.shape[1]
        estimators.append(one)
        predictions.append(one.predict(valid.x_ND))
        scores = validation_scores(valid.y_N, predictions[-1])
        params = {"lr": lr, "weight_decay": 0.0, "class_weight": None}
        rows.append({"params": params, "same_as": [], **scores, "fit_s": fit_s / len(protocol.lr)})
    best = ranking(rows, config.select)[0]
    return TrainedBlocks(
        best_index_=best,
        best_estimator_=estimators[best],
        cv_results_=rows,
        valid_predictions_=np.stack(predictions),
        test_predictions_=np.stack([one.predict(splits["test"].x_ND) for one in estimators]),
        tensors={key: value.cpu() for key, value in training.statistics.items()},
        splits=splits,
        fit_s=fit_s,
        predict_s=predict_s,
        kept_bytes=kept_bytes,
    )
