from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from transfer.data.formats import (
    FIRST_BYTES,
    IMAGE_SUFFIXES,
    image_format,
    is_image_file,
    suffix,
    webp_pixels,
)


def encoded(format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 40, 40)).save(buffer, format_name, **options)
    return buffer.getvalue()


def box(major: bytes, *compatible: bytes) -> bytes:
    """The first box of an ISO media file."""
    brands = major + bytes(4) + b"".join(compatible)
    return (8 + len(brands)).to_bytes(4) + b"ftyp" + brands + bytes(40)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_formats_are_recognised_in_what_pillow_writes(name: str) -> None:
    assert image_format(encoded(name)[:FIRST_BYTES]) == name


def test_a_progressive_jpeg_and_a_jpeg_with_exif_data_are_jpegs() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert image_format(encoded("JPEG", progressive=True)[:FIRST_BYTES]) == "JPEG"
    assert image_format(encoded("JPEG", exif=exif)[:FIRST_BYTES]) == "JPEG"


def test_an_avif_is_known_by_any_of_its_brands() -> None:
    assert image_format(box(b"avif", b"mif1")) == "AVIF"
    assert image_format(box(b"mif1", b"miaf", b"avif")) == "AVIF"
    assert image_format(box(b"isom", b"mp42")) is None


def test_a_heic_is_known_by_its_brands() -> None:
    assert image_format(box(b"heic", b"mif1", b"heic")) == "HEIF"
    assert image_format(box(b"mif1", b"heix")) == "HEIF"
    assert image_format(box(b"isom", b"hvc1")) is None


@pytest.mark.parametrize(
    "other",
    [
        b"", b"\xff", b"\xff\xd8", b"BM", b"BM is how this text begins, and it is long enough to be a header",
        b"RIFF\x00\x00\x00\x00WAVEfmt ", b"<!DOCTYPE html>", b"%PDF-1.7", b"PK\x03\x04", b"GIF88a", bytes(64),
        b"\x89PNG", b"II", b"MM\x00\x2c", b"version https://git-lfs.github.com/spec/v1",
    ],
)  # fmt: skip
def test_other_files_are_no_images(other: bytes) -> None:
    assert image_format(other) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("animated", [True, False])
def test_the_pixels_that_a_webp_declares_are_read_from_its_header(
    mode: str, lossless: bool, animated: bool
) -> None:
    buffer = io.BytesIO()
    image = Image.new(mode, (321, 77), 90)
    others = {"save_all": True, "append_images": [Image.new(mode, (321, 77), 9)]} if animated else {}
    image.save(buffer, "WEBP", lossless=lossless, **others)
    data = buffer.getvalue()
    assert webp_pixels(data[:FIRST_BYTES]) == 321 * 77
    for cut in range(30):
        webp_pixels(data[:cut])
    assert webp_pixels(data[:12] + b"JUNK" + data[16:FIRST_BYTES]) == webp_pixels(encoded("PNG")) == 0


def test_suffixes_are_compared_in_lower_case() -> None:
    assert [suffix(name) for name in ("a.JPG", "a", "a.b/c", "x.tar.GZ", "2024.01")] == [
        ".jpg", "", "", ".gz", ".01",
    ]  # fmt: skip
    assert all(name == name.lower() and name.startswith(".") for name in IMAGE_SUFFIXES)


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.hif", "photo.dat", "photo.2024"])
def test_contents_tell_an_image_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encoded("JPEG"))
    assert is_image_file(str(path))
    path.write_bytes(b"no image")
    assert not is_image_file(str(path))


def test_known_suffixes_are_taken_without_a_look(tmp_path: Path) -> None:
    assert is_image_file(str(tmp_path / "none.jpg"))


@pytest.mark.parametrize("name", ["photo.NEF", "photo.dng", "photo.cr2"])
def test_raw_photographs_are_not_taken_for_tiff_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded("TIFF"))
    assert not is_image_file(str(tmp_path / name))


def test_a_file_that_can_not_be_opened_is_no_image(tmp_path: Path) -> None:
    assert not is_image_file(str(tmp_path / "none"))
