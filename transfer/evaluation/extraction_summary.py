"""What a result says about where features come from: the network, the engine, what was computed, or the user's file.

N: images.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from transfer import metrics
from transfer.data.user_paths import describe_source
from transfer.features.extract import Features, Split
from transfer.features.fill import Extraction
from transfer.features.given import GivenFeatures


def describe(features: Features) -> dict[str, dict[str, Any]]:
    """Describe where features come from: `backbone`, `engine` and `features` of the result."""
    if features.given:
        return _describe_given(features, features.given)
    return {
        "backbone": _describe_backbone(features),
        "engine": _describe_engine(features),
        "features": {
            **_describe_features(features.extraction),
            "alike": features.alike and list(features.alike),
        },
    }


def _describe_given(features: Features, given: GivenFeatures) -> dict[str, dict[str, Any]]:
    """Describe features that the user brought; what readers expect of computed ones is zero or null."""
    return {
        "backbone": {
            "name": "given features",
            "weights": "no",
            "weights_sha256": given.sha256,
            "input_size": [0, 0],
            "feature_dim": features.x_ND.shape[1],
        },
        "engine": {
            "name": "no engine",
            "precision": "fp32",
            "device": "cpu",
            "threads": features.threads,
            "batch": 0,
        },
        "features": {
            "key": given.sha256,
            "given": given.path.name,
            "source_sha256": describe_source(str(given.path))["source_sha256"],
            "images": len(features.x_ND),
            "computed": 0,
            "reused": len(features.x_ND),
            "images_per_s": None,
            "seconds": 0.0,
            "cold_seconds": None,
            "damaged_shards": 0,
        },
    }


def _describe_backbone(features: Features) -> dict[str, Any]:
    weights = features.extraction.weights
    return {
        "name": weights.backbone,
        "weights": weights.source,
        "weights_sha256": weights.sha256,
        **weights.described,
        "weights_remarks": list(weights.remarks),
        "input_size": list(features.extraction.size),
        "feature_dim": features.x_ND.shape[1],
    }


def _describe_features(extraction: Extraction) -> dict[str, Any]:
    """Describe how many features were computed, and in what time."""
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


def _describe_engine(features: Features) -> dict[str, Any]:
    """Describe the engine that was taken, and why."""
    plan, picked = features.extraction.plan, features.extraction.picked
    workers = features.extraction.workers
    return {
        "name": plan.engine,
        "precision": plan.precision,
        "device": plan.device,
        "decoder": features.extraction.decoder,
        "threads": plan.threads,
        "batch": plan.batch,
        **({"workers": workers} if workers else {}),
        "reason": picked.reason,
        "trials": [asdict(trial) for trial in picked.trials],
        "cosine_with_fp32": _summarize_cosines(features.coarse, features.exact),
    }


def _summarize_cosines(coarse: Split | None, exact: Split | None) -> dict[str, Any] | None:
    if coarse is None or exact is None:
        return None
    cosine_N = metrics.cosines(coarse.x_ND, exact.x_ND)
    return {"images": len(cosine_N), "min": float(cosine_N.min()), "median": float(np.median(cosine_N))}
