from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from tests.refusals import refusal
from transfer.data import batches as ready_batches
from transfer.data import decode, indexing, nvjpeg
from transfer.data.bad_images import BadImages
from transfer.data.batches import BATCHES_AHEAD, batches, batches_on
from transfer.data.dataset import ImageSet, Samples, find
from transfer.data.indexing import FILES_A_TASK, FILES_AHEAD, read
from transfer.data.limits import MAX_BYTES, BadImage
from transfer.data.loader import (
    Image,
    IndexedImages,
    Opened,
    Pixels,
)
from transfer.data.names import Names
from transfer.data.random_splits import SPLITS
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.progress import silent

SIZE = (6, 9)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as threads:
        yield threads


def pixels_of(value: int, size: tuple[int, int] = SIZE) -> Pixels:
    """Pixels that no other `value` has."""
    return np.random.default_rng(value).integers(0, 256, (*size, 3), dtype=np.uint8)


def write_png(path: Path, value: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels_of(value, size)).save(path)
    return path


def image_set(root: Path, splits: dict[str, list[str]]) -> ImageSet:
    """The files of `splits`, by name; the class is the first letter of the name."""
    samples = {
        split: Samples(
            root, Names.of(names), np.array(["ab".index(Path(name).name[0]) for name in names], np.int32)
        )
        for split, names in splits.items()
    }
    return ImageSet(name="set", root=root, classes=("a", "b"), splits=samples)


def small_set(root: Path) -> ImageSet:
    splits = {"train": ["a0.png", "b1.png", "a2.png"], "valid": ["b3.png"], "test": ["a4.png", "b5.png"]}
    for value, name in enumerate(name for names in splits.values() for name in names):
        write_png(root / name, value, (6, 9 + value))
    return image_set(root, splits)


def images_of(root: Path, count: int, pool: ThreadPoolExecutor) -> list[Image]:
    names = [f"a{i:03}.png" for i in range(count)]
    for i, name in enumerate(names):
        write_png(root / name, i)
    found = image_set(root, {"train": names, "valid": [], "test": []})
    return list(read(found, pool, BadImages(root, "error"), silent))


