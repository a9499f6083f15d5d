"""What several test modules share: small images and networks, the project's own data where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Workers share the cores: more threads than one in each would wait for each other, and those of an engine, which has
# as many as there are cores, would spin meanwhile. What tests compute is so small that one process alone is faster with
# one thread too. Libraries read this when they are imported.
if "OMP_NUM_THREADS" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np
import pytest
from PIL import Image

from tests.object_store import CREDENTIALS, Bucket, s3_server
from transfer.system import file_systems

# Real photographs and features of some: not part of the repository, see CONTRIBUTING.md.
DATA = Path(os.environ.get("TRANSFER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


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


@pytest.fixture(scope="module")
def slim_resnets() -> Iterator[None]:
    """ResNet18 and ResNet34 with one or two blocks a stage and 64 features: built, kept and run in milliseconds."""
    from torchvision import models
    from torchvision.models.resnet import BasicBlock, ResNet

    class Slim(ResNet):
        def _make_layer(self, block: Any, planes: int, *args: Any, **settings: Any) -> Any:
            return super()._make_layer(block, planes // 8, *args, **settings)

    def slim(first: int) -> ResNet:
        network = Slim(BasicBlock, [first, 1, 1, 1])
        network.fc = type(network.fc)(64, 1000)
        return network

    blocks, real = {"resnet18": 1, "resnet34": 2}, models.get_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            models,
            "get_model",
            lambda name, **settings: slim(blocks[name]) if name in blocks else real(name, **settings),
        )
        yield


@pytest.fixture(scope="module")
def timed_once() -> Iterator[None]:
    """Every search of a run is fitted once and not again until its times agree.

    What exists is left to later collections: one of everything that tests import takes longer than many a run.
    """
    from transfer.evaluation import fitting

    with pytest.MonkeyPatch.context() as patch, fitting.older_objects_kept():
        patch.setattr(fitting, "REST_S", 0)
        patch.setattr(fitting, "TIMED_ONCE_S", 0)
        yield


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """URL of an S3-compatible server on this machine."""
    with s3_server() as url:
        yield url


@pytest.fixture
def at_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes a server that of S3 for one test, whose copies of stores lie in its own folder."""
    for name, value in {**CREDENTIALS, "XDG_CACHE_HOME": str(tmp_path / "user-cache")}.items():
        monkeypatch.setenv(name, value)

    def use(url: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        file_systems._open.cache_clear()

    return use


@pytest.fixture
def bucket(s3_endpoint: str, at_endpoint: Callable[[str], None]) -> Bucket:
    """A bucket on an S3-compatible server, which URLs in the test lead to."""
    at_endpoint(s3_endpoint)
    return Bucket(s3_endpoint)
