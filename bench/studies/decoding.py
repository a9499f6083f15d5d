"""What decoding costs, by decoder and at a reduced scale: `python -m bench.studies.decoding FOLDER`.

The photographs of an image set are made larger, in a temporary folder. Times are of one thread of the processor, from
bytes to pixels of the input size; every decoder but Pillow that is installed takes part, with Pillow's resizing. Then
methods are fitted on features of JPEGs decoded whole and at a reduced scale.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console

from bench.reporting.status import exit_status
from bench.studies import choice
from bench.turns import Way, time_in_turn
from transfer import engines
from transfer.backbones import networks
from transfer.backbones.choice import choose_weights
from transfer.cli.parsing import parse_size
from transfer.config import CHOICES, SCORE_NAMES, RunConfig
from transfer.data import decode
from transfer.data.dataset import find
from transfer.data.resize import Resizing, fit_image
from transfer.engines.options import list_options
from transfer.features.extract import Features, extract
from transfer.features.plan import plan_extraction
from transfer.metrics import cosines
from transfer.report.rendering import Table, draw
from transfer.system.hardware import usable_cores
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
Decoder = Callable[[bytes, Size], Pixels]

WHOLE, REDUCED = CHOICES["decoder"][:2]
BACKBONES = ("resnet50", "efficientnet_lite0")
METHODS = ("svm", "logreg")
PARTS = ("decoders", "networks", "scores")
BATCH, QUALITY, SPLITS = 32, 92, 10


def main() -> None:
    """Time decoders and networks, then compare features and scores."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.decoding", description=__doc__)
    parser.add_argument("folder", type=Path, help="an image set with its splits")
    parser.add_argument("--size", default="224x224", help="that images are brought to (224x224)")
    parser.add_argument("--images", type=int, default=6, help="that are decoded in a round (6)")
    parser.add_argument("--rounds", type=int, default=5, help="of each decoder (5)")
    parser.add_argument(
        "--large", default="2000x3000,3000x4000,4000x6000", help="sizes of larger photographs"
    )
    parser.add_argument("--part", choices=PARTS, help="one of the parts alone; scores takes the first size")
    args = parser.parse_args()
    for name in ("images", "rounds"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; give a whole number from 1 up")
    paths = [image.path for image in find(args.folder).samples()]
    size, console = parse_size(args.size), Console(highlight=False)
    larger, parts = [*map(parse_size, args.large.split(","))], [args.part] if args.part else PARTS
    if "decoders" in parts:
        some = paths[:: max(1, len(paths) // args.images)][: args.images]
        draw(time_decoders(some, larger, size, args.rounds), console)
    if "networks" in parts:
        draw(time_networks(size, args.rounds), console)
    if "scores" in parts:
        for make in (enlarged, repeated):
            draw(compare(args.folder, paths, make, larger[0], size), console)


def enlarged(path: Path, size: Size) -> bytes:
    """Return a JPEG of a photograph at a size: large, and without fine detail."""
    return _encoded(Image.open(path).resize(size[::-1], Image.Resampling.BICUBIC))


def repeated(path: Path, size: Size) -> bytes:
    """Return a JPEG of a size in which a photograph is repeated: with as much fine detail as it has."""
    x_HW3 = np.asarray(Image.open(path).convert("RGB"))
    times = [-(-whole // own) for whole, own in zip(size, x_HW3.shape, strict=False)]
    return _encoded(Image.fromarray(np.tile(x_HW3, (*times, 1))[: size[0], : size[1]]))


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def decoders() -> dict[str, Decoder]:
    """Return Pillow, whole and at a reduced scale, and those of the other decoders that are installed."""

    def pillow(data: bytes, size: Size) -> Pixels:
        return decode.pixels(data, size, decode.SHIFT)

    def reduced(data: bytes, size: Size) -> Pixels:
        return decode.pixels(data, size, decode.SHIFT, Resizing(reduced=True))

    def other(decoded: Callable[[bytes], Pixels]) -> Decoder:
        def pixels(data: bytes, size: Size) -> Pixels:
            x_HW3 = decoded(data)
            return x_HW3 if x_HW3.shape[:2] == size else fit_image(Image.fromarray(x_HW3), size, decode.SHIFT)

        return pixels

    def simplejpeg() -> Decoder:
        return other(import_module("simplejpeg").decode_jpeg)

    def opencv() -> Decoder:
        cv2 = import_module("cv2")
        cv2.setNumThreads(1)
        flag = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        return other(lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), flag))

    def torch_decoder(module: str) -> Decoder:
        call = import_module(module).decode_jpeg
        read = import_module("torchvision.io").ImageReadMode.RGB if module == "torchvision.io" else "RGB"

        def decoded(data: bytes) -> Pixels:
            x_3HW = call(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=read)
            return np.ascontiguousarray(x_3HW.permute(1, 2, 0).numpy())

        return other(decoded)

    found: dict[str, Decoder] = {WHOLE: pillow, REDUCED: reduced}
    optional: Mapping[str, tuple[str, Callable[[], Decoder]]] = {
        "simplejpeg": ("simplejpeg", simplejpeg),
        "OpenCV": ("cv2", opencv),
        "torchvision": ("torchvision", lambda: torch_decoder("torchvision.io")),
        "torchcodec": ("torchcodec", lambda: torch_decoder("torchcodec.decoders")),
    }
    return found | {name: make() for name, (module, make) in optional.items() if find_spec(module)}


def time_decoders(paths: Sequence[Path], larger: Sequence[Size], size: Size, rounds: int) -> Table:
    """Return milliseconds an image, how many times as fast as Pillow that is, and how far pixels are from Pillow's."""
    rows: list[tuple[str, ...]] = []
    ways = decoders()
    sources: dict[str, list[bytes]] = {"own size": [path.read_bytes() for path in paths]}
    for large in larger:
        for make in (enlarged, repeated):
            sources[f"{large[0]}x{large[1]} {make.__name__}"] = [make(path, large) for path in paths]
    for name, files in sources.items():
        calls = {
            way: Way(call=lambda decoder=decoder, files=files: [decoder(data, size) for data in files])  # type: ignore[misc]
            for way, decoder in ways.items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's says that it will move
            seconds = time_in_turn(calls, rounds, clock=time.process_time)
            expected = [ways[WHOLE](data, size).astype(int) for data in files]
            apart = {
                way: max(abs(decoder(d, size) - x).max() for d, x in zip(files, expected, strict=True))
                for way, decoder in ways.items()
            }
        ms = {way: 1000 * statistics.median(raw) / len(files) for way, raw in seconds.items()}
        rows += [(name, way, f"{ms[way]:.2f}", f"{ms[WHOLE] / ms[way]:.2f}", f"{apart[way]}") for way in ways]
    title = f"One core, from a JPEG to pixels of {size[0]}x{size[1]}"
    return Table(title, ("photographs", "decoder", " ms", " times Pillow", " apart"), rows)


def time_networks(size: Size, rounds: int) -> Table:
    """Return milliseconds of one core that a forward pass takes for an image, by OpenVINO in each precision."""
    rows: list[tuple[str, ...]] = []
    x_NHW3 = np.random.default_rng(0).integers(0, 256, (BATCH, *size, 3), np.uint8)
    for backbone in BACKBONES:
        chosen = choose_weights(RunConfig(data="none", backbone=backbone, weights="random"))
        network, _ = networks.cut(backbone, chosen.normalisation, chosen.settings)
        ways = {}
        for option in list_options("openvino", "auto", "cpu"):
            plan = replace(option, threads=1, batch=BATCH)
            engine = engines.build(network.eval(), plan, size, None, chosen.normalisation)
            ways[plan.precision] = Way(call=lambda engine=engine: engine.submit(x_NHW3)())  # type: ignore[misc]
        seconds = time_in_turn(ways, rounds, clock=time.process_time)
        rows += [
            (backbone, precision, f"{1000 * statistics.median(raw) / BATCH:.2f}")
            for precision, raw in seconds.items()
        ]
    title = f"One core, forward pass of an image of {size[0]}x{size[1]} by OpenVINO"
    return Table(title, ("network", "precision", " ms"), rows)


def compare(
    folder: Path, paths: Sequence[Path], make: Callable[[Path, Size], bytes], large: Size, size: Size
) -> Table:
    """Return the scores of methods on features of large photographs decoded whole and at a reduced scale."""
    with tempfile.TemporaryDirectory() as root:

        def write(path: Path) -> None:
            to = (Path(root) / "images" / path.relative_to(folder)).with_suffix(".jpg")
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(make(path, large))

        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(write, paths))
        whole, reduced = (
            extracted(Path(root) / "images", Path(root) / "store", decoder, size)
            for decoder in (WHOLE, REDUCED)
        )
    x_ND, y_N = joined(whole)
    other_ND, _ = joined(reduced)
    n_valid, n_test = (len(whole.splits[split].y_N) for split in ("valid", "test"))
    splits, rows = choice.draw_splits(y_N, n_valid, n_test, SPLITS), []
    for method in METHODS:
        found = [choice.score_choices(method, one, y_N, splits) for one in (x_ND, other_ND)]
        for score in SCORE_NAMES:
            a, b = (np.array([one["test"][score] for one in scored]) for scored in found)
            figures = a.mean(), b.mean(), (b - a).mean(), (b - a).std(ddof=1)
            rows.append((method, score, *(f"{one:.4f}" for one in figures)))
    moved = np.median(np.linalg.norm(x_ND - other_ND, axis=1))
    apart = np.median(np.linalg.norm(x_ND - np.random.default_rng(0).permutation(x_ND), axis=1))
    cosine_N = cosines(x_ND, other_ND)
    title = (
        f"{len(paths):,} photographs of {large[0]}x{large[1]}, {make.__name__}: cosine of features at least "
        f"{cosine_N.min():.4f}, median {np.median(cosine_N):.4f}; moved by {moved / apart:.1%} of the distance "
        f"between two photographs; scores on {SPLITS} splits"
    )
    return Table(title, ("method", "score", " whole", " reduced", " difference", " its deviation"), rows)


def joined(features: Features) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the features `(N, D)` and labels `(N,)` of all splits together."""
    parts = features.splits.values()
    return np.concatenate([one.x_ND for one in parts]), np.concatenate([one.y_N for one in parts])


def extracted(folder: Path, store: Path, decoder: str, size: Size) -> Features:
    """Return the features of an image set by the bundled network, in the fastest precision of OpenVINO."""
    config = RunConfig(
        data=str(folder), size=size, weights="embedded", decoder=decoder, store=store, engine="openvino"
    )
    return extract(plan_extraction(config), find(folder), Stopwatch(), silent)


if __name__ == "__main__":
    sys.exit(exit_status(main))