def test_reading_tells_ids_sizes_labels_and_splits_in_order(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    found = small_set(tmp_path)
    images = read(found, pool, BadImages(tmp_path, "error"), silent)
    assert [image.path for image in images] == [sample.path for sample in found.samples()]
    assert [image.label for image in images] == [0, 1, 0, 1, 0, 1]
    assert [image.split for image in images] == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert [image.size for image in images] == [(6, 9 + value) for value in range(6)]
    assert [image.id for image in images] == [
        hashlib.sha256(image.path.read_bytes()).hexdigest() for image in images
    ]


def test_copies_of_an_image_have_one_id(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    for name in ("a0.png", "b0.png"):
        write_png(tmp_path / name, 7)
    found = image_set(tmp_path, {"train": ["a0.png", "b0.png"], "valid": [], "test": []})
    first, second = read(found, pool, BadImages(tmp_path, "error"), silent)
    assert first.id == second.id
    assert first.path != second.path


def with_copies(root: Path, folders: dict[str, int], copies: dict[str, str]) -> Path:
    """Different images in folders, and copies of some of them."""
    for start, (folder, count) in enumerate(folders.items()):
        for i in range(count):
            write_png(root / folder / f"day{i % 4}_{i:02}.png", 1_000 * start + i)
    for source, copy in copies.items():
        (root / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / source, root / copy)
    return root


def splits_of(images: IndexedImages) -> dict[str, set[str]]:
    """By content, the splits that it is in."""
    found: dict[str, set[str]] = {}
    for image in images:
        found.setdefault(image.id, set()).add(image.split)
    return found


COPIES = {
    **{f"{{}}a/day{i % 4}_{i:02}.png": f"{{}}a/day{(i + 1) % 4}_copy{i}.png" for i in range(8)},
    "{}a/day1_09.png": "{}b/day3_x.png",
}


@pytest.mark.parametrize("layout", ["", "train/"])
@pytest.mark.parametrize("groups", [None, r"^day\d"])
def test_copies_of_an_image_are_drawn_into_one_split(
    tmp_path: Path, pool: ThreadPoolExecutor, layout: str, groups: str | None
) -> None:
    folders = {f"{layout}{name}": count for name, count in (("a", 24), ("b", 24), ("c", 24))}
    if layout:
        folders |= {"test/a": 4, "test/b": 4, "test/c": 4}
    copies = {one.format(layout): other.format(layout) for one, other in COPIES.items()}
    if groups:  # all groups would be one
        copies = dict(list(copies.items())[:1])
    root = with_copies(tmp_path / "data", folders, copies)
    found = find(root, seed=1, groups=groups)
    images = read(found, pool, BadImages(root, "error"), silent)
    assert all(len(splits) == 1 for splits in splits_of(images).values())
    assert {image.path for image in images} == {sample.path for sample in found.samples()}
    assert [image.label for image in images] == ["abc".index(image.path.parent.name) for image in images]
    assert images.split_N.tolist() == sorted(images.split_N)
    assert [image.id for image in images] == [
        hashlib.sha256(image.path.read_bytes()).hexdigest() for image in images
    ]
    for split in SPLITS:
        paths = [image.path for image in images.in_split(split)]
        assert paths == sorted(paths)
        if not groups:  # a class without copies is drawn as before
            assert [path for path in paths if path.parent.name == "c"] == [
                sample.path for sample in found.splits[split] if sample.label == 2
            ]


def test_groups_of_copies_share_a_split(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    root = with_copies(tmp_path, {"a": 24, "b": 24}, {"a/day0_00.png": "b/day2_copy.png"})
    images = read(find(root, groups=r"^day\d"), pool, BadImages(root, "error"), silent)
    sides = {image.split for image in images if image.path.name.startswith(("day0", "day2"))}
    assert len(sides) == 1


def test_splits_of_the_folder_stay_as_they_are_whatever_is_copied(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    folders = {f"{split}/{name}": 3 for split in SPLITS for name in "ab"}
    copies = {"train/a/day0_00.png": "test/a/x.png", "train/a/day1_01.png": "valid/b/y.png"}
    root = with_copies(tmp_path, folders, copies)
    found = find(root)
    images = read(found, pool, BadImages(root, "error"), silent)
    assert [image.path for image in images] == [sample.path for sample in found.samples()]
    assert sorted(map(len, splits_of(images).values()))[-2:] == [2, 2]


def test_reading_keeps_the_order_although_threads_finish_in_another(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = small_set(tmp_path)
    last_is_done = threading.Event()
    read_bytes = Path.read_bytes

    def first_waits_for_last(path: Path) -> bytes:
        if path.name == "a0.png":
            assert last_is_done.wait(10)
        data = read_bytes(path)
        if path.name == "b5.png":
            last_is_done.set()
        return data

    monkeypatch.setattr(Path, "read_bytes", first_waits_for_last)
    images = read(found, pool, BadImages(tmp_path, "error"), silent)
    assert [image.path for image in images] == [sample.path for sample in found.samples()]


def test_reading_begins_a_bounded_number_of_files(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "a.png", 0)
    found = image_set(tmp_path, {"train": ["a.png"] * (3 * FILES_AHEAD), "valid": [], "test": []})
    begun = done = 0
    submit = pool.submit

    def counted(call: Callable[..., Any], paths: list[Path]) -> Future[Any]:
        nonlocal begun
        begun += len(paths)
        assert begun <= done + FILES_AHEAD + FILES_A_TASK
        return submit(call, paths)

    def on_progress(phase: str, at: int, *_: object) -> None:
        nonlocal done
        done = at

    monkeypatch.setattr(pool, "submit", counted)
    monkeypatch.setattr(indexing, "SLOW_S", 60)
    assert len(read(found, pool, BadImages(tmp_path, "error"), on_progress)) == begun == 3 * FILES_AHEAD


class TestImages:
    @pytest.fixture
    def images(self, tmp_path: Path, pool: ThreadPoolExecutor) -> IndexedImages:
        return read(small_set(tmp_path), pool, BadImages(tmp_path, "error"), silent)

    def test_columns_hold_what_each_image_tells(self, images: IndexedImages) -> None:
        assert [image.id for image in images] == [row.tobytes().hex() for row in images.ids_N32]
        assert [image.size for image in images] == [tuple(row) for row in images.size_N2.tolist()]
        assert [image.label for image in images] == images.label_N.tolist()
        assert [image.split for image in images] == [SPLITS[code] for code in images.split_N]

    @pytest.mark.parametrize(
        ("rows", "at"),
        [
            (np.array([4, 0, 4]), [4, 0, 4]),
            (np.array([], int), []),
            (np.array([True, False, False, True, False, False]), [0, 3]),
            (np.zeros(6, bool), []),
            (slice(1, 3), [1, 2]),
        ],
    )
    def test_some_are_selected_by_indices_by_a_mask_or_by_a_slice(
        self, images: IndexedImages, rows: Any, at: list[int]
    ) -> None:
        chosen = images.select(rows)
        assert len(chosen) == len(at)
        assert list(chosen) == [images[i] for i in at]

    def test_a_slice_and_places_from_the_end_are_those_of_a_list(self, images: IndexedImages) -> None:
        assert list(images[1:-1]) == list(images)[1:-1]
        assert images[-1] == list(images)[-1]
        with pytest.raises(IndexError):
            images[6]

    @pytest.mark.parametrize(("split", "at"), [("train", [0, 1, 2]), ("valid", [3]), ("test", [4, 5])])
    def test_a_split_can_be_asked_for(self, images: IndexedImages, split: str, at: list[int]) -> None:
        assert list(images.in_split(split)) == [images[i] for i in at]
        assert not images.select(images.label_N < 0).in_split(split)

    def test_groups_and_names_go_with_the_images_that_can_be_read(
        self, tmp_path: Path, pool: ThreadPoolExecutor
    ) -> None:
        found = small_set(tmp_path)
        parts = {"train": [3, 1, 2], "valid": [0], "test": [1, 3]}
        splits = {
            split: replace(found.splits[split], group_N=np.array(codes, np.int32))
            for split, codes in parts.items()
        }
        spoil(tmp_path / "a2.png", "text")
        images = read(replace(found, splits=splits), pool, BadImages(tmp_path, "skip"), silent)
        assert images.group_N is not None
        assert images.group_N.tolist() == [3, 1, 0, 1, 3]
        assert list(images.samples.names) == ["a0.png", "b1.png", "b3.png", "a4.png", "b5.png"]
        assert images.in_split("test").group_N.tolist() == [1, 3]

    def test_images_without_groups_have_none(self, images: IndexedImages) -> None:
        assert images.group_N is None
        assert images.in_split("test").group_N is None

    def test_of_copies_the_first_is_kept_in_order(self, images: IndexedImages) -> None:
        copies = images.select(np.array([5, 2, 5, 0, 2, 2, 1]))
        assert list(copies.distinct()) == [images[i] for i in (5, 2, 0, 1)]
        assert list(images.distinct()) == list(images)
        assert not images[:0].distinct()


def test_reading_tells_its_progress(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    write_png(tmp_path / "a.png", 0)
    found = image_set(tmp_path, {"train": ["a.png"] * (2 * FILES_A_TASK + 3), "valid": [], "test": []})
    calls: list[tuple[Any, ...]] = []
    read(found, pool, BadImages(tmp_path, "error"), lambda *call: calls.append(call))
    total = 2 * FILES_A_TASK + 3
    done = (0, FILES_A_TASK, 2 * FILES_A_TASK, total)
    assert calls == [("read", files, total, "", "images") for files in done]


@pytest.mark.parametrize("fault", ["text", "empty", "gone", "folder", "pipe", "device", "loop", "endless"])
def test_a_bad_image_ends_the_run_and_is_named(tmp_path: Path, pool: ThreadPoolExecutor, fault: str) -> None:
    found = small_set(tmp_path)
    spoil(tmp_path / "b3.png", fault)
    message = refusal(read, found, pool, BadImages(tmp_path, "error"), silent)
    assert str(tmp_path / "b3.png") in message
    assert REASONS[fault] in message
    assert "`on_bad_image='skip'`" in message


REASONS = {
    "text": "not a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC image, or a damaged one",
    "empty": "not a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC image, or a damaged one",
    "gone": "No such file or directory",
    "folder": "Is a directory",
    "pipe": "not a file",
    "device": "not a file",
    "loop": "symbolic links",
    "endless": f"larger than {MAX_BYTES:,} bytes",
}


def spoil(path: Path, fault: str) -> None:
    path.unlink()
    if fault == "text":
        path.write_text("no picture")
    elif fault == "empty":
        path.touch()
    elif fault == "folder":
        path.mkdir()
    elif fault == "pipe":
        os.mkfifo(path)
    elif fault == "device":
        path.symlink_to("/dev/zero")
    elif fault == "loop":
        path.symlink_to(path)
    elif fault == "endless":
        with path.open("wb") as file:
            file.truncate(10**12)


def test_bad_images_are_left_out_and_listed(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    found = small_set(tmp_path)
    spoil(tmp_path / "a0.png", "text")
    spoil(tmp_path / "a4.png", "gone")
    bad = BadImages(tmp_path, "skip")
    calls: list[tuple[Any, ...]] = []
    images = read(found, pool, bad, lambda *call: calls.append(call))
    assert [image.path.name for image in images] == ["b1.png", "a2.png", "b3.png", "b5.png"]
    assert [image.label for image in images] == [1, 0, 1, 1]
    assert bad.skipped == {"a0.png": REASONS["text"], "a4.png": REASONS["gone"]}
    assert calls[-1][:3] == ("read", 6, 6)


def test_skipped_images_are_named_relative_to_the_root(tmp_path: Path) -> None:
    bad = BadImages(tmp_path, "skip")
    bad.record(tmp_path / "train/a/x.jpg", BadImage("broken"))
    assert bad.skipped == {"train/a/x.jpg": "broken"}


def test_pixels_are_those_of_the_file(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    [image] = images_of(tmp_path, 1, pool)
    np.testing.assert_array_equal(image.pixels(SIZE), pixels_of(0))


def write_deep(path: Path, largest: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.linspace(0, largest, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    PillowImage.fromarray(x).save(path)


@pytest.mark.parametrize(
    ("largest", "shift"),
    [([255, 100], 0), ([4095, 100], 4), ([1000, 4095], 4), ([3, 1023], 2), ([65535, 4095], 8), ([0, 0], 8)],
)
def test_one_shift_for_all_images_of_16_bits(
    tmp_path: Path, pool: ThreadPoolExecutor, largest: list[int], shift: int
) -> None:
    names = [f"a{i}.png" for i in range(40)]
    for i, name in enumerate(names):
        write_deep(tmp_path / name, largest[i == 17])
    write_png(tmp_path / "b.png", 1)  # one of 8 bits among them
    split = image_set(tmp_path, {"train": [*names, "b.png"], "valid": [], "test": []})
    found = read(split, pool, BadImages(tmp_path, "error"), silent)
    assert found.shift == shift
    assert found.in_split("train").select(np.array([3, 1])).shift == found.distinct().shift == shift
    expected = np.linspace(0, largest[0], SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16) >> shift
    np.testing.assert_array_equal(found[0].pixels(SIZE)[..., 0], expected.clip(0, 255))
    np.testing.assert_array_equal(found[40].pixels(SIZE), pixels_of(1))


@pytest.mark.parametrize("has_heif", [True, False])
def test_a_set_knows_whether_it_has_heic(tmp_path: Path, pool: ThreadPoolExecutor, *, has_heif: bool) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    for i in range(2):
        PillowImage.new("RGB", SIZE[::-1], (i, 9, 9)).save(tmp_path / f"a{i}.jpg", "JPEG")
    if has_heif:
        PillowImage.new("RGB", SIZE[::-1], 7).save(tmp_path / "a1.jpg", "HEIF")
    split = image_set(tmp_path, {"train": ["a0.jpg"], "valid": [], "test": ["a1.jpg"]})
    found = read(split, pool, BadImages(tmp_path, "error"), silent)
    assert found.has_heif == found.in_split("train").has_heif == has_heif


def test_an_upright_image_in_memory_is_not_distorted() -> None:
    x = pixels_of(0, (8, 20))
    image = PillowImage.fromarray(x)
    image.getexif()[0x0112] = 6
    data = Opened(Path("one"), image).data()
    assert decode.size_of(data) == (20, 8)
    np.testing.assert_array_equal(decode.pixels(data, (20, 8)), np.rot90(x, -1))


@pytest.mark.parametrize(("fault", "reason"), [("changed", "changed"), ("gone", REASONS["gone"])])
def test_a_file_that_is_another_since_it_was_read_is_bad(
    tmp_path: Path, pool: ThreadPoolExecutor, fault: str, reason: str
) -> None:
    [image] = images_of(tmp_path, 1, pool)
    if fault == "changed":
        write_png(image.path, 1)
    else:
        image.path.unlink()
    with pytest.raises(BadImage, match=reason):
        image.pixels(SIZE)


@pytest.mark.parametrize(
    ("count", "batch", "lengths"),
    [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (1, 1, [1]), (0, 4, []), (50, 3, [3] * 16 + [2])],
)
def test_batches_are_full_and_in_order_and_the_last_is_short(
    tmp_path: Path, pool: ThreadPoolExecutor, count: int, batch: int, lengths: list[int]
) -> None:
    images = images_of(tmp_path, count, pool)
    found = list(batches(images, batch, SIZE, pool, BadImages(tmp_path, "error")))
    assert [len(part) for part, _ in found] == lengths
    assert [image for part, _ in found for image in part] == images
    for part, x_NHW3 in found:
        assert x_NHW3.dtype == np.uint8
        assert x_NHW3.shape == (len(part), *SIZE, 3)
    whole = [x_HW3 for _, x_NHW3 in found for x_HW3 in x_NHW3]
    for value, x_HW3 in enumerate(whole):
        np.testing.assert_array_equal(x_HW3, pixels_of(value))


def test_batches_are_stretched_to_the_size_asked_for(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    images = images_of(tmp_path, 2, pool)
    [(_, x_NHW3)] = batches(images, 2, (12, 5), pool, BadImages(tmp_path, "error"))
    for value, x_HW3 in enumerate(x_NHW3):
        expected = PillowImage.fromarray(pixels_of(value)).resize((5, 12), PillowImage.Resampling.BILINEAR)
        np.testing.assert_array_equal(x_HW3, np.asarray(expected))


def truncate(path: Path) -> str:
    """Cut a file so that its size can still be read but not its pixels; return its new id."""
    path.write_bytes(path.read_bytes()[:-60])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def truncated(image: Image) -> Image:
    return Image(image.path, image.label, image.split, truncate(image.path), image.size)


@pytest.mark.parametrize("spoiled", [[0], [3], [9], [0, 1, 2], [3, 4, 9], list(range(10))])
def test_images_that_fail_later_are_left_out_and_batches_stay_full(
    tmp_path: Path, pool: ThreadPoolExecutor, spoiled: list[int]
) -> None:
    images = images_of(tmp_path, 10, pool)
    for i in spoiled:
        images[i] = truncated(images[i])
    bad = BadImages(tmp_path, "skip")
    found = list(batches(images, 4, SIZE, pool, bad))
    good = [image for i, image in enumerate(images) if i not in spoiled]
    assert [image for part, _ in found for image in part] == good
    assert [len(part) for part, _ in found] == [len(good[i : i + 4]) for i in range(0, len(good), 4)]
    assert list(bad.skipped) == [images[i].path.name for i in spoiled]
    for part, x_NHW3 in found:
        for image, x_HW3 in zip(part, x_NHW3, strict=True):
            np.testing.assert_array_equal(x_HW3, pixels_of(int(image.path.stem[1:])))


def test_an_image_that_fails_later_ends_the_run_under_the_other_rule(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    images = images_of(tmp_path, 6, pool)
    images[5] = truncated(images[5])
    ready = batches(images, 2, SIZE, pool, BadImages(tmp_path, "error"))
    assert [len(next(ready)[0]) for _ in range(2)] == [2, 2]
    with pytest.raises(UserError, match=r"a005\.png.*on_bad_image=.skip"):
        next(ready)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_decoding_runs_ahead_of_its_use_by_a_few_batches_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    total = 10 * batch
    calls: list[Path] = []

    def counted(image: Image, size: tuple[int, int]) -> Callable[[], Pixels]:
        calls.append(image.path)
        return lambda: pixels_of(0)

    monkeypatch.setattr(Image, "decoder", counted)
    images = [Image(tmp_path / f"{i}.png", 0, "train", str(i), SIZE) for i in range(total)]
    with ThreadPoolExecutor(4) as pool, ThreadPoolExecutor(8) as threads:
        monkeypatch.setattr(ready_batches, "readers", lambda _: nullcontext(threads))
        ready = batches(images, batch, SIZE, pool, BadImages(tmp_path, "error"))
        assert not calls
        for used in range(batch, total + 1, batch):
            next(ready)
            settle(threads)
            ahead = len(calls) - used
            assert ahead <= BATCHES_AHEAD * batch
            assert ahead >= min(batch, total - used)
        assert next(ready, None) is None
    assert sorted(calls) == sorted(image.path for image in images)


def settle(pool: ThreadPoolExecutor) -> None:
    """Wait until all that was given to `pool` before is done."""
    everyone = threading.Barrier(pool._max_workers + 1)
    waiting = [pool.submit(everyone.wait, 10) for _ in range(pool._max_workers)]
    everyone.wait(10)
    for future in waiting:
        future.result(10)


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_batches_on_a_device_are_those_of_the_processor(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    for i in range(10):  # half of them through the decoder, half past it
        kind = {"format": "JPEG", "quality": 95} if i % 2 else {"format": "PNG"}
        PillowImage.fromarray(pixels_of(i)).save(tmp_path / f"a{i:03}.jpg", **kind)
    names = sorted(path.name for path in tmp_path.iterdir())
    every = image_set(tmp_path, {"train": names, "valid": [], "test": []})
    images = list(read(every, pool, BadImages(tmp_path, "error"), silent))
    images[3] = truncated(images[3])
    images[5].path.unlink()
    bad = BadImages(tmp_path, "skip")
    found = list(batches_on("cpu", images, 4, SIZE, pool, bad))
    assert [[image.path.stem for image in part] for part, _ in found] == [
        ["a000", "a001", "a002"],
        ["a004", "a006", "a007"],
        ["a008", "a009"],
    ]
    for part, x_NHW3 in found:
        for image, x_HW3 in zip(part, x_NHW3, strict=True):
            np.testing.assert_array_equal(x_HW3, image.pixels(SIZE))
    assert list(bad.skipped) == [images[3].path.name, images[5].path.name]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_a_fault_of_the_machine_ends_the_run_though_bad_images_are_skipped(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    found = small_set(tmp_path)
    bad = BadImages(tmp_path, "skip")
    real = files.read

    def fails(path: Path, max_bytes: int) -> bytes:
        if path.name == "b3.png":
            raise OSError(number, os.strerror(number))
        return real(path, max_bytes)

    monkeypatch.setattr(files, "read", fails)
    with pytest.raises(UserError, match=r"b3\.png \(.*\); the machine failed, not the image"):
        read(found, pool, bad, silent)
    assert bad.skipped == {}


def test_images_in_memory_are_read_as_bytes_too(pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    """As nvJPEG's loader does."""
    opened = Opened(Path("images[0]"), PillowImage.fromarray(pixels_of(3)))
    np.testing.assert_array_equal(decode.pixels(opened.data(), SIZE), pixels_of(3))
    np.testing.assert_array_equal(opened.pixels(SIZE), pixels_of(3))


def test_a_device_without_memory_to_decode_is_one_line(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(nvjpeg, "pixels", full)
    images = images_of(tmp_path, 2, pool)
    ready = batches_on("cpu", images, 2, SIZE, pool, BadImages(tmp_path, "skip"))
    with pytest.raises(UserError, match="too little memory to decode images; use `decoder='pillow'`"):
        next(ready)
