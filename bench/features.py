"""Features with labels in 16 unequal classes: synthetic, or real ones from a file.

N: rows. D: features.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import make_classification

# Images a class of the boats that this began with.
SHARES = np.array([854, 816, 790, 251, 193, 101, 100, 84, 76, 70, 63, 21, 19, 16, 11, 9], float)
WIDTH = 2048


@dataclass(frozen=True)
class Rows:
    """Training, validation and test rows."""

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int64]
    x_valid: npt.NDArray[np.float32]
    y_valid: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]

    def joined(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return all rows and their labels: those of training, then of validation, then of test."""
        return (
            np.concatenate([self.x_train, self.x_valid, self.x_test]),
            np.concatenate([self.y_train, self.y_valid, self.y_test]),
        )


def synthetic(train: int, valid: int, test: int, *, width: int = WIDTH, classes: int = 16) -> Rows:
    """Make synthetic features, by default of ResNet50's width, the same every time."""
    shares = SHARES[:classes] if classes <= len(SHARES) else np.ones(classes)
    x_ND, y_N = make_classification(
        train + valid + test,
        width,
        n_informative=width // 10,
        n_redundant=width // 3,
        n_classes=classes,
        n_clusters_per_class=1,
        weights=shares / shares.sum(),
        class_sep=3,
        random_state=0,
    )
    x, y = np.split(x_ND.astype(np.float32), [train, train + valid]), np.split(y_N, [train, train + valid])
    return Rows(x[0], y[0], x[1], y[1], x[2], y[2])


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option of a file that `real` reads."""
    parser.add_argument(
        "--features", type=Path, required=True, help="a .npz file with x_train, y_train, x_valid, …"
    )


def real(path: Path) -> Rows:
    """Load the features in a NumPy file that holds `x_train`, `y_train`, `x_valid` and so on."""
    with np.load(path) as found:
        return Rows(
            **{
                f"{kind}_{split}": found[f"{kind}_{split}"].astype(dtype)
                for split in ("train", "valid", "test")
                for kind, dtype in (("x", np.float32), ("y", np.int64))
            }
        )
