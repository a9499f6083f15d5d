from __future__ import annotations

import numpy as np
import pytest

from transfer.config import MAX_SIDE
from transfer.data.sizes import ENLARGED_SIDE, MAX_AREA, common_size, default_size


def sizes(*given: tuple[int, int]) -> np.ndarray:
    return np.array(given, np.int32)


@pytest.mark.parametrize(
    "own", [(240, 800), (480, 640), (640, 480), (224, 224), (48, 64), (512, 512), (64, 64)]
)
def test_usual_sizes_are_the_images_own(own: tuple[int, int]) -> None:
    assert default_size(sizes(own, own)) == common_size(sizes(own, own)) == own


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((3000, 4000), (480, 640)),
        ((4000, 3000), (640, 480)),
        ((1080, 1920), (416, 739)),
        ((481, 640), (480, 639)),
        ((32, 32), (64, 64)),
        ((28, 28), (64, 64)),
        ((1, 1), (64, 64)),
        ((20, 40), (64, 128)),
        ((16, 9000), (64, 8192)),
    ],
)
def test_sizes_beyond_the_bounds_are_scaled(own: tuple[int, int], expected: tuple[int, int]) -> None:
    assert default_size(sizes(own)) == expected


@pytest.mark.parametrize("own", [(1, 65535), (65535, 1), (47, 47), (700, 700), (9400, 9400), (33, 2000)])
def test_what_is_scaled_lies_within_the_bounds(own: tuple[int, int]) -> None:
    height, width = default_size(sizes(own))
    assert ENLARGED_SIDE <= min(height, width) <= max(height, width) <= MAX_SIDE
    assert height * width <= max(1.01 * MAX_AREA, ENLARGED_SIDE * MAX_SIDE)


def test_sizes_that_differ_become_224() -> None:
    assert default_size(sizes((3000, 4000), (4000, 3000))) == (224, 224)
    assert default_size(sizes((3000, 4000), (4000, 3000)), (384, 384)) == (384, 384)
    assert common_size(sizes((3000, 4000), (4000, 3000))) is None
