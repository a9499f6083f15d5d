"""Maps of blocks into the store: what it holds is kept, the rest is computed, for all blocks in one pass.

N: images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transfer.cache.feature_table import FeatureTable
from transfer.data.bad_images import BadImages
from transfer.data.loader import IndexedImages
from transfer.data.views import View
from transfer.features.extractor import FeatureExtractor
from transfer.features.fill import Extraction
from transfer.features.map_tables import MapTables
from transfer.features.maps import check_space, count_bytes, count_numbers, describe, seen_in_views
from transfer.features.placement import placed
from transfer.features.plan import ExtractionPlan
from transfer.system.errors import UserError
from transfer.system.progress import Progress, reported
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import Stopwatch, now

Tables = tuple[FeatureTable, ...]
"""Of one block: the maps of all images, then those of each view."""


def fill_maps(
    blocks: Sequence[str], plan: ExtractionPlan, found: Extraction, on_progress: Progress
) -> dict[str, Tables]:
    """Compute the maps that the store lacks, as the features were computed: by the same engine, at the same size.

    Parameters
    ----------
    blocks : sequence of str
        Some of those of `plan.maps`.
    plan : ExtractionPlan
    found : Extraction
        The features of the whole network.
    on_progress : Progress

    Returns
    -------
    dict of str to tuple of FeatureTable
        By block.

    Raises
    ------
    UserError
        For a block that the network can't be cut at, where the disk has no room, and for images that changed.
    """
    request = plan.maps
    assert request
    viewed = seen_in_views(request, found.images)
    views = [View(number, request.seed) for number in range(1, request.views)]
    parts = [found.images.distinct(), *(replace(viewed, view=view) for view in views)]
    with placed(plan, Stopwatch(), on_progress) as (_, here), StartedPool(here.threads) as pool:

        def make(blocks: Sequence[str], images: IndexedImages) -> FeatureExtractor:
            return FeatureExtractor(
                weights=replace(found.weights, maps=request.of(blocks)),
                size=found.size,
                images=images,
                store=plan.store,
                pool=pool,
                bad=BadImages(None, plan.on_bad_image),
                decoder=plan.decoder,
            )

        with reported(on_progress, "open cache"):
            tables = {
                block: tuple(make([block], part).table(found.plan) for part in parts) for block in blocks
            }
        lacks = {
            block: [~table.holds(part.ids_N32) for table, part in zip(own, parts, strict=True)]
            for block, own in tables.items()
        }
        lacking = [block for block in blocks if any(lacks_N.any() for lacks_N in lacks[block])]
        if not lacking:
            return tables
        missing = [
            part.select(np.any(lacks_N, 0))
            for part, *lacks_N in zip(parts, *(lacks[block] for block in lacking), strict=True)
        ]
        with reported(on_progress, "prepare", found.plan.engine):
            numbers = {
                block: count_numbers(found.weights, request.of([block]), found.size) for block in lacking
            }
            images, rows = len(missing[0]), sum(map(len, missing))
            needed = sum(
                numbers[block] * sum(int(lacks_N.sum()) for lacks_N in lacks[block]) for block in lacking
            )
            check_space(
                plan.store.root, describe(lacking, images, rows - images), count_bytes(request, needed)
            )
            extractor = make(lacking, found.images)
            compute = extractor.prepare(extractor.fit_batch([found.plan])[found.plan])
        for i, part in enumerate(missing):
            own = [(request.of([block])[0], numbers[block], tables[block][i]) for block in lacking]
            if part:
                compute(part, MapTables(own), now(plan.device), on_progress, phase="maps")
            if not all(table.holds(part.ids_N32).all() for _, _, table in own):
                raise UserError("images changed while they were used; run again")
    return tables
