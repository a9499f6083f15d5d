"""One network with its weights at one input size: the engines that run it, the tables its features are kept in.

N: images. D: features an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import metadata
from typing import Any

import torch
from torch import nn

from transfer import engines
from transfer.backbones import networks, sources, torchvision_files
from transfer.backbones.flops import count_flops
from transfer.backbones.memory import fit_batch
from transfer.backbones.weights import Weights
from transfer.cache.feature_table import FeatureTable
from transfer.cache.store import MadeFile, Store
from transfer.data import decode, heif, views
from transfer.data.bad_images import BadImages
from transfer.data.batches import batches
from transfer.data.loader import Image, IndexedImages
from transfer.engines import Engine, FeatureRows, Pixels, Plan, autotune, openvino, options
from transfer.engines.autotune import Choice
from transfer.engines.trials import Trial
from transfer.features import maps
from transfer.features.forward import batches_for, check_finite, describe_machine
from transfer.features.map_tables import MapTables
from transfer.features.reading import take_share
from transfer.system.content_ids import Ids, from_hex, to_hex
from transfer.system.errors import UserError
from transfer.system.files import SCHEMA_VERSION
from transfer.system.hardware import processor
from transfer.system.progress import Progress
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import now

# Training images that int8 is calibrated on: one of so many, within limits.
CALIBRATED_OF, LEAST_CALIBRATED, MOST_CALIBRATED = 16, 16, 64
# A sample may leave out bad images, if there are others among so many times as many.
SAMPLED_FROM = 4


@dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
    """A frozen network and what its features are made from and kept in."""

    weights: Weights
    """Those of the network, and the network itself."""
    size: tuple[int, int]
    """Height and width in pixels."""
    images: IndexedImages
    store: Store
    pool: ThreadPoolExecutor
    bad: BadImages
    decoder: str = "pillow"
    """Or `nvjpeg`, for its features; what it is calibrated and tried on is decoded by Pillow all the same."""

    @cached_property
    def network(self) -> nn.Module:
        """The network in torch, on the processor, once it is known to take images of this size."""
        _ = self._activation_bytes
        return self._sized

    @cached_property
    def _sized(self) -> nn.Module:
        from_ = self.weights
        own = from_.preprocessing.size
        return networks.at_size(from_.network, from_.backbone, self.size, own, from_.layers, from_.maps)

    @cached_property
    def _activation_bytes(self) -> int:
        """The bytes that the network's largest operation takes for one image."""
        own = self.weights.preprocessing
        return networks.measure_at_size(self._sized, self.weights.backbone, self.size, own.size)

    @cached_property
    def flops(self) -> int | None:
        """Floating-point operations for one image; None for a network that can't be counted."""
        try:
            return count_flops(self._sized, self.size)
        except Exception:  # an operation without a rule for shapes alone: nothing but a figure is lost
            return None

    def fit_batch(self, plans: Iterable[Plan]) -> dict[Plan, Plan]:
        """Give each plan the largest batch whose forward pass fits into memory; on CUDA that is found by trying.

        Raises
        ------
        UserError
            Where not even one image fits.
        """
        plans = list(plans)
        on_cpu = [plan.batch for plan in plans if plan.device == "cpu"]
        batch = fit_batch(self._activation_bytes, max(on_cpu), self.size) if on_cpu else 0
        return {
            plan: replace(plan, batch=min(batch, plan.batch)) if plan.device == "cpu" else plan
            for plan in plans
        }

    @cached_property
    def calibrated(self) -> MadeFile:
        """Its int8 version, made on training images alone where the store does not have it."""
        train = self.images.in_split("train")
        count = take_share(len(train), CALIBRATED_OF, LEAST_CALIBRATED, MOST_CALIBRATED)
        chosen = train.first_by_id(count)
        declared = {
            **self._declared,
            "images": to_hex(chosen.ids_N32),
            "engine": options.version("openvino"),
            "nncf": metadata.version("nncf"),
        }
        kept = self.store.find_made("calibrated", declared)
        if kept:
            return kept
        start = now()
        ready = batches(chosen, count, self.size, self.pool, self.bad)
        data = openvino.calibrate(self._converted(), [x for _, x in ready])
        return self.store.keep("calibrated", declared, data, now() - start, processor()[0])

    def _converted(self) -> Any:
        return openvino.convert(self.network, self.size, self.weights.normalisation)

    @property
    def calibrated_s(self) -> float | None:
        """Seconds that calibrating took; None if another machine did it."""
        return self.calibrated.seconds if self.calibrated.made_on == processor()[0] else None

    def engine(self, plan: Plan) -> Engine:
        """Build an engine that runs it."""
        calibrated = self.calibrated.path if plan.precision == "int8" else None
        return engines.build(self.network, plan, self.size, calibrated, self.weights.normalisation)

    def choose(
        self,
        left: Mapping[Plan, int],
        x_NHW3: Pixels,
        kept: Iterable[Trial],
        least_cosine: float,
        on_progress: Progress,
    ) -> Choice:
        """Choose one of the plans by trials on some images, as `autotune.choose` does."""
        return autotune.choose(
            tuple(left), left, self.engine, x_NHW3, kept, least_cosine=least_cosine, on_progress=on_progress
        )

    def prepare(self, plan: Plan, engine: Engine | None = None) -> Callable[..., None]:
        """Return `compute` for a plan, with its engine built where there is none yet."""
        return partial(self.compute, engine or self.engine(plan))

    def describe_machine(self, plan: Plan) -> str:
        """Return what seconds of its features depend on."""
        return describe_machine(plan)

    def table(self, plan: Plan) -> FeatureTable:
        """Open the table of its features by `plan`."""
        return self.store.table(self.declare(plan))

    def list_ids(self, plan: Plan) -> Ids:
        """Return the images whose features by `plan` are kept, as far as is known without reading the features."""
        return self.store.list_ids(self.declare(plan))

    def declare(self, plan: Plan) -> dict[str, Any]:
        """Return what its features depend on: the data that their key is made of, never code or a path."""
        return {
            **self._declared,
            "engine": plan.engine,
            "engine_version": options.version(plan.engine),
            "precision": plan.precision,
            "calibrated_sha256": self.calibrated.sha256 if plan.precision == "int8" else None,
        }

    def declare_trials(self, plan: Plan) -> dict[str, Any]:
        """Return what trials of its engines depend on."""
        return {
            **self._declared,
            "openvino": options.version("openvino"),
            "machine": self.describe_machine(plan),
            "batch": plan.batch,
        }

    @property
    def _declared(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            **sources.declare(self.weights.backbone, self.weights.settings),
            **({"layers": list(self.weights.layers)} if self.weights.layers else {}),
            **maps.declare(self.weights.maps),
            "weights_sha256": self.weights.sha256,
            "size": list(self.size),
            **self.weights.normalisation.declared,
            **_declare_decoder(self.decoder),
            **decode.declare_shift(self.images.shift),
            **heif.declare(self.images.has_heif),
            **views.declare(self.images.view),
            **self.images.resizing.declared,
            "torch": torch.__version__,
            "torchvision": torchvision_files.version(),
        }

    def sample(self, images: IndexedImages, count: int) -> Pixels:
        """Decode so many of the images that can be read, equivalent to a random draw: pixels `(N, H, W, 3)`."""
        by_id = images.first_by_id(SAMPLED_FROM * count)
        for _, x_NHW3 in batches(by_id, count, self.size, self.pool, self.bad):
            return x_NHW3
        raise UserError(
            f"none of {len(by_id)} images could be decoded: {next(iter(self.bad.skipped.items()))}"
        )

    def compute(
        self,
        engine: Engine,
        images: IndexedImages,
        table: FeatureTable | MapTables,
        start: float,
        on_progress: Progress,
        *,
        phase: str = "extract",
    ) -> None:
        """Compute features and append them to a table; batches are decoded, computed and written at the same time.

        Parameters
        ----------
        engine : Engine
        images : IndexedImages
        table : FeatureTable or MapTables
        start : float
            When the seconds of the first batch begin, so that all of them make up the whole.
        on_progress : Progress
        phase : str

        Raises
        ------
        UserError
            For an image that can't be read, unless the rule for such says otherwise; what was under way before it is
            kept.
        """
        done = 0
        keeping: Future[str] | None = None

        def keep(batch: list[Image], x_ND: FeatureRows) -> None:
            nonlocal done, keeping, start
            check_finite(x_ND, batch, engine.plan)
            seconds, start = now() - start, now()
            if keeping:
                keeping.result()
            ids_N32 = from_hex([image.id for image in batch])
            keeping = keeper.submit(table.append, ids_N32, x_ND, seconds, describe_machine(engine.plan))
            done += len(batch)
            report(done)

        way = f"{engine.plan.engine} {engine.plan.precision}"

        def report(done: int) -> None:
            on_progress(phase, done, len(images), way, "images")

        report(0)
        with StartedPool(1) as keeper:
            try:  # an image that can't be read ends the run, but not what was under way before it
                engines.run(
                    engine,
                    batches_for(engine.plan, images, self.size, self.decoder, self.pool, self.bad),
                    keep,
                )
            finally:
                if keeping:
                    keeping.result()
        if done < len(images):  # those that can't be read are done with too
            report(len(images))
        table.merge()


def _declare_decoder(decoder: str) -> dict[str, Any]:
    if decoder != "nvjpeg":
        return decode.DECLARED
    from transfer.data import nvjpeg  # torchvision, which takes a second to import

    return nvjpeg.DECLARED
