"""What several test modules share: small labelled images, the project's own data where it is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--trial-share",
        type=int,
        default=100,
        metavar="PERCENT",
        help="how many of its cases each trial goes through (100)",
    )


@pytest.fixture(scope="session")
def boats() -> Path:
    """1,248 photographs of boats, 240x800, in train/ valid/ test/ of 16 classes."""
    folder = DATA / "boats"
    if not folder.is_dir():
        pytest.skip(f"the boat photographs are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def boat_features() -> dict[str, np.ndarray]:
    """Features of 4,244 boat photographs from a pre-trained MobileNet."""
    path = DATA / "boats-features.npz"
    if not path.is_file():
        pytest.skip(f"the boat features are not at {path}")
    with np.load(path) as found:
        return {name: found[name] for name in found.files if name[:2] in ("x_", "y_")}


@pytest.fixture
def make_images() -> Callable[..., Path]:
    """A function that fills a folder with splits of photographs of noise, tinted by class."""

    def make(
        root: Path, *, classes: int = 3, train: int = 8, valid: int = 4, test: int = 4, seed: int = 0
    ) -> Path:
        rng = np.random.default_rng(seed)
        for split, count in (("train", train), ("valid", valid), ("test", test)):
            for c in range(classes):
                folder = root / split / f"class{c}"
                folder.mkdir(parents=True)
                for i in range(count):
                    noise = rng.integers(0, 160, (48, 64, 3))
                    noise[..., c % 3] += 60
                    Image.fromarray(noise.astype(np.uint8)).save(folder / f"{i}.jpg", quality=90)
        return root

    return make
