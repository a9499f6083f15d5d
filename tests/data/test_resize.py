from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from transfer.data import decode
from transfer.data.limits import BadImage
from transfer.data.resize import Resizing, fit_image, place

WAYS = ["stretch", "letterbox", "crop"]
FILTERS = ["bilinear", "bicubic"]
SIZES = [(40, 60), (60, 40), (31, 47), (33, 200), (200, 33), (9, 7), (3, 50), (24, 50), (50, 32)]


def picture(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resample", FILTERS)
def test_files_and_opened_images_are_resized_alike(resample: str, way: str) -> None:
    image, resizing = picture((40, 60)), Resizing(way, resample)
    expected = fit_image(image, (24, 32), 8, resizing)
    for found in (
        decode.pixels(png(image), (24, 32), resizing=resizing),
        decode.pixels_of(image, (24, 32), resizing=resizing),
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("resample", FILTERS)
def test_images_are_stretched_by_the_filter_that_is_named(resample: str) -> None:
    image = picture((40, 60))
    expected = np.asarray(image.resize((32, 24), Image.Resampling[resample.upper()]))
    np.testing.assert_array_equal(fit_image(image, (24, 32), 8, Resizing("stretch", resample)), expected)


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("own", SIZES, ids=str)
def test_a_square_crop_is_that_of_torchvision(own: tuple[int, int], resample: str) -> None:
    image = picture(own)
    scaled = functional.resize(image, [32], InterpolationMode(resample))
    expected = np.asarray(functional.center_crop(scaled, [32, 32]))
    np.testing.assert_array_equal(fit_image(image, (32, 32), 8, Resizing("crop", resample)), expected)


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("own", SIZES, ids=str)
def test_a_square_letterbox_is_torchvisions_resize_and_its_crop_of_what_is_smaller(
    own: tuple[int, int], resample: str
) -> None:
    image = picture(own)
    # The longer side is the size: torchvision's own words for it are the shorter side and a bound.
    scaled = functional.resize(image, None, InterpolationMode(resample), max_size=32)
    expected = np.asarray(functional.center_crop(scaled, [32, 32]))
    np.testing.assert_array_equal(fit_image(image, (32, 32), 8, Resizing("letterbox", resample)), expected)


def by_hand(image: Image.Image, scaled: tuple[int, int], corner: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return what 24x60 pixels see of an image scaled to a size, from a corner on."""
    pixels = np.asarray(image.resize(scaled[::-1], Image.Resampling.BILINEAR))
    seen = np.zeros((24, 60, 3), np.uint8)
    for row in range(24):
        for column in range(60):
            at = row + corner[0], column + corner[1]
            if 0 <= at[0] < scaled[0] and 0 <= at[1] < scaled[1]:
                seen[row, column] = pixels[at]
    return seen


@pytest.mark.parametrize(
    ("own", "way", "scaled", "corner"),
    [
        ((40, 40), "letterbox", (24, 24), (0, -18)),
        ((40, 39), "letterbox", (24, 23), (0, -18)),
        ((10, 60), "letterbox", (10, 60), (-7, 0)),
        ((10, 120), "letterbox", (5, 60), (-9, 0)),
        ((40, 40), "crop", (60, 60), (18, 0)),
        ((41, 40), "crop", (61, 60), (18, 0)),
        ((43, 40), "crop", (64, 60), (20, 0)),
        ((12, 60), "crop", (24, 120), (0, 30)),
    ],
)
def test_the_other_side_is_rounded_down_and_the_centre_is_kept(
    own: tuple[int, int], way: str, scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    assert place(own, (24, 60), way) == (scaled, corner)
    np.testing.assert_array_equal(
        fit_image(picture(own), (24, 60), 8, Resizing(way)), by_hand(picture(own), scaled, corner)
    )


@pytest.mark.parametrize("way", WAYS)
def test_an_image_of_the_size_is_left_as_it_is(way: str) -> None:
    image = picture((24, 60))
    np.testing.assert_array_equal(fit_image(image, (24, 60), 8, Resizing(way)), np.asarray(image))


def test_an_image_of_which_a_crop_would_see_nothing_is_bad() -> None:
    row = picture((1, 5000))
    assert fit_image(row, (32, 32), 8, Resizing("letterbox")).shape == (32, 32, 3)
    with pytest.raises(BadImage, match="1x5000 is too narrow"):
        decode.pixels(png(row), (32, 32), resizing=Resizing("crop"))


def test_the_way_and_the_filter_are_part_of_what_features_depend_on() -> None:
    declared = [Resizing(way, resample).declared["resize"] for way in WAYS for resample in FILTERS]
    assert len(set(declared)) == 6
    assert declared[0] == "stretched, bilinear, antialiased"  # as features were kept before there were others
