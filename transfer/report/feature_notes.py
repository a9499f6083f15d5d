"""Notes on features: the network, its weights, the engine, the images as it saw them."""

from __future__ import annotations

from collections.abc import Iterator

from transfer.config import NAMED_WEIGHTS
from transfer.evaluation.results import Result

# Why an engine was taken that nobody asked for and no trial chose.
CACHED = "the cache holds its features"
IMAGENET_MEAN = [0.485, 0.456, 0.406]


def list_feature_notes(result: Result) -> Iterator[str]:
    """Yield the notes on the network, on how it was executed and on what came of it."""
    if result.backbone["weights"] == "random":
        yield (
            "the network is untrained (random weights, batch-norm statistics estimated on training images): "
            "these figures compare methods and times, and say nothing of what a pre-trained network reaches"
        )
    if result.backbone["weights"] == "embedded":
        yield (
            "the network was trained on drawn pictures alone (embedded weights): with weights trained on photographs "
            "scores are higher, and the order of the methods may be another; `--weights imagenet` downloads such, and "
            "those of `--backbone efficientnet_lite0` come with a package (extra pretrained)"
        )
    yield from _on_weights_file(result)
    if result.engine.get("trials") or result.engine.get("reason") == CACHED:
        yield _on_engine(result)
    if alike := result.features.get("alike"):
        yield (
            f"the features of all images are nearly the same (pixels are {alike[0]} to {alike[1]} of 255): no method "
            "can tell the classes apart; the images may be black, of one colour, or one and the same"
        )
    if (shift := result.features.get("shift", 8)) != 8:
        yield f"images of 16 bits use {shift + 8} of them: values were shifted right by {shift} bits, in all images"
    own, size = result.data.get("image_size"), result.backbone["input_size"]
    if own and list(own) != size and not result.config.get("size"):
        yield (
            f"the images are {own[0]}x{own[1]} and were scaled to {size[0]}x{size[1]}: without `--size`, images of "
            "more pixels than 480x640 are scaled down, and those with a side of fewer than 48 up"
        )
    if damaged := result.features["damaged_shards"]:
        yield f"{damaged} damaged files of the store were set aside and computed again"


def _on_weights_file(result: Result) -> Iterator[str]:
    """Yield what was taken from the user's weights, and how pixels were scaled if the file did not say."""
    weights, mean = result.backbone["weights"], result.backbone.get("mean")
    for remark in result.backbone.get("weights_remarks") or []:
        yield f"{weights}: {remark}"
    if weights not in NAMED_WEIGHTS and mean in (IMAGENET_MEAN, IMAGENET_MEAN[::-1]):
        yield (
            "pixels were scaled by ImageNet's mean and deviation, which weights in a file may not have been trained "
            "with; `--mean`, `--std` and `--channel-order` give others"
        )


def _on_engine(result: Result) -> str:
    """Return which engine was taken, with the figures of the trials."""
    name, precision = result.engine["name"], result.engine["precision"]
    trials = result.engine["trials"]
    speeds = ", ".join(f"{t['engine']} {t['precision']} {t['images_per_s']:.1f}" for t in trials)
    own = next((t for t in trials if (t["engine"], t["precision"]) == (name, precision)), None)
    close = (
        f"; on the trial's images its features' cosine with fp32 was {own['cosine']:.4f} at least"
        if own
        else ""
    )
    measured = f" (trials, images/s: {speeds})" if trials else ""
    return f"{name} {precision}: {result.engine['reason']}{measured}{close}"
