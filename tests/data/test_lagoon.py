"""The built-in image set: what is drawn, that it is always the same, and that it is not too easy."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transfer.data import lagoon
from transfer.data.lagoon import parts
from transfer.data.lagoon.boats import BOATS, PALETTE
from transfer.data.lagoon.hulls import Brush, build
from transfer.data.lagoon.parts import KINDS
from transfer.data.lagoon.scenery import scene, smear
from transfer.data.lagoon.waves import RIPPLES, SPRAY, SWELL, Cells, view
from transfer.system.errors import UserError

ONE = dict.fromkeys(lagoon.CLASSES, (0, 0, 0)) | {"Water": (1, 0, 0)}
FEW = ONE | {"Gondola": (2, 1, 1), "Topa": (1, 0, 0), "Water": (1, 1, 2)}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int, int]]:
    monkeypatch.setattr(lagoon, "COUNTS", FEW)
    return FEW


@pytest.mark.parametrize("name", lagoon.CLASSES)
def test_every_class_is_drawn(name: str) -> None:
    image = lagoon.draw(name, np.random.default_rng(0))
    assert (image.mode, image.size) == ("RGB", (lagoon.WIDTH, lagoon.HEIGHT))
    assert np.asarray(image).std() > 5


def test_seed_decides_every_pixel() -> None:
    first, again, other = (
        lagoon.draw("Mototopo", np.random.default_rng(seed)).tobytes() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


# sha256 of files of version 1.
GOLDEN = {
    "train/Topa/0001.jpg": "df69f609d1111e0387924f6e7c7d5472f88a70364c8da12aef7e844e3a813eb2",
    "train/Gondola/0003.jpg": "6096cecdd3c2deddad3b9feaec9138aa32fba0d38d5d440d83b0c328d61257d2",
    "valid/Water/0011.jpg": "a1ce74d21ce893fa6d02475d82e5600c0a2d097120d14816fed5f56a5c016191",
    "train/VaporettoACTV/0100.jpg": "4156de3bcdfca2d3fec86e9131217dd22418290cacc741a27dd693f7696a8d74",
    "test/Raccoltarifiuti/0002.jpg": "7de9c0068b41997690e0f56af47d2971a0f29d4d294c273fa0cc0a36f90eaeb4",
    "test/Mototopo/0040.jpg": "03dfd774f14785278aee144f885d6e7e77c32773c69a32eba866c018694f180c",
    "train/Patanella/0017.jpg": "0985f216acf6c332a62197b185c9ce5ed4aaa76cba8533caedccf25139d56ef2",
    "valid/Motopontonerettangolare/0001.jpg": "d441a1e7c14b1349640d8c6b350ba056caaf0d6370d636d66c7a3cb755ff34c1",
}


@pytest.mark.slow
@pytest.mark.parametrize("file", GOLDEN)
def test_files_are_the_same_as_ever(file: str, tmp_path: Path) -> None:
    [job] = [job for job in lagoon.plan(tmp_path, 0) if job[0] == tmp_path / file]
    lagoon.save(*job)
    assert hashlib.sha256(job[0].read_bytes()).hexdigest() == GOLDEN[file]


@pytest.mark.parametrize("cells", [SWELL, RIPPLES, SPRAY, ((1.6, 26, 1.0),)])
def test_waves_are_what_pillow_makes_of_them(cells: Cells) -> None:
    rng = np.random.default_rng(0)
    for lean in (-0.17, 0.0, 0.1):
        height, width = (
            int(size / cell) + 3 for size, cell in zip((420, 1080), cells[-1][1::-1], strict=True)
        )
        grid = rng.standard_normal((height, width), dtype=np.float32)
        bend, across, along = 0.5 / 240, (width - 2) / 1080, (height - 2) / 420
        lens = (across * 1.25, across * 540 * bend, across * 540 - across * 1.25 * 400,
                along * lean, along * 1.5, along * (80 - lean * 400), 0.0, bend)  # fmt: skip
        image = Image.fromarray(grid)
        shown = image.transform((800, 240), Image.Transform.PERSPECTIVE, lens, Image.Resampling.BILINEAR)
        assert np.array_equal(view(grid, lean), np.asarray(shown))


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("step", [1, 3])
def test_smearing_mixes_three_lines_and_leaves_the_ends(axis: int, step: int) -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (3, 20, 30)).astype(np.float32)
    expected = picture.copy()
    first, middle, last = (
        np.take(picture, range(start, picture.shape[axis] - 2 * step + start), axis)
        for start in (0, step, 2 * step)
    )
    inner = expected.swapaxes(0, axis)[step:-step]
    inner[:] = (middle * (1 - 2 * 0.3) + (first + last) * 0.3).swapaxes(0, axis)
    smear(picture, step, 0.3, axis)
    assert np.array_equal(picture, expected)


@pytest.mark.parametrize("name", BOATS)
def test_a_boat_is_its_layer_without_the_empty_edges(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    brushes: list[Brush] = []

    def begin(*args: Any) -> Brush:
        brushes.append(Brush(*args))
        return brushes[0]

    monkeypatch.setattr(parts, "Brush", begin)
    rng = np.random.default_rng(0)
    part, _ = parts.paint(build(name, rng), scene(rng).pose(400, 130, 1, 0.1), (800, 240), rng)
    layer = brushes[0].layer
    assert set(np.unique(np.asarray(layer)[..., 3])) == {0, 255}
    whole = Image.frombytes("RGBA", layer.size, layer.tobytes()).reduce(2)
    assert whole.crop(whole.getbbox()).tobytes() == part.tobytes()


def test_global_random_state_is_left_alone() -> None:
    before = pickle.dumps(np.random.get_state(legacy=False))
    lagoon.draw("Topa", np.random.default_rng(0))
    assert pickle.dumps(np.random.get_state(legacy=False)) == before


def test_classes_and_counts() -> None:
    assert tuple(sorted(lagoon.COUNTS)) == lagoon.CLASSES
    assert len(lagoon.CLASSES) == 16
    assert {"Water", *BOATS} == set(lagoon.CLASSES)
    counts = np.array([lagoon.COUNTS[name] for name in lagoon.CLASSES])
    assert (counts >= (6, 3, 4)).all()
    assert np.allclose(counts.sum(axis=0), (512, 128, 256), rtol=0.05)
    largest = sorted(lagoon.CLASSES, key=lambda name: -sum(lagoon.COUNTS[name]))[:3]
    assert largest == ["VaporettoACTV", "Water", "Mototopo"]


@pytest.mark.parametrize("name", BOATS)
def test_table_names_only_what_exists(name: str) -> None:
    boat = BOATS[name]
    colours = {*boat.hulls, *boat.decks, *boat.boots, *boat.rails, *boat.inner}
    for part in boat.parts:
        assert part.kind in KINDS
        assert 0 <= part.span[0] <= part.span[1] <= 1
        colours |= {*part.colours, *part.trim}
    assert colours <= set(PALETTE)


def test_make_writes_the_promised_files(tmp_path: Path, few: dict[str, tuple[int, int, int]]) -> None:
    calls: list[tuple[int, int]] = []
    root = lagoon.make(tmp_path / "new", seed=5, on_progress=lambda done, total: calls.append((done, total)))
    expected = {
        f"{split}/{name}/{i:04d}.jpg"
        for name, counts in few.items()
        for split, count in zip(("train", "valid", "test"), counts, strict=True)
        for i in range(count)
    }
    assert root == tmp_path / "new" / f"lagoon-v{lagoon.VERSION}-seed5"
    assert list((tmp_path / "new").iterdir()) == [root]
    assert set(digest(root)) == expected
    assert calls == [(i, len(expected)) for i in range(len(expected) + 1)]
    with Image.open(root / "test/Water/0001.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (800, 240))


@pytest.mark.slow
def test_same_seed_same_bytes(
    tmp_path: Path, few: dict[str, tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = digest(lagoon.make(tmp_path / "one"))
    monkeypatch.setattr(lagoon, "usable_cores", lambda: 1)
    assert digest(lagoon.make(tmp_path / "two")) == one
    assert len(set(one.values())) == len(one)


def test_second_call_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lagoon, "COUNTS", ONE)
    root = lagoon.make(tmp_path)

    def draw(name: str, rng: np.random.Generator) -> Image.Image:
        raise AssertionError("nothing is left to draw")

    monkeypatch.setattr(lagoon, "draw", draw)
    assert lagoon.make(tmp_path) == root
    with pytest.raises(AssertionError, match="nothing is left"):
        lagoon.make(tmp_path, seed=1)


@pytest.mark.slow
def test_files_that_were_lost_are_drawn_again(tmp_path: Path, few: dict[str, tuple[int, int, int]]) -> None:
    root = lagoon.make(tmp_path)
    before = digest(root)
    (root / "train/Gondola/0001.jpg").unlink()
    (root / "test/Water/0000.jpg").unlink()
    calls: list[tuple[int, int]] = []
    lagoon.make(tmp_path, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 2), (1, 2), (2, 2)]
    assert digest(root) == before


def test_a_file_that_is_not_finished_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lagoon, "COUNTS", ONE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left"):
            lagoon.make(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(digest(lagoon.make(tmp_path))) == 1


@pytest.mark.slow
def test_mean_colour_does_not_tell_the_classes_apart() -> None:
    names = (
        "Topa",
        "Patanella",
        "Mototopo",
        "Motobarca",
        "VaporettoACTV",
        "MotoscafoACTV",
        "Polizia",
        "Water",
    )
    colours = np.array(
        [
            [np.asarray(lagoon.draw(name, np.random.default_rng((kind, i)))).mean((0, 1)) for i in range(8)]
            for kind, name in enumerate(names)
        ]
    )
    centres = colours[:, :4].mean(axis=1)
    guesses = np.linalg.norm(colours[:, 4:, None] - centres, axis=-1).argmin(axis=-1)
    assert (guesses == np.arange(len(names))[:, None]).mean() < 0.5
