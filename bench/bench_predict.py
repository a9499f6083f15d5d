"""Predictions of a saved model: one image file to its label, and all test images to theirs.

Models are loaded and have run once before the clock starts; files are in the system's cache. One image goes through
the network alone; many go in batches of the size that features were computed with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from bench import references
from bench.conftest import FirstRun, judge
from bench.operation import Operation, each_device
from bench.profiles import Profile
from bench.references import label_loop
from bench.ways import SIZE
from transfer.backbones import networks, weights
from transfer.engines.options import BATCH
from transfer.serving import predictor
from transfer.serving.predictor import Model

PREDICTED = ("fc", "svm")
LEAST = 0.25  # more of the test images are predicted right than by chance


@pytest.fixture(scope="module")
def load(first_run: Callable[[str], FirstRun]) -> Callable[..., Model]:
    """Return a function that loads the model of a method on a device, each once."""

    @cache
    def loaded(method: str, device: str, batch: int = 1) -> Model:
        return predictor.load(first_run(device).models, method=method, device=device, batch=batch)

    return loaded


@pytest.fixture(scope="module")
def files(labelled: Path) -> list[Path]:
    """Return the test images; the folder of each is its label."""
    return sorted((labelled / "test").glob("*/*.jpg"))


@pytest.fixture
def label(
    load: Callable[..., Model], profile: Profile, untrained: Path, files: list[Path], device: str
) -> Callable[[int], list[int]]:
    """Return the reference: a function that labels the first files, with the last layer as the head."""
    body = networks.build(profile.backbone, weights.load(untrained)).to(device)
    head = load("fc", device).head
    return lambda count: label_loop.predict(files[:count], body, head, SIZE, device)


@pytest.mark.benchmark(group="predict, one file to its label")
@each_device
def bench_one(
    operation: Operation,
    profile: Profile,
    load: Callable[..., Model],
    files: list[Path],
    label: Callable[[int], list[int]],
    device: str,
) -> None:
    """Time the prediction of one image."""
    truth = [path.parent.name for path in files]
    work: dict[str, Any] = {"batch": 1, "images": 1, "shape": list(SIZE), "network": profile.backbone}

    def check(loaded: Model, answer: Any) -> dict[str, float]:
        predicted = [one.label for one in loaded.predict(files)]
        assert [one.label for one in answer] == predicted[:1]
        return judge(truth, predicted, least=LEAST)

    def check_reference(answer: list[int]) -> dict[str, float]:
        every = label(len(files))
        assert answer == every[:1]
        return judge(truth, [load("fc", device).classes[i] for i in every], least=LEAST)

    for method in PREDICTED:
        loaded = load(method, device)
        operation.add(
            method,
            partial(loaded.predict, files[:1]),
            partial(check, loaded),
            method=method,
            precision=loaded.plan.precision,
            **work,
        )
    operation.add(
        "eager loop",
        lambda: label(1),
        check_reference,
        reference=True,
        precision=_eager_precision(device),
        **work,
    )
    operation.time()


@pytest.mark.benchmark(group="predict, files to labels")
@each_device
def bench_many(
    operation: Operation,
    profile: Profile,
    first_run: Callable[[str], FirstRun],
    load: Callable[..., Model],
    files: list[Path],
    label: Callable[[int], list[int]],
    device: str,
) -> None:
    """Time the prediction of all test images."""
    truth = [path.parent.name for path in files]
    work: dict[str, Any] = {
        "images": len(files),
        "shape": list(SIZE),
        "network": profile.backbone,
        "at_most": profile.network_rounds,
    }

    def check(method: str, answer: Any) -> dict[str, float]:
        assert [one.path for one in answer] == files
        scores = judge(truth, [one.label for one in answer], least=LEAST)
        # Among other images the last bits of an image's features may differ, and with them a label near a border.
        assert scores["accuracy"] == pytest.approx(first_run(device).accuracy(method), abs=1.1 / len(files))
        return scores

    # Nearly all of it is the network, which is the same for all of them.
    for method in PREDICTED if profile.long_setups else PREDICTED[-1:]:
        loaded = load(method, device, min(BATCH[device], len(files)))
        operation.add(
            method,
            partial(loaded.predict, files),
            partial(check, method),
            method=method,
            precision=loaded.plan.precision,
            batch=loaded.plan.batch,
            warm_up=partial(loaded.predict, files[: loaded.plan.batch]),
            **work,
        )
    classes = load("fc", device).classes
    operation.add(
        "eager loop",
        lambda: label(len(files)),
        lambda answer: judge(truth, [classes[i] for i in answer], least=LEAST),
        reference=True,
        precision=_eager_precision(device),
        batch=min(references.BATCH, len(files)),
        warm_up=lambda: label(1),
        **work,
    )
    operation.time()


def _eager_precision(device: str) -> str:
    """Return the precision that torch computes convolutions in by default."""
    return "fp32" if device == "cpu" else "tf32"
