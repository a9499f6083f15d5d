"""One image: from its file to its label by a saved model, and forward passes of a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from bench.gpu import forward, inputs
from bench.gpu.part import Part, Row
from bench.gpu.timing import time_blocks
from bench.references import label_loop
from bench.ways import usual_plan
from transfer.config import BUNDLED_BACKBONE, RunConfig
from transfer.evaluation import experiment
from transfer.serving import predictor

METHOD = "fc"
WAYS = (*forward.SWEPT, forward.ONCE[0], forward.ONCE[2], forward.COMPILED[-1])


def measure(part: Part) -> None:
    """Measure one image, as users do and by the network alone."""
    size = forward.SIZES[part.device][0]
    models = part.work / "models"

    def labels(device: str) -> Iterable[Row]:
        if not models.exists():
            train(part, size)
        root = inputs.splits(part)
        path = min((root / "test").glob("*/*.jpg"))
        loaded = predictor.load(models, method=METHOD, device=device, batch=1)
        body = inputs.network().to(device)
        calls: dict[str, Callable[[], Any]] = {
            "our saved model": partial(loaded.predict, [path]),
            "eager loop": partial(label_loop.predict, [path], body, loaded.head, size, device),
        }
        for way, call in calls.items():
            yield {
                "operation": "predict, one file to its label",
                "way": way,
                "reference": way == "eager loop",
                "device": device,
                "batch": 1,
                "images": 1,
                **time_blocks(call, device),
            }

    for device in dict.fromkeys((part.device, "cpu")):
        part.run(f"one file to its label, {device}", partial(labels, device))
    network, x_NHW3 = inputs.network(), inputs.pixels(part, size, 1)
    for way in WAYS:
        call = partial(forward.timed, way, network, x_NHW3, part.device)
        part.run(f"{way.name} {way.precision}, one image", call, needs_cuda=way.needs_cuda)


def train(part: Part, size: tuple[int, int]) -> None:
    """Fit the models, on few photographs."""
    plan = usual_plan(part.device)
    config = RunConfig(
        data=str(inputs.splits(part)),
        backbone=BUNDLED_BACKBONE,
        weights="embedded",
        size=size,
        methods=(METHOD,),
        repeats=0,
        device=part.device,
        engine=plan.engine,
        precision=plan.precision,
        store=part.work / "store-latency",
    )
    experiment.run(config, models=part.work / "models")
