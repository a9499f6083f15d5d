"""The int8 version of a network: calibrated once on training images, and kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

from torch import nn

from transfer import decode
from transfer.engines import openvino, version
from transfer.environment import processor
from transfer.ids import firsts, to_hex
from transfer.reading import BadImages, Images, batches
from transfer.store import SCHEMA_VERSION, MadeFile, Store
from transfer.timing import now
from transfer.weights import Weights

IMAGES = 64


def find(
    network: nn.Module,
    weights: Weights,
    images: Images,
    size: tuple[int, int],
    store: Store,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> MadeFile:
    """The calibrated model of `network`, made from the training images among `images` if the store has none."""
    train = images.in_split("train")
    # The first by id: as good as drawn at random.
    chosen = train.select(firsts(train.ids_N32)[:IMAGES])
    declared = {
        "schema_version": SCHEMA_VERSION,
        "weights_sha256": weights.sha256,
        "size": list(size),
        "images": to_hex(chosen.ids_N32),
        **decode.DECLARED,
        "engine": version("openvino"),
        "nncf": metadata.version("nncf"),
    }
    kept = store.made("calibrated", declared)
    if kept:
        return kept
    start = now()
    pixels = [x_HW3 for _, x_NHW3 in batches(chosen, len(chosen), size, pool, bad) for x_HW3 in x_NHW3]
    data = openvino.calibrate(openvino.convert(network, size), pixels)
    return store.keep("calibrated", declared, data, now() - start, processor()[0])
