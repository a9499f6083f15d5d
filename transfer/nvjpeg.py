"""JPEGs decoded on a CUDA device, a batch at a time; what nvJPEG may not get right is left to Pillow.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torchvision import io
from torchvision.transforms.v2.functional import resize

from transfer import decode
from transfer.decode import BadImage

# What changes pixels and therefore belongs to the key that features are stored under.
DECLARED = {
    **decode.DECLARED,
    "decoder": f"nvjpeg of torchvision {torchvision.__version__}, else {decode.DECLARED['decoder']}",
}


def pixels(
    files: Sequence[bytes], size: tuple[int, int], device: str = "cuda"
) -> list[torch.Tensor | BadImage]:
    """For each image file its RGB pixels `(H, W, 3)` uint8 on `device`, or why it can't be read.

    Files are decoded together, 4.5 times as fast as one by one (https://github.com/pytorch/vision/issues/8495);
    pixels of another size than `size` = (H, W) are stretched on the device. Files that are no plain JPEG go to
    Pillow, and all of them do where nvJPEG fails, since it does not tell on which.
    """
    plain = [i for i, data in enumerate(files) if decode.is_plain_jpeg(data)]
    try:
        raw = [torch.frombuffer(bytearray(files[i]), dtype=torch.uint8) for i in plain]
        decoded = io.decode_jpeg(raw, io.ImageReadMode.RGB, device) if raw else []
    except RuntimeError:
        plain, decoded = [], []
    found = {
        i: resize(x_3HW, list(size), antialias=True).permute(1, 2, 0)
        for i, x_3HW in zip(plain, decoded, strict=True)
    }
    return [found[i] if i in found else _by_pillow(data, size, device) for i, data in enumerate(files)]


def _by_pillow(data: bytes, size: tuple[int, int], device: str) -> torch.Tensor | BadImage:
    try:
        return torch.tensor(decode.pixels(data, size), device=device)
    except BadImage as error:
        return error
