"""A worker of a cluster: a network kept ready in a process, and units of images that become shards of the store.

N: images. D: features an image.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from transfer.system import hardware
from transfer.system.errors import ServerError, UserError
from transfer.system.thread_pools import StartedPool

if TYPE_CHECKING:
    from transfer.data.loader import IndexedImages
    from transfer.engines import Engine, FeatureRows, Pixels, Plan
    from transfer.engines.autotune import Choice
    from transfer.engines.trials import Trial
    from transfer.features.extractor import FeatureExtractor


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker makes its extractor from."""

    folder: str
    """That relative paths are relative to."""
    fields: dict[str, Any]
    """Of the extractor, less its threads."""
    calibrated: Any
    """The int8 version of the network, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a unit."""

    shard: str | None
    """Name of the file in the folder of the table; None where no image of the unit could be read."""
    machine: str
    skipped: Mapping[str, str]
    """Images left out: name and reason."""
    error: UserError | None
    """What ended it early; the rows before that are in the shard."""


class Worker:
    """A process with a network.

    Parameters
    ----------
    threads : int
        For decoding and for the forward pass.
    """

    def __init__(self, threads: int) -> None:
        hardware.sleep_at_barriers()
        import torch

        torch.set_num_threads(threads)
        self._threads = threads
        self._pool = StartedPool(threads)
        self._made: tuple[Any, FeatureExtractor] | None = None
        self._engines: dict[Plan, Engine] = {}

    def call(self, name: str, *args: Any) -> tuple[Any, UserError | None]:
        """Call a method; a mistake of the user's is returned, what this machine does wrong is raised."""
        try:
            return getattr(self, name)(*args), None
        except UserError as error:
            _raise_of_machine(error)
            return None, error

    def list_options(self, engine: str, precision: str, device: str) -> tuple[Plan, ...]:
        """List the ways to compute that this machine has."""
        from transfer.engines import options

        found = options.list_options(engine, precision, device)
        return tuple(replace(plan, threads=self._threads) for plan in found)

    def machine(self, plan: Plan) -> str:
        """Return what seconds of this machine depend on."""
        from transfer.features.forward import describe_machine

        return describe_machine(plan)

    def fit_batch(self, recipe: list[Any], plans: list[Plan]) -> dict[Plan, Plan]:
        """Give each plan the largest batch that fits into the memory of this machine."""
        return self._extractor(recipe).fit_batch(plans)

    def choose(
        self, recipe: list[Any], left: dict[Plan, int], x_NHW3: Pixels, kept: list[Trial], least_cosine: float
    ) -> Choice:
        """Choose a plan by trials on this machine."""
        from transfer.system.progress import silent

        found = self._extractor(recipe).choose(left, x_NHW3, kept, least_cosine, silent)
        if found.engine:
            self._engines = {found.plan: found.engine}
        return replace(found, engine=None)

    def prepare(self, recipe: list[Any], plan: Plan, declared: dict[str, Any]) -> None:
        """Build the engine of a plan.

        Raises
        ------
        UserError
            If features made here would not be those that are declared.
        """
        own = self._extractor(recipe).declare(plan)
        for name in sorted(own.keys() | declared.keys()):
            if own.get(name) != declared.get(name):
                raise UserError(
                    f"features made on {platform.node()} would be others: its {name} is {own.get(name)}, here it is "
                    f"{declared.get(name)}; install the same versions on all machines"
                )
        self._engine(recipe, plan)

    def compute(self, recipe: list[Any], plan: Plan, images: IndexedImages) -> Done:
        """Compute the features of a unit and write them as one shard, the rows before an error too."""
        import numpy as np

        from transfer import engines
        from transfer.data.bad_images import BadImages
        from transfer.features.forward import batches_for, check_finite
        from transfer.system.content_ids import from_hex
        from transfer.system.timer import now

        extractor, engine = self._extractor(recipe), self._engine(recipe, plan)
        bad = BadImages(extractor.bad.root, extractor.bad.rule)
        ids: list[str] = []
        rows: list[FeatureRows] = []
        start, shard, failed = now(plan.device), None, None

        def take(batch: list[Any], x_ND: FeatureRows) -> None:
            check_finite(x_ND, batch, plan)
            ids.extend(image.id for image in batch)
            rows.append(x_ND)

        try:
            engines.run(
                engine,
                batches_for(plan, images, extractor.size, extractor.decoder, self._pool, bad),
                take,
            )
        except UserError as error:
            failed = error
        seconds = now(plan.device) - start
        if rows:
            table = extractor.store.table(extractor.declare(plan), read=False)
            shard = table.append(from_hex(ids), np.concatenate(rows), seconds, self.machine(plan))
        if failed:
            _raise_of_machine(failed)
        return Done(shard=shard, machine=platform.node(), skipped=bad.skipped, error=failed)

    def _extractor(self, recipe: list[Any]) -> FeatureExtractor:
        """Make the extractor of a recipe; a list holds the reference to it, so that it is fetched but once."""
        (reference,) = recipe
        if self._made is None or self._made[0] != reference:
            import ray

            from transfer.features.extractor import FeatureExtractor

            found: WorkerSetup = ray.get(reference)
            with contextlib.suppress(OSError):  # then all paths are whole, or images are not found
                os.chdir(found.folder)
            extractor = FeatureExtractor(pool=self._pool, **found.fields)
            if found.calibrated:
                extractor.__dict__["calibrated"] = found.calibrated
            self._made, self._engines = (reference, extractor), {}
        return self._made[1]

    def _engine(self, recipe: list[Any], plan: Plan) -> Engine:
        extractor = self._extractor(recipe)
        if plan not in self._engines:
            self._engines = {}  # each holds a network's weights and its working memory
            self._engines[plan] = extractor.engine(plan)
        return self._engines[plan]


def _raise_of_machine(error: UserError) -> None:
    """Raise what a disk, a mount or the network of this machine did: the unit is tried again, maybe elsewhere."""
    if any(isinstance(fault, (OSError, ServerError)) for fault in (error, error.__cause__)):
        raise RuntimeError(str(error)) from error
