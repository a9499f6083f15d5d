"""One run: images to features, every method searched and scored, and what the comparison says."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from transfer.config import RunConfig
from transfer.data.dataset import ImageSet
from transfer.data.loader import IndexedImages
from transfer.data.random_splits import SPLITS
from transfer.data.thumbnails import make_thumbnail
from transfer.data.user_paths import check_output
from transfer.evaluation import data_summary, extraction_summary, predictions, suspects
from transfer.evaluation.comparison import compare_methods
from transfer.evaluation.fitting import (
    FittedSearch,
    LeftOut,
    fit_in_turn,
    older_objects_kept,
    transform_features,
)
from transfer.evaluation.network_methods import NetworkMethods, list_methods
from transfer.evaluation.results import Result
from transfer.evaluation.scoring import score_method
from transfer.evaluation.settings import describe_settings
from transfer.features.extract import Features, find_features
from transfer.features.image_sets import features_are_given
from transfer.features.plan import ExtractionPlan, plan_extraction
from transfer.features.reading import ReadImages
from transfer.heads.registry import METHODS, check_methods, default_methods
from transfer.heads.threads import limited_threads
from transfer.heads.transforms import Step, on_raw_features
from transfer.serving import bundle
from transfer.system import files, hardware
from transfer.system.errors import UserError
from transfer.system.progress import Progress, reported, silent
from transfer.system.text import as_written, first_line
from transfer.system.timer import Stopwatch

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A finished comparison: its result, and what it can be kept with."""

    config: RunConfig
    result: Result
    image_set: ImageSet
    features: Features
    fitted: dict[str, FittedSearch]
    steps: Sequence[Step] = ()
    """What transforms features before every head; `features` are transformed."""

    @cached_property
    def result_json(self) -> str:
        """The text of the result file."""
        return self.result.to_json()

    def save_models(self, folder: Path) -> None:
        """Write the network and the heads, in place of those of an earlier run; raises `ModelsNotSaved`.

        A model without a network could name no class of an image: of features that were given there is none.
        """
        if self.features.given:
            bundle.remove(folder)
            return
        heads = {
            name: (
                self.result.method(name),
                on_raw_features(one.search.best_estimator_, () if one.splits else self.steps),
                one.calibration,
            )
            for name, one in self.fitted.items()
        }
        bundle.save(
            folder,
            self.config,
            self.features.extraction,
            heads,
            {name: one.search.tensors for name, one in self.fitted.items() if one.splits},
            fingerprint=self.result.data["fingerprint"],
            result_sha256=files.sha256(self.result_json.encode()),
        )

    def save_predictions(self, path: Path) -> None:
        """Write `predictions.csv`: every method's label and score for every image."""
        images, groups = self.features.images, self.image_set.groups
        parts = {split: images.in_split(split) for split in SPLITS}
        predictions.write(
            path,
            self.features.splits,
            {split: part.samples.names for split, part in parts.items()},
            {split: _group_names(part, groups) for split, part in parts.items()},
            self.image_set.classes,
            self._predict,
        )

    def test_answers(self) -> Iterator[tuple[str, str, str, str, str, float]]:
        """Yield file, group, label, method, its label and how sure it is: the test images of each method in turn."""
        part, classes = self.features.images.in_split("test"), self.image_set.classes
        split, groups = self.features.splits["test"], _group_names(part, self.image_set.groups)
        for method, predict in self._predict.items():
            labels_N, scores_N = predict("test", split.x_ND)
            for file, group, own, label, score in zip(
                part.samples.names, groups, split.y_N, labels_N, scores_N, strict=True
            ):
                yield file, group, classes[own], method, classes[label], float(score)

    @property
    def _predict(self) -> dict[str, predictions.Predict]:
        """By method, a function of a split and its features: labels, and how sure the method is of each."""
        return {name: one.answer for name, one in self.fitted.items() if one.calibration}

    def thumbnail(self, file: str) -> bytes | None:
        """Return a small JPEG of an image, by its file as `predictions.csv` names it; None of given features."""
        if self.features.given:
            return None
        image = self.features.images[self._places[as_written(file)]]
        return make_thumbnail(image, image.size)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {as_written(name): i for i, name in enumerate(self.features.images.samples.names)}


