"""What a result says about the extraction of features: the engine, and what was computed.

N: images.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from transfer import metrics
from transfer.features.extract import Features, Split
from transfer.features.fill import Extraction


def describe_features(extraction: Extraction) -> dict[str, Any]:
    """Describe how many features were computed, and in what time: `features` of the result."""
    return {
        "key": extraction.table.key,
        "shift": extraction.images.shift,
        "images": len(extraction.images),
        "computed": extraction.computed,
        "reused": extraction.reused,
        "images_per_s": extraction.computed / extraction.extract_s if extraction.computed else None,
        "seconds": extraction.extract_s,
        "cold_seconds": extraction.cold_s,
        "flops_per_image": extraction.flops_per_image,
        "matmul_flops_per_s": extraction.matmul_flops_per_s,
        "damaged_shards": len(extraction.table.damaged),
    }


def describe_engine(features: Features) -> dict[str, Any]:
    """Describe the engine that was taken, and why: `engine` of the result."""
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
        "cosine_with_fp32": _summarize_cosines(features.coarse, features.exact),
    }


def _summarize_cosines(coarse: Split | None, exact: Split | None) -> dict[str, Any] | None:
    if coarse is None or exact is None:
        return None
    cosine_N = metrics.cosines(coarse.x_ND, exact.x_ND)
    return {"images": len(cosine_N), "min": float(cosine_N.min()), "median": float(np.median(cosine_N))}
