"""What an export comes to: a file, and how its answers compare with those of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TOLERANCE = 1e-3
"""The largest difference between probabilities that passes for equal."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How the answers of an exported file compare with those of the model, in fp32 by PyTorch.

    Parameters
    ----------
    images : int
    of_noise : bool
        Whether they were drawn, since none were given.
    equal_labels : int
        Images that get the same label.
    largest_difference : float
        Between two probabilities of the same class and image.

    Examples
    --------
    >>> from transfer.serving.export import export
    >>> done = export("out/photos", "out/exported", format="torch")
    >>> done.check.images, done.check.of_noise
    (16, True)
    """

    images: int
    of_noise: bool
    equal_labels: int
    largest_difference: float

    @property
    def passed(self) -> bool:
        """Whether all labels are equal, and all probabilities within `TOLERANCE`."""
        return self.equal_labels == self.images and self.largest_difference <= TOLERANCE

    def __str__(self) -> str:
        images = f"{self.images:,} images{' of noise' if self.of_noise else ''}"
        return (
            f"{self.equal_labels:,} of {images} get the same label as from the model in fp32, "
            f"probabilities differ by {self.largest_difference:.1e} at most"
        )


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file.

    Parameters
    ----------
    file : Path
    format : str
    metadata : dict of str to str
        As the file itself has it.
    licence : str
        What is known of that of the weights.
    versions : dict of str to str
        Of the libraries that wrote and checked it.
    check : Check

    Examples
    --------
    >>> from transfer.serving.export import export
    >>> done = export("out/photos", "out/exported", format="torch")
    >>> done.file.name
    'model.pt2'
    """

    file: Path
    format: str
    metadata: dict[str, str]
    licence: str
    versions: dict[str, str]
    check: Check
