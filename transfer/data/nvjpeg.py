"""JPEGs decoded on a CUDA device, a batch at a time; Pillow decodes what nvJPEG may not decode correctly.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

import torch
import torchvision
from torchvision import io
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import crop, resize

from transfer.data import decode
from transfer.data.limits import BadImage
from transfer.data.resize import STRETCH, Resizing, place
from transfer.system.text import first_line

# What changes pixels and therefore belongs to the key that features are stored under.
DECLARED = {
    **decode.DECLARED,
    "decoder": f"nvjpeg of torchvision {torchvision.__version__} up to {decode.LARGE_PIXELS} pixels, "
    f"else {decode.DECLARED['decoder']}",
}

log = logging.getLogger(__name__)


def pixels(
    files: Sequence[bytes],
    size: tuple[int, int],
    device: str = "cuda",
    shift: int = decode.SHIFT,
    resizing: Resizing = STRETCH,
) -> tuple[torch.Tensor, dict[int, BadImage]]:
    """Decode image files on a CUDA device.

    Files are decoded together, 4.5 times as fast as one by one (https://github.com/pytorch/vision/issues/8495). Files
    that are not plain JPEGs, or that nvJPEG refuses, are decoded by Pillow.

    Parameters
    ----------
    files : sequence of bytes
    size : (int, int)
        Height and width in pixels; other images are resized on the device.
    device : str
    shift : int
        Bits that 16-bit values are shifted right by.
    resizing : Resizing
        What is done to images of another size.

    Returns
    -------
    pixels : tensor of shape (N, H, W, 3), uint8
        On `device`, of the files that can be decoded.
    errors : dict of int to BadImage
        Why the others can't, by their index in `files`.
    """
    with contextlib.ExitStack() as stack:
        if device == "cuda":
            # torchvision decodes on a stream of its own, which waits for nothing that is queued elsewhere: memory
            # that another stream still reads must not be handed out here. So this one has its own, and is done
            # before anything of it is let go.
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stack.enter_context(torch.cuda.stream(stream))
        found: dict[int, torch.Tensor] = {}
        bad: dict[int, BadImage] = {}
        plain = [i for i, data in enumerate(files) if decode.is_plain_jpeg(data)]
        for i, x_3HW in zip(plain, _decoded([files[i] for i in plain], device), strict=True):
            if x_3HW is not None:
                with contextlib.suppress(BadImage):  # Pillow's way says so too
                    found[i] = _fitted(x_3HW, size, resizing).permute(1, 2, 0)
        for i in set(range(len(files))) - found.keys():
            try:
                found[i] = torch.tensor(decode.pixels(files[i], size, shift, resizing), device=device)
            except BadImage as error:
                bad[i] = error
        if not found:
            return torch.empty(0, *size, 3, dtype=torch.uint8, device=device), bad
        whole = torch.stack([found[i] for i in sorted(found)])
        if device == "cuda":
            stream.synchronize()
        return whole, bad


def _fitted(x_3HW: torch.Tensor, size: tuple[int, int], resizing: Resizing) -> torch.Tensor:
    scaled, corner = place((x_3HW.shape[1], x_3HW.shape[2]), size, resizing.way)
    x_3HW = resize(x_3HW, list(scaled), InterpolationMode(resizing.resample), antialias=True)
    return x_3HW if scaled == size else crop(x_3HW, *corner, *size)


def _decoded(files: Sequence[bytes], device: str) -> list[torch.Tensor | None]:
    """Return the pixels (3, H, W) of each file; None for one that the decoder refuses."""
    raw = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
    try:
        return list(io.decode_jpeg(raw, io.ImageReadMode.RGB, device)) if raw else []
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of a batch it does not tell which file it was
        if len(files) > 1:
            return [one for data in files for one in _decoded([data], device)]
        log.warning("an image goes to Pillow: nvJPEG refuses it (%s)", first_line(error))
        return [None]
