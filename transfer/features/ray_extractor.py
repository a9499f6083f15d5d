"""A network whose forward passes run on the workers of a Ray cluster; everything else is done in this process.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from transfer.cache.feature_table import FeatureTable
from transfer.data.bad_images import BadImages
from transfer.data.loader import IndexedImages
from transfer.engines import Engine, Pixels, Plan
from transfer.engines.autotune import Choice
from transfer.engines.trials import Trial
from transfer.features.extractor import FeatureExtractor
from transfer.features.ray_pool import WorkerPool
from transfer.features.ray_schedule import Schedule, Work
from transfer.features.ray_worker import Done, WorkerSetup
from transfer.features.units import compact, divide
from transfer.system.progress import Progress


@dataclass(frozen=True, kw_only=True)
class RayExtractor(FeatureExtractor):
    """A `FeatureExtractor` that has its workers choose engines and compute."""

    workers: WorkerPool
    _machines: dict[Plan, str] = field(default_factory=dict)

    @cached_property
    def _recipe(self) -> list[Any]:
        own = {one.name: getattr(self, one.name) for one in fields(FeatureExtractor) if one.name != "pool"}
        own |= {
            "weights": self.weights.with_network(),
            "images": self.images[:0],  # what is said of the whole set
            "bad": BadImages(self.bad.root, self.bad.rule),
        }
        calibrated = self.__dict__.get("calibrated")
        return self.workers.put(
            WorkerSetup(
                folder=str(Path.cwd()),
                fields=own,
                calibrated=calibrated and replace(calibrated, lock=None),
            )
        )

    def describe_machine(self, plan: Plan) -> str:
        """Return what seconds of a worker depend on; of several kinds of machines, that of one."""
        if plan not in self._machines:
            self._machines[plan] = self.workers.ask("machine", plan)
        return self._machines[plan]

    def fit_batch(self, plans: Iterable[Plan]) -> dict[Plan, Plan]:
        """Give each plan the largest batch whose forward pass fits into the memory of a worker's machine."""
        _ = self.network  # takes images of this size
        fitting: dict[Plan, Plan] = self.workers.ask("fit_batch", self._recipe, list(plans))
        return fitting

    def choose(
        self,
        left: Mapping[Plan, int],
        x_NHW3: Pixels,
        kept: Iterable[Trial],
        least_cosine: float,
        on_progress: Progress,
    ) -> Choice:
        """Choose one of the plans by trials on a worker; set-up is weighed against a worker's share of the images."""
        share = {plan: max(1, count // self.workers.size) for plan, count in left.items()}
        found: Choice = self.workers.ask("choose", self._recipe, share, x_NHW3, list(kept), least_cosine)
        return found

    def prepare(self, plan: Plan, engine: Engine | None = None) -> Callable[..., None]:
        """Return what computes by a plan, once a worker has its engine; the others build theirs meanwhile."""
        self.workers.begin("prepare", *self._prepared(plan))
        self.workers.ask("prepare", *self._prepared(plan))
        return partial(self._compute, plan)

    def _prepared(self, plan: Plan) -> tuple[list[Any], Plan, dict[str, Any]]:
        return self._recipe, plan, self.declare(plan)

    def _compute(
        self,
        plan: Plan,
        images: IndexedImages,
        table: FeatureTable,
        start: float,
        on_progress: Progress,
        *,
        phase: str = "extract",
    ) -> None:
        """Compute features as `compute` does; what a worker has written is found in the table by its name."""
        units = [images[part] for part in divide(images, plan.batch, self.workers.size)]
        at_work = min(self.workers.size, len(units))
        done, way = 0, f"{plan.engine} {plan.precision} on {at_work} worker{'s' * (at_work > 1)}"

        def left(number: int) -> IndexedImages | None:
            """Select what of a unit the table lacks."""
            table.look_again()
            unit = units[number]
            unit = unit.select(~table.holds(unit.ids_N32))
            return compact(unit) if unit else None

        def take(number: int, found: Done | None) -> None:
            nonlocal done
            if found:
                self.bad.skipped.update(found.skipped)
                table.look_again([found.shard] if found.shard else [])
                lacking = int((~table.holds(units[number].ids_N32)).sum()) - len(found.skipped)
                if found.error:
                    raise found.error
                if lacking > 0:
                    raise RuntimeError(
                        f"{lacking} rows that {found.machine} wrote are not in the store here; all machines must share "
                        "its folder"
                    )
            done += len(units[number])
            on_progress(phase, done, len(images), way, "images")

        on_progress(phase, 0, len(images), way, "images")
        table.look_again()
        work = Work(
            units=len(units),
            prepared=self._prepared(plan),
            images=lambda number: compact(units[number]),
            left=left,
            take=take,
            describe=lambda number: f"{len(units[number])} images from {units[number][0].path} on",
        )
        try:
            Schedule(self.workers, work).run()
        finally:
            table.merge()
