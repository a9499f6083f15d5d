from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from transfer.data import decode, resize


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_images_are_resized_by_the_filter_that_is_named(resample: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    expected = np.asarray(image.resize((32, 24), Image.Resampling[resample.upper()]))
    for found in (
        decode.pixels(buffer.getvalue(), (24, 32), resample=resample),
        decode.pixels_of(image, (24, 32), resample=resample),
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_filter_is_part_of_what_features_depend_on() -> None:
    assert resize.declare("bicubic") != resize.declare("bilinear")
