"""Batches of pixels, read and decoded in threads ahead of their use, or on a CUDA device.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from transfer.data import decode
from transfer.data.bad_images import BadImages
from transfer.data.limits import BadImage
from transfer.data.loader import File, Pixels, Readable
from transfer.data.resize import STRETCH
from transfer.data.threads import begin_ahead, in_parts, readers
from transfer.system.errors import UserError

BATCHES_AHEAD = 3


def batches(
    images: Iterable[Readable], batch: int, size: tuple[int, int], pool: ThreadPoolExecutor, bad: BadImages
) -> Iterator[tuple[list[Readable], Pixels]]:
    """Yield images and their pixels in batches, decoded ahead of use.

    Parameters
    ----------
    images : iterable of File
    batch : int
        Images in a batch; the last one may be smaller.
    size : (int, int)
        Height and width in pixels.
    pool : ThreadPoolExecutor
        Decodes the images.
    bad : BadImages
        Handles those that can't be decoded.

    Yields
    ------
    images : list of File
    pixels : ndarray of shape (N, H, W, 3), uint8
    """
    for part in in_parts(_decoded(images, BATCHES_AHEAD * batch, size, pool, bad), batch):
        yield [image for image, _ in part], np.stack([pixels for _, pixels in part])


def batches_on(
    device: str,
    images: Iterable[Readable],
    batch: int,
    size: tuple[int, int],
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> Iterator[tuple[list[Readable], torch.Tensor]]:
    """Yield images and their pixels in batches, decoded on a CUDA device.

    Parameters
    ----------
    device : str
    images, batch, size, pool, bad
        As for `batches`.

    Yields
    ------
    images : list of File
        Fewer than `batch` if some of the batch can't be decoded.
    pixels : tensor of shape (N, H, W, 3), uint8
        On the device.

    Raises
    ------
    UserError
        If the device has too little memory.
    """
    with readers(images) as threads:
        parts = in_parts(
            begin_ahead(lambda image: image.data(), images, BATCHES_AHEAD * batch, threads), batch
        )
        for part, future in begin_ahead(
            lambda part: _decoded_on(device, part, size), parts, BATCHES_AHEAD, pool
        ):
            x_NHW3, errors = future.result()
            for i in sorted(errors):
                bad.record(part[i][0].path, errors[i])
            if len(x_NHW3):
                if x_NHW3.is_cuda:  # it was made on another stream than the one that will read it
                    x_NHW3.record_stream(torch.cuda.current_stream())
                yield [image for i, (image, _) in enumerate(part) if i not in errors], x_NHW3


def _decoded_on(
    device: str, images: Sequence[tuple[File, Future[bytes]]], size: tuple[int, int]
) -> tuple[torch.Tensor, dict[int, BadImage]]:
    from transfer.data import nvjpeg  # torchvision, which takes a second to import

    found: dict[int, bytes] = {}
    bad: dict[int, BadImage] = {}
    for i, (_, data) in enumerate(images):
        try:
            found[i] = data.result()
        except BadImage as error:
            bad[i] = error
    try:
        shift = images[0][0].shift if images else decode.SHIFT
        resizing = images[0][0].resizing if images else STRETCH
        x_NHW3, errors = nvjpeg.pixels(list(found.values()), size, device, shift, resizing)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the {device} device has too little memory to decode images; use `decoder='pillow'`"
        ) from error
    places = list(found)
    return x_NHW3, bad | {places[i]: error for i, error in errors.items()}


def _decoded(
    images: Iterable[Readable], ahead: int, size: tuple[int, int], pool: ThreadPoolExecutor, bad: BadImages
) -> Iterator[tuple[Readable, Pixels]]:
    def read_and_decode(image: Readable) -> Pixels:
        # Who waits here has the bytes of one image, so that memory has those of as many as there are readers.
        return pool.submit(image.decoder(size)).result()

    with readers(images) as threads:
        for image, future in begin_ahead(read_and_decode, images, ahead, threads):
            try:
                yield image, future.result()
            except BadImage as error:
                bad.record(image.path, error)