def run(
    config: RunConfig,
    on_progress: Progress = silent,
    *,
    models: Path | None = None,
    force: bool = False,
) -> Result:
    """Compare the methods of `config` on its images, and save them where a folder for models is given.

    Parameters
    ----------
    config : RunConfig
    on_progress : Progress
    models : Path, optional
        Folder for the network and the heads.
    force : bool
        Whether models of other data or another network in `models` may be replaced.

    Raises
    ------
    UserError
        For what a user can mend; `ModelsNotSaved` where only saving failed.

    Examples
    --------
    >>> from transfer import RunConfig, run
    >>> result = run(RunConfig(data="features.npz", methods=("knn",), repeats=0))
    >>> result.comparison["best"]
    'knn'
    """
    if models:
        check_folders(config, models, models, force=force)
    done = compare(config, on_progress)
    if models and done.features.given:
        log.warning("no models are saved: there is no network to compute features of new images")
    elif models:
        try:
            done.save_models(models)
        except bundle.ModelsNotSaved as error:
            error.result = done.result
            raise
    return done.result


def check_folders(config: RunConfig, out: Path, models: Path, *, force: bool) -> None:
    """Check that a folder does not lie among the images, and that models may be written to another one.

    Raises
    ------
    UserError
        Without `force` also where there are models of other data or another network.
    """
    check_output(config.data, out)
    if not force:
        bundle.check_replaceable(models, config, argument="models" if models == out else "out")


def compare(
    config: RunConfig,
    on_progress: Progress = silent,
    images: ImageSet | ReadImages | None = None,
    plan: ExtractionPlan | None = None,
) -> Experiment:
    """Compare the methods of `config`, whose images and plan the caller may have found; raises `UserError`."""
    names = config.methods or default_methods()
    check_methods(names)
    load_before, watch = hardware.load(), Stopwatch()
    if plan is None and not features_are_given(config):
        plan = plan_extraction(config)
    image_set, features = find_features(config, watch, on_progress, images=images, plan=plan)
    with limited_threads(features.threads), older_objects_kept():
        contention = hardware.CpuContention()
        left_out = LeftOut(alone=len([*names, *list_methods(config)]) == 1)
        raw, steps = features, tuple[Step, ...]()
        if config.transform:
            with watch("transform"), reported(on_progress, "transform"):
                features, steps = transform_features(raw, config.transform)
        fitted = _fit_all(names, config, features, watch, left_out, on_progress)
        trained = NetworkMethods(config, raw, plan)
        fitted |= trained.fit(watch, left_out, on_progress)
        taken = contention.share(hardware.usable_cores())
        methods = []
        scored = list(fitted)
        for i, name in enumerate(scored):
            on_progress("score", i, len(scored), name)
            try:
                methods.append(score_method(name, fitted[name], features, watch))
            except Exception as error:  # prediction may need more memory than the fit
                left_out(name, error)
                del fitted[name]
        on_progress("score", len(scored), len(scored))
        if not fitted:
            raise UserError("no method can be fitted to these images; the lines above say why")
        comparison = compare_methods(
            methods, fitted, config, image_set, features, trained, watch, on_progress
        )
        comparison["left_out"] = left_out.reasons
        with watch("check labels"), reported(on_progress, "check labels"):
            comparison["suspects"] = _find_suspects(config, raw)
        with watch("describe data"), reported(on_progress, "describe data"):
            data = data_summary.describe(image_set, raw)
    source = extraction_summary.describe(raw)
    result = Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=describe_settings(config, fitted),
        data=data,
        backbone=source["backbone"],
        engine=source["engine"],
        features=source["features"],
        environment={
            **hardware.describe(),
            "load_before": load_before,
            "contention": taken,
            "busy": taken is not None and taken > hardware.BUSY,
        },
        methods=methods,
        comparison=comparison,
        seconds={**watch.seconds, "total": watch.total()},
    )
    return Experiment(
        config=config, result=result, image_set=image_set, features=features, fitted=fitted, steps=steps
    )


def _fit_all(
    names: Sequence[str],
    config: RunConfig,
    features: Features,
    watch: Stopwatch,
    left_out: LeftOut,
    on_progress: Progress,
) -> dict[str, FittedSearch]:
    """Fit all methods; one that fails is left out."""
    # Building a method imports its library, which is no part of a fit.
    unfitted = {name: METHODS[name].build(config) for name in names}
    return fit_in_turn(unfitted, features.splits, watch, left_out, on_progress)


def _find_suspects(config: RunConfig, features: Features) -> dict[str, Any] | None:
    """Find the labels to look at; None where that fails."""
    try:
        return suspects.find_suspects(features, seed=config.seed)
    except (ArithmeticError, MemoryError, RuntimeError) as error:  # it costs this list alone
        log.warning("labels are not checked: %s", first_line(error))
        return None


def _group_names(images: IndexedImages, names: Sequence[str]) -> list[str]:
    if images.group_N is None:
        return [""] * len(images)
    return [names[group] for group in images.group_N]
