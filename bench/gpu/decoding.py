"""Photographs from files to pixels and to features: Pillow by threads, nvJPEG, and the usual loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from bench import ways
from bench.gpu import inputs
from bench.gpu.part import Part, Row
from bench.gpu.timing import time_blocks
from transfer.data import decode
from transfer.system.hardware import usable_cores


def measure(part: Part) -> None:
    """Measure decoders, then the whole way from files to the store."""
    photographs = inputs.photographs(part)
    files = [path.read_bytes() for path in sorted(photographs.glob("*/*.jpg"))]
    # Of one precision each: what is in the store is not computed again.
    precision = "fp16" if part.device == "cuda" else "fp32"

    def timed(operation: str, way: str, call: Callable[[], Any], **facts: Any) -> Iterable[Row]:
        yield {
            "operation": operation,
            "way": way,
            "images": len(files),
            "shape": list(ways.SIZE),
            **facts,
            **time_blocks(call, part.device),
        }

    def in_threads(threads: int) -> Iterable[Row]:
        with ThreadPoolExecutor(threads) as pool:
            one = partial(decode.pixels, size=ways.SIZE)
            yield from timed("decode", "Pillow", lambda: list(pool.map(one, files)), threads=threads)

    cores = usable_cores()
    for threads in sorted({1, max(1, cores // 2), cores, 2 * cores}):
        part.run(f"decode, Pillow, {threads} threads", partial(in_threads, threads))
    with inputs.extractor(part) as extractor:
        part.run(
            "decode, nvJPEG",
            lambda: timed("decode", "nvJPEG", partial(ways.pixels_on_device, extractor)),
            needs_cuda=True,
        )

        def extract(decoder: str) -> Iterable[Row]:
            own = replace(extractor, decoder=decoder)
            engine = ways.engine(own, "eager", precision, part.device)
            call = partial(ways.to_store, own, engine)
            yield from timed("extract", f"eager, {decoder}", call, precision=precision)

        def loop() -> Iterable[Row]:
            forward = ways.references(extractor, part.device)[ways.PYTORCH]()
            call = partial(ways.from_files, forward, photographs)
            in_ = ways.reference_precision(ways.PYTORCH, part.device)
            yield from timed("extract", ways.PYTORCH, call, precision=in_, reference=True)

        part.run("files to features, Pillow", partial(extract, "pillow"))
        part.run("files to features, nvJPEG", partial(extract, "nvjpeg"), needs_cuda=True)
        part.run(f"files to features, {ways.PYTORCH}", loop)
