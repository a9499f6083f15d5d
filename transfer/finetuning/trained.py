"""What trainings with the network end in, and what they depend on.

N: images. D: features an image. S: settings, each a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.backbones import sources
from transfer.features.extract import Split
from transfer.features.fill import Extraction
from transfer.features.forward import describe_machine
from transfer.finetuning.training import Tensors
from transfer.system import files
from transfer.system.files import SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class TrainedBlocks:
    """What trainings ended in: what a search of the registry has after `fit`, on features of its own."""

    best_index_: int
    best_estimator_: Any
    """The last layer of the best setting, for the features of its blocks."""
    cv_results_: list[dict[str, Any]]
    valid_predictions_: npt.NDArray[np.int64]
    """Of every setting, `(S, N)`."""
    test_predictions_: npt.NDArray[np.int64]
    """Of every setting, `(S, N)`."""
    tensors: Tensors
    """What was trained of the network in the best setting, as it is called there."""
    splits: dict[str, Split]
    """Features of the best setting's blocks."""
    fit_s: float
    """Seconds of all trainings, in whichever runs they were; those of the maps are not among them."""
    predict_s: float
    """Seconds of the test split by the best setting, from maps or images to labels."""
    kept_bytes: int
    """Of all trainings in the store."""
    extended_: dict[str, Any] = field(default_factory=dict)
    at_edge_: list[str] = field(default_factory=list)

    @property
    def best_params_(self) -> dict[str, Any]:
        """The best setting, and the epoch that was chosen."""
        params: dict[str, Any] = self.cv_results_[self.best_index_]["params"]
        return params

    def predict_each(self, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return what every setting predicts for the test images, whose features differ from setting to setting."""
        return self.test_predictions_


def declare(found: Extraction, method: str, splits: Sequence[str], **own: Any) -> dict[str, Any]:
    """Return what a training depends on: data alone, as for features.

    Parameters
    ----------
    found : Extraction
        Of the frozen network.
    method : str
    splits : sequence of str
        Those whose images decide how it ends.
    **own
        What else does, of this method.
    """
    images = [found.images.in_split(split) for split in splits]
    arrays = [one for part in images for one in (part.ids_N32, part.label_N)]
    return {
        "schema_version": SCHEMA_VERSION,
        **sources.declare(found.weights.backbone, found.weights.settings),
        "weights_sha256": found.weights.sha256,
        "size": list(found.size),
        "method": method,
        "images": [files.sha256(one.tobytes()) for one in arrays],
        "features": found.table.key,
        "machine": describe_machine(found.plan),
        **own,
    }
