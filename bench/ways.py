"""Ways to extract the same images with the same network: ours by engine and precision, and the references."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from bench import synthetic_images
from bench.references import BATCH, lab_extractor, loader, openvino_loop, pytorch_loop
from transfer.backbones import networks, weights
from transfer.backbones.pixels import normalise
from transfer.backbones.weights import Weights
from transfer.cache.store import Store
from transfer.data.bad_images import BadImages
from transfer.data.batches import batches, batches_on
from transfer.data.dataset import find
from transfer.data.indexing import read
from transfer.data.random_splits import SPLITS
from transfer.engines import Engine, Plan
from transfer.engines.options import BATCH as ENGINE_BATCH
from transfer.engines.options import list_options
from transfer.features.extractor import FeatureExtractor
from transfer.system.hardware import usable_cores
from transfer.system.progress import silent
from transfer.system.thread_pools import StartedPool
from transfer.system.timer import now

_fresh = itertools.count()

SIZE = (240, 800)
CLASSES = ("Gondola", "Mototopo", "VaporettoACTV", "Water")
LAB, PYTORCH, OPENVINO = "lab's extractor", "PyTorch loop", "OpenVINO loop"
# The least cosine of an image's features with those of plain fp32, by precision: an engine that reorders sums in fp32
# stays within 1e-6 of 1, lower precisions within what their rounding explains.
_LEAST_COSINE = {"fp32": 0.99999, "int8": 0.9}
# A reference's forward pass over one normalised batch (N, 3, H, W).
Forward = Callable[[torch.Tensor], Any]


@contextmanager
def opened(images: Path, work: Path, name: str, untrained: Path | None = None) -> Iterator[FeatureExtractor]:
    """Open an untrained network `name` for the images of a folder of class folders, with a store in `work`.

    Without a file of `untrained` weights their statistics come from those images.
    """
    bad = BadImages(images, "error")
    with StartedPool(usable_cores()) as pool:
        found = read(find(images), pool, bad, silent)
        path = untrained or work / "weights.safetensors"
        extractor = FeatureExtractor(
            weights=Weights(backbone=name, source="random", path=path, sha256=""),
            size=SIZE,
            images=found,
            store=Store(work / "store"),
            pool=pool,
            bad=bad,
        )
        if not untrained:
            save_untrained(name, extractor.sample(found, 2 * BATCH), path)
        yield extractor


def draw_splits(root: Path, counts: tuple[int, int, int]) -> Path:
    """Draw built-in photographs in `root`, in train/ valid/ test/ with `counts` of each class; return `root`."""
    for split, (folder, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for kind, name in enumerate(CLASSES):
            for i in range(count):
                synthetic_images.draw(root / folder, name, i, seed=(split, kind, i))
    return root


def save_untrained(name: str, x_NHW3: Any, path: Path) -> None:
    """Write a file of untrained weights, with batch-norm statistics from these pixels `(N, H, W, 3)`."""
    x_N3HW = torch.from_numpy(x_NHW3).permute(0, 3, 1, 2)
    save_file(networks.random_state(name, seed=0, batches=[x_N3HW]), path)


def usual_plan(device: str) -> Plan:
    """Return the engine that is usually chosen on a device; the actual choice takes trials."""
    engine = "openvino" if device == "cpu" and find_spec("openvino") else "eager"
    return list_options(engine, "auto", device)[-1]


def engine(
    extractor: FeatureExtractor, name: str, precision: str, device: str, batch: int | None = None
) -> Engine:
    """Build one of our engines. Raises `UserError` if it is not available."""
    plan = list_options(name, precision, device)[0]
    return extractor.engine(replace(plan, batch=batch or plan.batch))


def compute_batches(engine: Engine, batches: list[Any]) -> list[Any]:
    """Compute features of batches of pixels `(N, H, W, 3)`, with as many in flight as the engine takes."""
    rows: list[Any] = []
    waiting: list[Callable[[], Any]] = []
    for x_NHW3 in batches:
        if len(waiting) == engine.in_flight:
            rows.append(waiting.pop(0)())
        waiting.append(engine.submit(x_NHW3))
    return rows + [wait() for wait in waiting]


def to_store(extractor: FeatureExtractor, engine: Engine) -> Any:
    """Extract all images from their files to an empty table; return their features by id."""
    table = extractor.store.table({"way": str(engine.plan), "round": next(_fresh)})
    extractor.compute(engine, extractor.images, table, now(), silent)
    return table.gather(extractor.images.ids_N32)


def least_cosine(precision: str) -> float:
    """Return the smallest accepted cosine of an image's features in a precision with plain fp32."""
    return _LEAST_COSINE.get(precision, 0.99)


def reference_precision(name: str, device: str) -> str:
    """Return the precision of a reference on this machine."""
    if name == LAB:
        return "tf32" if device == "cuda" else "fp32"  # torch's default for convolutions there
    return pytorch_loop.precision(device)


def references(extractor: FeatureExtractor, device: str = "cpu") -> dict[str, Callable[[], Forward]]:
    """Return the references by name, on a device that they run on; a call makes each ready."""

    def lab() -> Forward:
        network: nn.Module = models.get_model(extractor.weights.backbone, weights=None)
        network.load_state_dict(weights.load(extractor.weights.path), strict=False)
        body = lab_extractor.prepare(network).to(device)
        return lambda x_N3HW: lab_extractor.forward(body, x_N3HW.to(device))

    def pytorch() -> Forward:
        network = networks.build(extractor.weights.backbone, weights.load(extractor.weights.path))
        body = pytorch_loop.prepare(network).to(device)
        return lambda x_N3HW: pytorch_loop.forward(body, x_N3HW.to(device))

    def openvino() -> Forward:
        model = openvino_loop.prepare(
            networks.build(extractor.weights.backbone, weights.load(extractor.weights.path)), SIZE
        )
        return lambda x_N3HW: openvino_loop.forward(model, x_N3HW)

    found = {OPENVINO: openvino, PYTORCH: pytorch, LAB: lab}
    if device == "cuda" or not find_spec("openvino"):
        del found[OPENVINO]
    return found


def each(forward: Forward, batches: Iterable[torch.Tensor]) -> list[Any]:
    """Compute features of batches by a reference."""
    return [forward(x_N3HW) for x_N3HW in batches]


def from_files(forward: Forward, folder: Path) -> list[Any]:
    """Compute features of a folder of class folders by a reference, in order of path, loaded as tutorials do."""
    return each(forward, (x_N3HW for x_N3HW, _ in loader(folder, SIZE)))


def pixels(extractor: FeatureExtractor, batch: int = BATCH) -> list[Any]:
    """Return all images, in their order, in batches `(N, H, W, 3)`."""
    return [x_NHW3 for _, x_NHW3 in batches(extractor.images, batch, SIZE, extractor.pool, extractor.bad)]


def pixels_on_device(extractor: FeatureExtractor) -> list[torch.Tensor]:
    """Return all images, in their order, in batches `(N, H, W, 3)` decoded by the GPU."""
    ready = batches_on("cuda", extractor.images, ENGINE_BATCH["cuda"], SIZE, extractor.pool, extractor.bad)
    found = [x_NHW3 for _, x_NHW3 in ready]
    torch.cuda.synchronize()
    return found


def normalise_images(x_NHW3: Any) -> torch.Tensor:
    """Return the inputs of the references."""
    return normalise(torch.from_numpy(x_NHW3).permute(0, 3, 1, 2)).contiguous()
