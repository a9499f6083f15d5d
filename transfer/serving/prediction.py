"""What a model says of an image.

C: classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transfer.system.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of an image.

    Examples
    --------
    >>> import transfer
    >>> model = transfer.load("out/photos")
    >>> (found,) = model.predict("boat.jpg", all_classes=True)
    >>> found.label, found.probabilities.shape
    ('class0', (3,))
    """

    path: Path | None
    """None where the image was given as pixels."""
    label: str | None
    """The name of a class; None if the model is less sure of it than was asked for."""
    probability: float | None
    """Of the class, calibrated on the validation images of the run. For models that an earlier version saved it is the
    head's own, and None where the head estimates none."""
    probabilities: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Of all classes `(C,)`, in the model's order, where they were asked for; 0 of a class without training images."""


def check_confidence(min_confidence: float) -> None:
    """Raise `UserError` for a value outside 0 to 1."""
    if not 0 <= min_confidence <= 1:
        raise UserError(f"`min_confidence` is {min_confidence}; give a number from 0 to 1")
