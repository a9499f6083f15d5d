"""Where features are computed: in this process, or by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from transfer.features.extractor import FeatureExtractor
from transfer.features.plan import ExtractionPlan, check_decoder
from transfer.system.hardware import usable_cores
from transfer.system.progress import Progress, reported
from transfer.system.timer import Stopwatch


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What this process does itself, and what of a cluster does the rest."""

    threads: int
    """Threads of this process."""
    workers: int | None = None
    """Processes of the cluster; None where this process computes."""
    make: Callable[..., FeatureExtractor] = FeatureExtractor
    """Makes the extractor: that of this process, or one that has workers compute."""


@contextmanager
def placed(
    plan: ExtractionPlan, watch: Stopwatch, on_progress: Progress
) -> Iterator[tuple[ExtractionPlan, Placement]]:
    """Connect to the cluster of a plan, if it names one, for the block; set the threads of this process.

    Parameters
    ----------
    plan : ExtractionPlan
    watch : Stopwatch
        From here on it waits for the device of this process.
    on_progress : Progress

    Yields
    ------
    plan : ExtractionPlan
        With the options that the workers of the cluster have.
    placement : Placement

    Raises
    ------
    UserError
        If the cluster can't be used, or does not have what is asked for.
    """
    if plan.cluster is None:
        watch.device = plan.device
        torch.set_num_threads(plan.threads)
        yield plan, Placement(threads=plan.threads)
        return
    from transfer.features import ray_extractor, ray_pool

    with ray_pool.connected(plan.cluster, watch, on_progress) as pool:
        with watch("connect"), reported(on_progress, "connect", "workers"):
            options = pool.list_options(plan.cluster)
        check_decoder(plan.decoder, options[0].device)
        make, threads = partial(ray_extractor.RayExtractor, workers=pool), usable_cores()
        torch.set_num_threads(threads)
        yield replace(plan, options=options), Placement(threads=threads, workers=pool.size, make=make)
