"""Image files read once, in threads: for their ids and sizes, unless they are known already.

N: images.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from transfer.data import decode, heif
from transfer.data.bad_images import BadImages
from transfer.data.copies import copy_codes
from transfer.data.dataset import ImageSet, redraw
from transfer.data.known_files import Header, KnownFiles, Stamp, stamp
from transfer.data.limits import BadImage
from transfer.data.loader import IndexedImages, read_bytes
from transfer.data.random_splits import SPLITS
from transfer.data.threads import begin_ahead, in_parts, readers
from transfer.system.progress import Progress

FILES_AHEAD = 256
# A file that takes longer is waited for: it lies on another machine, or a disk has to look for it.
SLOW_S = 0.002
# To hand one small file to a thread takes longer than to read it, and to look up one longer than to read a small one.
FILES_A_TASK, FILES_A_LOOKUP = 16, 10_000

Part = TypeVar("Part")
Made = TypeVar("Made")


def read(
    images: ImageSet,
    pool: ThreadPoolExecutor,
    bad: BadImages,
    on_progress: Progress,
    known: KnownFiles | None = None,
) -> IndexedImages:
    """Read each file of an image set that is not known once, for its id and its size.

    Splits that were drawn are drawn again if copies of an image lie in different ones. The number of bits that 16-bit
    images use is found by decoding them.

    Parameters
    ----------
    images : ImageSet
    pool : ThreadPoolExecutor
        Reads the files of a disk; those that are waited for are read in more threads.
    bad : BadImages
        Handles those that can't be read.
    on_progress : Progress
    known : KnownFiles, optional
        Files that were read before; those that are read now are kept in it.

    Returns
    -------
    IndexedImages
        The readable images.

    Raises
    ------
    UserError
        If a file can't be read and `bad` does not skip it, or the disk fails.
    """
    samples = images.samples()
    codes = np.arange(len(SPLITS), dtype=np.uint8)
    found = IndexedImages(
        samples,
        np.repeat(codes, [len(images.splits[split]) for split in SPLITS]),
        np.empty((len(samples), 32), np.uint8),
        np.empty((len(samples), 2), np.int32),
    )
    readable_N = np.ones(len(samples), bool)
    known, began_ns = known or KnownFiles(), time.time_ns()
    done, bits, has_heif = 0, 0, False  # bits: of the largest value in images of 16 bits

    def read_part(part: Sequence[int]) -> list[tuple[Stamp | None, Header | BadImage]]:
        return _headers([samples[i].path for i in part])

    def take(i: int, header: Header) -> None:
        nonlocal bits, has_heif
        bits, has_heif = max(bits, header.bits), has_heif or header.is_heif
        found.ids_N32[i] = np.frombuffer(header.sha256, np.uint8)
        found.size_N2[i] = header.height, header.width

    on_progress("read", 0, len(samples), "", "images")
    for start in range(0, len(samples), FILES_A_LOOKUP):
        rows = range(start, min(start + FILES_A_LOOKUP, len(samples)))
        headers = known.find(samples.root, samples.names[rows.start : rows.stop])
        for i, header in zip(rows, headers, strict=True):
            if header:
                take(i, header)
        new = [i for i, header in zip(rows, headers, strict=True) if not header]
        done += len(rows) - len(new)
        if len(new) < len(rows):
            on_progress("read", done, len(samples), "", "images")
        kept = []
        for part, future in _begin(read_part, in_parts(new, FILES_A_TASK), pool):
            for i, (own, result) in zip(part, future.result(), strict=True):
                if isinstance(result, BadImage):
                    bad.record(samples[i].path, result)
                    readable_N[i] = False
                else:
                    take(i, result)
                    kept.append((samples.names[i], own, result))
            done += len(part)
            on_progress("read", done, len(samples), "", "images")
        known.keep(samples.root, kept, began_ns)
    shift = decode.shift_for(bits) if bits else decode.SHIFT
    found = replace(found.select(readable_N), shift=shift, has_heif=has_heif)
    if not images.drawn:
        return found
    order_N, split_N = redraw(images, found.samples, found.split_N, copy_codes(found.ids_N32))
    return replace(found.select(order_N), split_N=split_N)


def _begin(
    call: Callable[[Part], Made], parts: Iterator[Part], pool: ThreadPoolExecutor
) -> Iterator[tuple[Part, Future[Made]]]:
    """Call for the first part alone; as long as that takes, so many threads take the others."""
    start = time.perf_counter()
    first = list(begin_ahead(call, islice(parts, 1), 1, pool))
    wait(future for _, future in first)
    is_slow = time.perf_counter() - start > FILES_A_TASK * SLOW_S
    yield from first
    # Of a disk more threads than cores take half as long again.
    with readers(parts) if is_slow else nullcontext(pool) as threads:
        yield from begin_ahead(call, parts, FILES_AHEAD // FILES_A_TASK, threads)


def _headers(paths: Sequence[Path]) -> list[tuple[Stamp | None, Header | BadImage]]:
    found: list[tuple[Stamp | None, Header | BadImage]] = []
    for path in paths:
        own = stamp(path)  # before the file is read: of one that changes meanwhile the next stamp is another
        try:
            data = read_bytes(path)
            size, is_deep = decode.header_of(data)
            bits = decode.bits_of(data) if is_deep else 0
            found.append((own, Header(hashlib.sha256(data).digest(), *size, bits, heif.is_heif(data))))
        except BadImage as error:
            found.append((own, error))
    return found
