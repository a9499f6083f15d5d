"""Which share of the machine's rate of matrix products an extraction reached."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace

from transfer.engines import Plan, trials
from transfer.features.extractor import FeatureExtractor
from transfer.system.errors import UserError
from transfer.system.matmul import measure_matmul

# The rate of fewer images is not worth comparing: measuring that of products takes some 0.2 s.
LEAST_COMPARED = 100

log = logging.getLogger(__name__)


def compare(
    extractor: FeatureExtractor, plan: Plan, computed: int, seconds: float
) -> tuple[int | None, float | None]:
    """Compare the rate of an extraction with that of the largest matrix products, measured now.

    The share is kept with the trial of the plan, if there is one.

    Parameters
    ----------
    extractor : FeatureExtractor
    plan : Plan
        How it computed.
    computed : int
        Images that went through the network.
    seconds : float
        What they took.

    Returns
    -------
    flops_per_image : int or None
    matmul_flops_per_s : float or None
        None where it can't be measured.
    """
    flops, rate = extractor.flops, _measure(plan)
    if flops and rate:
        _keep(extractor, plan, computed * flops / seconds / rate)
    return flops, rate


def _measure(plan: Plan) -> float | None:
    try:
        return measure_matmul(plan.device, plan.precision)
    except (MemoryError, RuntimeError):  # such as a GPU that others fill: nothing but a figure is lost
        return None


def _keep(extractor: FeatureExtractor, plan: Plan, share: float) -> None:
    declared, own = extractor.declare_trials(plan), (plan.engine, plan.precision)
    kept = trials.parse_trials(extractor.store.trials(declared))
    updated = [replace(one, share=share) if (one.engine, one.precision) == own else one for one in kept]
    try:
        if updated != kept:
            extractor.store.keep_trials(declared, [asdict(trial) for trial in updated])
    except UserError as error:  # nothing but a figure is lost
        log.warning("%s", error)
