"""One run: images to features, every method searched and scored, and what the comparison says."""

from __future__ import annotations

import itertools
import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from transfer import environment, images, lagoon, leases, metrics, model_files
from transfer.config import BUILT_IN, RunConfig, UserError, check_choice
from transfer.evaluation.significance import mcnemar
from transfer.evaluation.statistics import measure_change, score
from transfer.extract import Extraction, Features, Split, check, extract
from transfer.heads import METHODS, Method
from transfer.heads.selection import ranking
from transfer.images import SPLITS, ImageSet
from transfer.reading import Progress
from transfer.results import Result
from transfer.store import Store
from transfer.timing import Stopwatch

# Fits and predictions shorter than this are repeated; of a longer one, one is enough and dear enough.
REPEATED_BELOW_S, REPEATS = 0.5, 3
OTHERS_NAMED = 20
# Bad images that a result names: a million of them would make a file larger than any that is read again.
SKIPPED_KEPT = 5_000

log = logging.getLogger(__name__)


def run(config: RunConfig, on_progress: Progress = lambda *_: None, *, models: Path | None = None) -> Result:
    """Compare the methods of `config` on its images; the network and the heads are kept in the folder `models`.

    Raises `UserError` for what a user can mend.
    """
    names = config.methods or tuple(METHODS)
    for name in names:
        check_choice("--methods", name, METHODS)
    check(config)
    load_before, watch = environment.load(), Stopwatch()
    image_set = find_images(config, watch, on_progress)
    features = extract(config, image_set, watch, on_progress)
    extraction = features.extraction
    # Libraries that see a whole host where a container gives two cores would start a thread for each.
    with threadpool_limits(extraction.plan.threads):
        fitted = _fit_all(names, config, features, watch)
    predictions = {name: method.predicted_N for name, method in fitted.items()}
    methods = [method.entry for method in fitted.values()]
    if models:
        with watch("save"):
            heads = {name: (method.entry, method.head) for name, method in fitted.items()}
            model_files.save(models, config, extraction, heads)
    seconds = {**watch.seconds, "total": watch.total()}
    return Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config={
            "methods": list(fitted),
            "select": config.select,
            "seed": config.seed,
            "lr": list(config.lr),
            "epochs": config.epochs,
            "batch_size": config.batch_size,
        },
        data=_data(image_set, features),
        backbone={
            "name": config.backbone,
            "weights": extraction.weights.source,
            "weights_sha256": extraction.weights.sha256,
            "input_size": list(extraction.size),
            "feature_dim": features.splits["train"].x_ND.shape[1],
        },
        engine=_engine(features),
        environment={**environment.describe(), "load_before": load_before},
        features=_features(extraction),
        methods=methods,
        comparison=_compare(methods, predictions, features, config.select),
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A method's entry of the result file, what it predicts for the test split, and the head that was chosen."""

    entry: dict[str, Any]
    predicted_N: metrics.Labels
    head: Any


def _fit_all(
    names: Sequence[str], config: RunConfig, features: Features, watch: Stopwatch
) -> dict[str, _Fitted]:
    """What `_fit` gives for each method; one that refuses these images is left out, unless the user named it."""
    fitted = {}
    for name in names:
        try:
            fitted[name] = _fit(METHODS[name], config, features, watch)
        except UserError as error:
            if config.methods:
                raise
            log.warning("%s is left out: %s", name, error)
    return fitted


def find_images(config: RunConfig, watch: Stopwatch, on_progress: Progress) -> ImageSet:
    """The image set of `config`; the built-in one is drawn into the store the first time."""
    if config.data != BUILT_IN:
        return images.find(Path(config.data), seed=config.seed)
    with watch("draw"):
        folder = Store(config.store).folder(BUILT_IN)
        lease = leases.hold_new(folder)
        leases.mark(folder)
        root = lagoon.make(folder, on_progress=lambda done, total: on_progress("drawing", done, total))
    return replace(images.find(root), name=BUILT_IN, lease=lease)


def _features(extraction: Extraction) -> dict[str, Any]:
    return {
        "key": extraction.shelf.key,
        "images": len(extraction.images),
        "computed": extraction.computed,
        "reused": extraction.reused,
        "images_per_s": extraction.computed / extraction.extract_s if extraction.computed else None,
        "seconds": extraction.extract_s,
        "cold_seconds": extraction.cold_s,
        "damaged_shards": len(extraction.shelf.damaged),
    }


