"""The decoding of batches as it is done on a CUDA device; without one, by torchvision's decoder on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_decode import HEIGHT, SIZE, WIDTH, encoded, smooth
from transfer.data import decode, nvjpeg
from transfer.data.resize import Resizing

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
# How far a decoder's pixels may be from Pillow's on the mean, of 255. Decoders and resizers round in ways of their own,
# and nvJPEG spreads colours that were kept at half the size otherwise: 4.0 on these pictures by an H100's.
FAR = {"cpu": 0.6, "cuda": 6.0}
PLAIN = {"colour", "no chroma subsampling", "grey", "progressive"}


@pytest.mark.parametrize("name", FILES)
def test_only_plain_jpegs_go_to_the_device(name: str) -> None:
    assert decode.is_plain_jpeg(FILES[name]) == (name in PLAIN)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("size", "way"), [(SIZE, "stretch"), ((17, 31), "stretch"), ((17, 17), "letterbox"), ((17, 17), "crop")]
)
def test_pixels_are_those_of_pillow(device: str, size: tuple[int, int], way: str) -> None:
    readable = [data for name, data in FILES.items() if name not in ("cut", "text")]
    x_NHW3, bad = nvjpeg.pixels(readable, size, device, resizing=Resizing(way))
    assert not bad
    assert (x_NHW3.dtype, x_NHW3.device.type) == (torch.uint8, device)
    assert x_NHW3.shape == (len(readable), *size, 3)
    for data, x_HW3 in zip(readable, x_NHW3.cpu().numpy(), strict=True):
        expected = decode.pixels(data, size, resizing=Resizing(way)).astype(int)
        assert np.abs(x_HW3 - expected).mean() < FAR[device]


@pytest.mark.parametrize("device", DEVICES)
def test_what_can_not_be_read_has_its_reason_and_harms_no_other(device: str) -> None:
    names = ["cut", "colour", "text", "PNG"]
    x_NHW3, bad = nvjpeg.pixels([FILES[name] for name in names], SIZE, device)
    assert bad.keys() == {0, 2}
    assert "not a JPEG" in str(bad[2])
    for x_HW3 in x_NHW3.cpu().numpy():
        assert np.abs(x_HW3 - smooth().astype(int)).mean() < 6


@pytest.mark.parametrize("device", DEVICES)
def test_only_the_file_that_the_decoder_refuses_goes_to_pillow(
    device: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = FILES["colour"]
    tables = whole.index(b"\xff\xc4")  # Huffman's; a decoder can't begin without them
    broken = whole[: tables + 4] + b"\xff" * 20 + whole[tables + 24 :]
    assert decode.is_plain_jpeg(broken)
    by_pillow = []
    real = decode.pixels
    monkeypatch.setattr(decode, "pixels", lambda data, *rest: by_pillow.append(data) or real(data, *rest))
    x_NHW3, bad = nvjpeg.pixels([broken, whole], SIZE, device)
    assert bad.keys() == {0}
    assert by_pillow == [broken]
    assert "refuses it" in caplog.text
    assert np.abs(x_NHW3[0].cpu().numpy() - real(whole, SIZE).astype(int)).mean() < FAR[device]


def test_too_little_memory_is_not_taken_for_a_bad_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(nvjpeg.io, "decode_jpeg", full)
    with pytest.raises(torch.OutOfMemoryError):
        nvjpeg.pixels([FILES["colour"]], SIZE, "cpu")


def test_no_files_are_no_pixels() -> None:
    x_NHW3, bad = nvjpeg.pixels([], SIZE, "cpu")
    assert (x_NHW3.shape, bad) == ((0, HEIGHT, WIDTH, 3), {})


def test_pixels_of_two_decoders_are_never_taken_for_each_other() -> None:
    assert nvjpeg.DECLARED.keys() == decode.DECLARED.keys()
    assert nvjpeg.DECLARED != decode.DECLARED
