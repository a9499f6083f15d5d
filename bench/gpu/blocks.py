"""Methods that train with the network: blocks on cached maps, the whole network, the network in train mode."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bench.gpu import runs
from bench.gpu.part import Part, Row

METHODS = ("--methods", "fc-lab,fc,svm", "--repeats", "0")
TRAINED = {
    "blocks": ("--unfreeze", "layer4.2,layer4", "--adapt", "lora:8"),
    "blocks, views": ("--unfreeze", "layer4.2,layer4", "--views", "4"),
    "whole network": ("--unfreeze", "conv1"),
    "train mode": ("--bn", "train"),
}
# On a processor: one training of each kind, of one epoch.
REHEARSED = {
    "blocks": ("--unfreeze", "layer4.2", "--adapt", "lora:8", "--lr-blocks", "1e-3", "--epochs", "1"),
    "train mode": ("--bn", "train", "--epochs", "1"),
}


def measure(part: Part) -> None:
    """Measure one run of each kind, from features that the runs before have left."""
    for what, words in (REHEARSED if part.small else TRAINED).items():
        part.run(what, partial(run, part, words))


def run(part: Part, words: tuple[str, ...]) -> Iterable[Row]:
    """Time the command; of each method the seconds of its trainings, and what was chosen."""
    seconds, result = runs.call(part, part.work / "store-auto", *METHODS, *words)
    yield {
        "operation": "run, training with the network",
        "way": "transfer run",
        "seconds": [seconds],
        "phases": result["seconds"],
        "engine": f"{result['engine']['name']} {result['engine']['precision']}",
        "images": result["features"]["images"],
        "scores": runs.scores(result),
        "fit_s": {method["name"]: method["fit_s"] for method in result["methods"]},
        "best_params": {method["name"]: method["best_params"] for method in result["methods"]},
        "left_out_methods": result["comparison"]["left_out"],
    }