def _engine(features: Features) -> dict[str, Any]:
    plan, picked = features.extraction.plan, features.extraction.picked
    return {
        "name": plan.engine,
        "precision": plan.precision,
        "device": plan.device,
        "decoder": features.extraction.decoder,
        "threads": plan.threads,
        "batch": plan.batch,
        "reason": picked.reason,
        "trials": [asdict(trial) for trial in picked.trials],
        "cosine_with_fp32": _close(features.coarse, features.exact),
    }


def _close(coarse: Split | None, exact: Split | None) -> dict[str, Any] | None:
    if coarse is None or exact is None:
        return None
    cosine_N = metrics.cosines(coarse.x_ND, exact.x_ND)
    return {"images": len(cosine_N), "min": float(cosine_N.min()), "median": float(np.median(cosine_N))}


def _fit(method: Method, config: RunConfig, features: Features, watch: Stopwatch) -> _Fitted:
    """A method's search on training and validation rows, scored on the test split."""
    train, valid, test = (features.splits[split] for split in SPLITS)
    unfitted = method.build(config)  # imports its library, which is no part of a fit
    search, fit_s = _repeated(
        lambda: clone(unfitted).fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N), watch, "fit"
    )
    predicted_N, predict_s = _repeated(lambda: search.predict(test.x_ND), watch, "predict")
    with watch("score"):
        sweep = [
            {
                "params": row["params"],
                "valid": score(valid.y_N, on_valid_N, features.extraction.classes),
                "test": score(test.y_N, on_test_N, features.extraction.classes),
                "fit_s": row["fit_s"],
            }
            for row, on_valid_N, on_test_N in zip(
                search.cv_results_,
                search.predict_each(valid.x_ND),
                search.predict_each(test.x_ND),
                strict=True,
            )
        ]
    entry = {
        "name": method.name,
        "kind": method.kind,
        "summary": method.summary,
        "best_params": search.best_params_,
        "sweep": sweep,
        "valid": score(valid.y_N, search.predict(valid.x_ND), features.extraction.classes),
        "test": score(test.y_N, predicted_N, features.extraction.classes),
        "fit_s": statistics.median(fit_s),
        "fit_seconds": fit_s,
        "predict_s": statistics.median(predict_s),
        "predict_seconds": predict_s,
        "int8_against_fp32": None
        if features.exact is None or features.coarse is None
        else measure_change(
            features.exact.y_N,
            search.predict(features.exact.x_ND),
            search.predict(features.coarse.x_ND),
        ),
    }
    return _Fitted(entry=entry, predicted_N=predicted_N, head=search.best_estimator_)


def _repeated(call: Callable[[], Any], watch: Stopwatch, phase: str) -> tuple[Any, list[float]]:
    """What `call` returns, and its seconds; short ones are timed again, the first then being a warm-up.

    A first call of a few milliseconds is mostly threads being started.
    """
    with watch(phase):
        returned = call()
    if watch.last(phase) > REPEATED_BELOW_S:
        return returned, [watch.last(phase)]
    for _ in range(REPEATS):
        with watch(phase):
            returned = call()
    return returned, watch.seconds[phase][-REPEATS:]


def _compare(
    methods: list[dict[str, Any]], predictions: dict[str, metrics.Labels], features: Features, select: str
) -> dict[str, Any]:
    """Which method did best on the *validation* split, of all and of each kind, and every pair's test."""
    y_N = features.splits["test"].y_N
    ranked = [methods[i] for i in ranking([method["valid"] for method in methods], select)]
    kinds = {method["kind"]: method["name"] for method in reversed(ranked)}
    return {
        "select": select,
        "best": ranked[0]["name"],
        "best_of_kind": kinds,
        "pairs": [
            {"a": a, "b": b, "mcnemar_p": mcnemar(y_N, predictions[a], predictions[b])}
            for a, b in itertools.combinations(predictions, 2)
        ],
    }


def _data(image_set: ImageSet, features: Features) -> dict[str, Any]:
    n_classes, skipped = len(image_set.classes), features.extraction.skipped
    return {
        "name": image_set.name,
        "classes": list(image_set.classes),
        "splits": {
            split: {
                "images": len(part.y_N),
                "per_class": np.bincount(part.y_N, minlength=n_classes).tolist(),
            }
            for split, part in features.splits.items()
        },
        "drawn": list(image_set.drawn),
        "others": {"count": len(image_set.others), "first": list(image_set.others[:OTHERS_NAMED])},
        "test_in_train": features.test_in_train,
        "skipped": [
            {"name": name, "reason": reason}
            for name, reason in itertools.islice(skipped.items(), SKIPPED_KEPT)
        ],
        "skipped_count": len(skipped),
    }
