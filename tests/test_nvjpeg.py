"""The decoding of batches as it is done on a CUDA device; without one, by torchvision's decoder on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.test_decode import HEIGHT, SIZE, WIDTH, encoded, smooth
from transfer import decode, nvjpeg
from transfer.decode import BadImage

# torchvision 0.29 announces that its decoders will move.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    ),
]


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", quality=95, **options)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(Image.fromarray(smooth()), exif=exif)


FILES = {
    "colour": jpeg(Image.fromarray(smooth())),
    "no chroma subsampling": jpeg(Image.fromarray(smooth()), subsampling=0),
    "grey": jpeg(Image.fromarray(smooth()).convert("L")),
    "progressive": jpeg(Image.fromarray(smooth()), progressive=True),
    "turned": turned(),
    "CMYK": jpeg(Image.fromarray(smooth()).convert("CMYK")),
    "PNG": encoded(Image.fromarray(smooth()), "PNG"),
    "cut": jpeg(Image.fromarray(smooth()))[:-40],
    "text": b"no image",
}
PLAIN = {"colour", "no chroma subsampling", "grey", "progressive"}


@pytest.mark.parametrize("name", FILES)
def test_only_plain_jpegs_go_to_the_device(name: str) -> None:
    assert decode.is_plain_jpeg(FILES[name]) == (name in PLAIN)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [SIZE, (17, 31)])
def test_pixels_are_those_of_pillow(device: str, size: tuple[int, int]) -> None:
    readable = [data for name, data in FILES.items() if name not in ("cut", "text")]
    found = nvjpeg.pixels(readable, size, device)
    for data, x_HW3 in zip(readable, found, strict=True):
        assert isinstance(x_HW3, torch.Tensor)
        assert (x_HW3.dtype, x_HW3.device.type, x_HW3.shape) == (torch.uint8, device, (*size, 3))
        # Decoders and resizers round in ways of their own.
        expected = decode.pixels(data, size).astype(int)
        assert np.abs(x_HW3.cpu().numpy() - expected).mean() < (0.6 if device == "cpu" else 3)


@pytest.mark.parametrize("device", DEVICES)
def test_what_can_not_be_read_has_its_reason_and_harms_no_other(device: str) -> None:
    names = ["cut", "colour", "text", "PNG"]
    found = nvjpeg.pixels([FILES[name] for name in names], SIZE, device)
    assert [isinstance(one, BadImage) for one in found] == [True, False, True, False]
    assert "not a JPEG" in str(found[2])
    x_HW3 = found[1]
    assert isinstance(x_HW3, torch.Tensor)
    assert np.abs(x_HW3.cpu().numpy() - smooth().astype(int)).mean() < 6


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_that_the_decoder_refuses_goes_to_pillow(device: str) -> None:
    whole = FILES["colour"]
    tables = whole.index(b"\xff\xc4")  # Huffman's; a decoder can't begin without them
    broken = whole[: tables + 4] + b"\xff" * 20 + whole[tables + 24 :]
    assert decode.is_plain_jpeg(broken)
    bad, good = nvjpeg.pixels([broken, whole], SIZE, device)
    assert isinstance(bad, BadImage)
    assert isinstance(good, torch.Tensor)
    np.testing.assert_array_equal(good.cpu().numpy(), decode.pixels(whole, SIZE))


def test_no_files_are_no_pixels() -> None:
    assert nvjpeg.pixels([], (HEIGHT, WIDTH), "cpu") == []


def test_pixels_of_two_decoders_are_never_taken_for_each_other() -> None:
    assert nvjpeg.DECLARED.keys() == decode.DECLARED.keys()
    assert nvjpeg.DECLARED != decode.DECLARED
