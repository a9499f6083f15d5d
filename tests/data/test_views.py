from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from transfer.data import decode, views
from transfer.data.limits import BadImage
from transfer.data.loader import Image
from transfer.data.resize import Resizing
from transfer.data.views import View
from transfer.system import files

SIZE = (32, 48)


def save(path: Path, x_HW3: np.ndarray) -> Image:
    buffer = io.BytesIO()
    PillowImage.fromarray(x_HW3).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return Image(path, 0, "train", files.sha256(buffer.getvalue()), x_HW3.shape[:2])


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


def test_the_image_itself_is_left_as_it_is(image: Image) -> None:
    assert (image.pixels(SIZE) == decode.pixels(image.data(), SIZE)).all()


def test_a_view_is_the_same_whenever_and_wherever_it_is_made(image: Image) -> None:
    own = [replace(image, view=View(number, 0)) for number in (1, 2, 3)]
    first = [one.pixels(SIZE) for one in own]
    with ThreadPoolExecutor(3) as pool:
        again = list(pool.map(lambda one: one.pixels(SIZE), reversed(own * 4)))
    assert all((x == first[2 - i % 3]).all() for i, x in enumerate(again))
    assert {x.shape for x in first} == {(*SIZE, 3)}
    assert {x.dtype for x in first} == {np.dtype(np.uint8)}


def test_another_number_seed_or_file_gives_another_view(image: Image, tmp_path: Path) -> None:
    other = save(tmp_path / "b.png", np.asarray(PillowImage.open(image.path)) ^ 1)
    found = [
        one.pixels(SIZE)
        for one in (
            image,
            replace(image, view=View(1, 0)),
            replace(image, view=View(2, 0)),
            replace(image, view=View(1, 1)),
            replace(other, view=View(1, 0)),
        )
    ]
    assert all((a != b).any() for i, a in enumerate(found) for b in found[:i])


def test_the_name_of_a_file_and_its_place_count_for_nothing(image: Image, tmp_path: Path) -> None:
    moved = replace(image, path=image.path.rename(tmp_path / "moved.png"), label=2, view=View(1, 0))
    assert (moved.pixels(SIZE) == replace(moved, label=0).pixels(SIZE)).all()


@pytest.mark.parametrize("way", ["stretch", "letterbox", "crop"])
def test_it_is_a_window_of_the_whole_image_in_its_own_detail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(views, "COLOUR", 0.0)
    x_HW3 = np.zeros((240, 360, 3), np.uint8)
    x_HW3[..., 0], x_HW3[..., 1] = np.arange(240)[:, None], np.arange(360) * 2 // 3
    image = replace(save(tmp_path / "ramp.png", x_HW3), resizing=Resizing(way=way))
    mirrored = 0
    for number in range(1, 30):
        shown = replace(image, view=View(number, 0)).pixels((120, 180)).astype(int)
        rows, columns = shown[:, 90, 0], shown[60, :, 1]
        if columns[0] > columns[-1]:
            mirrored, columns = mirrored + 1, columns[::-1]
        for along in (rows, columns):
            assert (np.diff(along) >= 0).all()
            assert 0.65 * 240 <= along[-1] - along[0] <= 240
    assert 5 < mirrored < 25


def test_colours_change_a_little(tmp_path: Path) -> None:
    image = save(tmp_path / "plain.png", np.full((40, 40, 3), (100, 120, 140), np.uint8))
    means = [replace(image, view=View(number, 0)).pixels(SIZE).mean((0, 1)) for number in range(1, 20)]
    assert np.std(means, 0).min() > 3
    assert all(mean.min() > 60 and mean.max() < 200 for mean in means)


def test_a_file_that_changed_is_a_bad_image_in_every_view(image: Image) -> None:
    image.path.write_bytes(b"other")
    with pytest.raises(BadImage, match="changed"):
        replace(image, view=View(1, 0)).pixels(SIZE)


def test_a_key_says_which_view_and_nothing_of_the_images_themselves() -> None:
    assert views.declare(None) == {}
    assert views.declare(View(2, 7)) == {"view": {"number": 2, "seed": 7, "augmentation": views.VERSION}}
