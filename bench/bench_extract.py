"""Files to features in the store, against the lab's own extractor."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import models

from bench.conftest import Profile
from bench.references import lab_extractor
from transfer import backbone, decode, engines, extract, images
from transfer.config import RunConfig
from transfer.timing import Stopwatch

SIZE = (240, 800)


@pytest.fixture(scope="module")
def weights(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights with sensible batch-norm statistics: as fast as trained ones."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    noise = torch.randint(256, (4, 3, *SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.save(backbone.random_state(profile.backbone, seed=0, batches=[noise]), path)
    return path


@pytest.fixture(scope="module")
def expected(profile: Profile, photographs: Path, weights: Path) -> dict[str, Any]:
    """Features in plain fp32, by file."""
    network = backbone.build(profile.backbone, torch.load(weights))
    rows = {}
    for path in sorted(photographs.glob("*/*.jpg")):
        pixels = torch.from_numpy(np.array(decode.pixels(path.read_bytes(), SIZE))).permute(2, 0, 1)[None]
        with torch.no_grad():
            rows[path.relative_to(photographs).as_posix()] = network(backbone.normalise(pixels))[0].numpy()
    return rows


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device"))])  # fmt: skip
def bench_extract(
    timed: Callable[..., Any],
    profile: Profile,
    photographs: Path,
    weights: Path,
    expected: dict[str, Any],
    tmp_path: Path,
    precision: str,
    device: str,
) -> None:
    found = images.find(photographs)
    stores = (tmp_path / f"store{i}" for i in itertools.count())

    def cold() -> extract.Features:
        config = RunConfig(
            data=str(photographs),
            backbone=profile.backbone,
            weights=str(weights),
            size=SIZE,
            device=device,
            precision=precision,
            store=next(stores),
        )
        return extract.extract(config, found, Stopwatch(device), lambda *_: None)

    features = timed(
        cold, operation="extract, file to store", way=f"transfer {precision} {device}", images=profile.images
    )
    for split, part in features.splits.items():
        for row, sample in zip(part.x_ND, found.splits[split], strict=True):
            plain = expected[sample.path.relative_to(photographs).as_posix()]
            cosine = row @ plain / np.linalg.norm(row) / np.linalg.norm(plain)
            assert cosine > (0.99 if precision == "bf16" else 0.9999)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def bench_forward(timed: Callable[..., Any], profile: Profile, weights: Path, precision: str) -> None:
    network = backbone.build(profile.backbone, torch.load(weights))
    engine = engines.Eager(network, engines.plan("eager", precision, "auto"))
    batch = engine.plan.batch
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *SIZE, 3), np.uint8)
    x_ND = timed(
        lambda: engine(pixels),
        operation="forward, one batch",
        way=f"transfer {precision} {engine.plan.device}",
        images=batch,
    )
    assert np.isfinite(x_ND).all()


def bench_lab_extractor(
    timed: Callable[..., Any], profile: Profile, photographs: Path, weights: Path, expected: dict[str, Any]
) -> None:
    network = models.get_model(profile.backbone, weights=None)
    network.load_state_dict(torch.load(weights), strict=False)
    rows = timed(
        lambda: lab_extractor.extract(network, photographs, SIZE),
        operation="extract, file to store",
        way="reference: lab's extractor",
        images=profile.images,
    )
    np.testing.assert_allclose(rows, [expected[name] for name in sorted(expected)], atol=1e-3)
