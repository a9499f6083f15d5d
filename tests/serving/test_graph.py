from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from transfer.backbones.preprocessing import Normalisation
from transfer.data.resize import Resizing, fit_image
from transfer.serving.graph import Classifier, Resize

SIZES = [
    *((32, 48), (64, 96), (96, 144), (33, 50), (20, 300), (7, 5), (32, 200), (1, 1), (500, 700)),
    # Where Pillow begins with the columns, and where it does not quite.
    *((48, 36), (48, 48), (49, 56), (48, 56), (33, 49), (500, 60), (31, 20), (20, 47)),
]


@pytest.mark.parametrize("way", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_images_are_resized_as_pillow_does_it(size: tuple[int, int], resample: str, way: str) -> None:
    resizing = Resizing(way, resample)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    expected = fit_image(Image.fromarray(pixels), (32, 48), 8, resizing)
    [found] = Resize((32, 48), resizing)(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("way", ["stretch", "letterbox", "crop"])
def test_an_image_of_the_right_size_stays_as_it_is(way: str) -> None:
    x_N3HW = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    assert torch.equal(Resize((32, 48), Resizing(way, "bicubic"))(x_N3HW), x_N3HW.double())


def test_a_network_gets_normalised_pixels_in_its_order_of_channels() -> None:
    class Head(torch.nn.Module):
        def forward(self, x_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x_ND.argmax(1), x_ND

    normalisation = Normalisation((0.0, 0.0, 0.5), (1.0, 1.0, 0.5), "bgr")
    classifier = Classifier(Resize((4, 4), Resizing()), torch.nn.AdaptiveAvgPool2d(1), normalisation, Head())
    pixels = torch.tensor([255, 51, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    label_N, x_ND = classifier(pixels)
    torch.testing.assert_close(x_ND, torch.tensor([[0.0, 0.2, 1.0]]))
    assert label_N.tolist() == [2]
