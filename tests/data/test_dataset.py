from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.files import touch
from tests.refusals import refusal
from transfer.data.dataset import ImageSet, Sample, find
from transfer.data.random_splits import SPLITS
from transfer.data.user_paths import list_image_files
from transfer.system.errors import UserError

Counts = dict[str, dict[str, int]]


def many(folder: str, count: int, suffix: str = ".jpg") -> list[str]:
    return [f"{folder}/{i:03}{suffix}" for i in range(count)]


def split_folder(root: Path, counts: Counts) -> Path:
    """`counts` holds, by split folder and class, how many images to make."""
    for split, classes in counts.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            touch(root, *many(f"{split}/{name}", count))
    return root


def class_folders(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        touch(root, *many(name, count))
    return root


def names(found: ImageSet, split: str) -> list[str]:
    return [sample.path.relative_to(found.root).as_posix() for sample in found.splits[split]]


def all_names(found: ImageSet) -> list[str]:
    return [name for split in SPLITS for name in names(found, split)]


def per_class(found: ImageSet, split: str) -> dict[str, int]:
    return dict(Counter(found.classes[sample.label] for sample in found.splits[split]))


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_three_split_folders_are_taken_as_they_are(tmp_path: Path, valid: str) -> None:
    counts = {"train": {"cat": 3, "dog": 2}, valid: {"cat": 1, "dog": 2}, "test": {"cat": 2, "dog": 1}}
    found = find(split_folder(tmp_path / "pets", counts))
    assert found.name == "pets"
    assert found.root == tmp_path / "pets"
    assert found.classes == ("cat", "dog")
    assert found.drawn == ()
    assert found.others == ()
    assert names(found, "train") == [*many("train/cat", 3), *many("train/dog", 2)]
    assert names(found, "valid") == [*many(f"{valid}/cat", 1), *many(f"{valid}/dog", 2)]
    assert names(found, "test") == [*many("test/cat", 2), *many("test/dog", 1)]
    assert [sample.label for sample in found.splits["train"]] == [0, 0, 0, 1, 1]


def test_samples_are_train_then_valid_then_test(tmp_path: Path) -> None:
    counts = {split: {"a": 2, "b": 2} for split in SPLITS}
    found = find(split_folder(tmp_path, counts))
    assert [sample.path.parent.parent.name for sample in found.samples()] == [
        *["train"] * 4,
        *["valid"] * 4,
        *["test"] * 4,
    ]


def test_the_set_is_named_after_its_folder_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(class_folders(tmp_path / "pets", {"cat": 3, "dog": 3}))
    assert find(Path()).name == "pets"


@pytest.mark.parametrize(("first", "second"), [("valid", "val"), ("val", "validation")])
def test_two_validation_folders_are_an_error(tmp_path: Path, first: str, second: str) -> None:
    classes = {"a": 1, "b": 1}
    split_folder(tmp_path, {"train": classes, first: classes, second: classes, "test": classes})
    message = refusal(find, tmp_path)
    assert f"{first}/" in message
    assert f"{second}/" in message
    assert str(tmp_path) in message


def test_a_missing_valid_is_drawn_from_train(tmp_path: Path) -> None:
    found = find(split_folder(tmp_path, {"train": {"a": 40, "b": 80, "c": 8}, "test": {"a": 2, "b": 1}}))
    assert found.drawn == ("valid",)
    # An eighth of train is a tenth of the whole where test is a fifth of it.
    assert per_class(found, "valid") == {"a": 5, "b": 10, "c": 1}
    assert per_class(found, "train") == {"a": 35, "b": 70, "c": 7}
    assert names(found, "test") == [*many("test/a", 2), *many("test/b", 1)]
    drawn = set(names(found, "valid"))
    whole = [*many("train/a", 40), *many("train/b", 80), *many("train/c", 8)]
    assert names(found, "train") == [name for name in whole if name not in drawn]
    assert names(found, "valid") == [name for name in whole if name in drawn]


def test_the_draw_hangs_on_the_seed(tmp_path: Path) -> None:
    root = split_folder(tmp_path, {"train": {"a": 40, "b": 40}, "test": {"a": 1, "b": 1}})
    assert names(find(root, seed=3), "valid") == names(find(root, seed=3), "valid")
    assert len({tuple(names(find(root, seed=seed), "valid")) for seed in range(5)}) == 5


def test_the_draw_is_no_run_of_neighbours(tmp_path: Path) -> None:
    found = find(split_folder(tmp_path, {"train": {"a": 80, "b": 80}, "test": {"a": 1, "b": 1}}))
    drawn = [name for name in names(found, "valid") if "/a/" in name]
    assert drawn not in (many("train/a", 80)[:10], many("train/a", 80)[-10:])


def test_class_folders_are_split_seventy_ten_twenty(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"a": 100, "b": 30, "c": 3}))
    assert found.drawn == SPLITS
    assert found.classes == ("a", "b", "c")
    assert per_class(found, "train") == {"a": 70, "b": 21, "c": 1}
    assert per_class(found, "valid") == {"a": 10, "b": 3, "c": 1}
    assert per_class(found, "test") == {"a": 20, "b": 6, "c": 1}


@pytest.mark.parametrize("count", range(3, 40))
def test_a_class_of_three_or_more_is_in_all_splits(tmp_path: Path, count: int) -> None:
    found = find(class_folders(tmp_path, {"a": count, "b": 10}))
    for split in SPLITS:
        assert per_class(found, split)["a"] >= 1
    assert per_class(found, "train")["a"] >= per_class(found, "test")["a"] >= per_class(found, "valid")["a"]


def test_every_image_is_in_exactly_one_split(tmp_path: Path) -> None:
    counts = {"a": 1, "b": 2, "c": 3, "d": 17, "e": 50}
    found = find(class_folders(tmp_path, counts))
    assert sorted(all_names(found)) == [
        name for folder, count in counts.items() for name in many(folder, count)
    ]


def test_labels_are_those_of_the_folders(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"a": 9, "b": 8, "c": 7}))
    for sample in found.samples():
        assert found.classes[sample.label] == sample.path.parent.name


@pytest.mark.parametrize(
    ("count", "expected"), [(1, {"train": 1}), (2, {"train": 1, "test": 1}), (3, dict.fromkeys(SPLITS, 1))]
)
def test_small_classes_serve_train_first(tmp_path: Path, count: int, expected: dict[str, int]) -> None:
    found = find(class_folders(tmp_path, {"big": 10, "small": count}))
    where = {split: per_class(found, split).get("small", 0) for split in SPLITS}
    assert where == dict.fromkeys(SPLITS, 0) | expected


@pytest.mark.parametrize(("count", "train", "valid"), [(1, 1, 0), (2, 1, 1), (3, 2, 1)])
def test_small_classes_serve_train_first_where_only_valid_is_drawn(
    tmp_path: Path, count: int, train: int, valid: int
) -> None:
    counts = {"train": {"big": 16, "small": count}, "test": {"big": 1, "small": 1}}
    found = find(split_folder(tmp_path, counts))
    assert per_class(found, "train")["small"] == train
    assert per_class(found, "valid").get("small", 0) == valid


@pytest.mark.parametrize("new", ["aa", "m", "zz"])
def test_another_class_leaves_the_split_of_the_others(tmp_path: Path, new: str) -> None:
    counts = {"cat": 30, "dog": 20}
    before = find(class_folders(tmp_path / "before", counts))
    after = find(class_folders(tmp_path / "after", {**counts, new: 25}))
    for split in SPLITS:
        assert [name for name in names(after, split) if not name.startswith(new)] == names(before, split)


def test_the_split_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    here, there = (find(class_folders(tmp_path / at, {"a": 20, "b": 20})) for at in ("x", "deep/er"))
    assert all_names(here) == all_names(there)


def test_class_folders_are_split_by_the_seed(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 30, "b": 30})
    assert find(root, seed=1) == find(root, seed=1)
    assert len({tuple(names(find(root, seed=seed), "test")) for seed in range(5)}) == 5


def test_classes_of_one_size_are_not_split_alike(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"a": 30, "b": 30}))
    first, second = ([s.path.name for s in found.splits["test"] if s.label == label] for label in range(2))
    assert first != second


def test_order_follows_the_names_not_the_disk(tmp_path: Path) -> None:
    made = ["b/2.jpg", "a/10.jpg", "b/1.jpg", "a/9.jpg", "B/5.jpg", "a/1/0.jpg", "a/z.jpg"]
    for split in SPLITS:
        touch(tmp_path, *(f"{split}/{name}" for name in made))
    found = find(tmp_path)
    assert found.classes == ("B", "a", "b")
    for split in SPLITS:
        assert names(found, split) == [
            f"{split}/{name}"
            for name in ["B/5.jpg", "a/1/0.jpg", "a/10.jpg", "a/9.jpg", "a/z.jpg", "b/1.jpg", "b/2.jpg"]
        ]


NESTED = ["a/b.jpg", "a/c/d.jpg", "a-1/b.jpg", "a-1/z.png", "a.jpg", "a b/c.jpg", "B.jpg"]
NESTED += ["b/a.jpg", "b/a/c.jpg", "b.d/e.jpg"]


def test_names_are_compared_part_by_part(tmp_path: Path) -> None:
    for split in SPLITS:
        touch(tmp_path, *(f"{split}/{c}/{name}" for c in ("boat", "ship") for name in NESTED))
    paths = [sample.path for sample in find(tmp_path).splits["train"]]
    assert paths == sorted(paths)
    assert [str(path) for path in paths] != sorted(map(str, paths))


def test_the_split_of_a_folder_stays_what_it_was(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{c}/{name}" for c in ("boat", "ship") for name in NESTED))
    found = find(tmp_path, seed=3)
    assert names(found, "valid") == ["boat/b/a.jpg", "ship/b/a/c.jpg"]
    assert names(found, "test") == ["boat/B.jpg", "boat/a/b.jpg", "ship/a-1/b.jpg", "ship/a.jpg"]
    boats = ["a/c/d.jpg", "a b/c.jpg", "a-1/b.jpg", "a-1/z.png", "a.jpg", "b/a/c.jpg", "b.d/e.jpg"]
    ships = ["B.jpg", "a/b.jpg", "a/c/d.jpg", "a b/c.jpg", "a-1/z.png", "b/a.jpg", "b.d/e.jpg"]
    assert names(found, "train") == [f"boat/{name}" for name in boats] + [f"ship/{name}" for name in ships]


def test_samples_are_a_sequence(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"a": 10, "b": 10}))
    samples = found.samples()
    listed = list(samples)
    assert len(samples) == len(listed) == 20
    assert samples[3] == Sample(found.root / samples.names[3], samples.label_N[3])
    assert samples[-1] == listed[-1]
    assert list(samples[2:5]) == listed[2:5]
    assert list(samples.select(samples.label_N == 1)) == [s for s in listed if s.label == 1]
    assert list(samples.select(np.array([7, 0, 7]))) == [listed[i] for i in (7, 0, 7)]
    assert list(samples[:0]) == []
    assert samples[:] == samples
    assert samples[1:] != samples[:-1]
    with pytest.raises(IndexError):
        samples[20]


def test_dealt_splits_are_in_order_too(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"b": 40, "a": 40}))
    for split in SPLITS:
        assert names(found, split) == sorted(names(found, split))


def test_images_are_found_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jpg", "a/monday/1.jpg", "a/monday/late/2.jpg", *many("b", 3))
    found = find(tmp_path)
    assert sorted(name for name in all_names(found) if name.startswith("a/")) == [
        "a/0.jpg",
        "a/monday/1.jpg",
        "a/monday/late/2.jpg",
    ]
    assert found.classes == ("a", "b")


@pytest.mark.parametrize("layout", ["splits", "classes"])
def test_other_files_are_reported_by_relative_name(tmp_path: Path, layout: str) -> None:
    folder = "" if layout == "classes" else "train/"
    if layout == "classes":
        class_folders(tmp_path, {"a": 5, "b": 5})
    else:
        split_folder(tmp_path, {split: {"a": 5, "b": 5} for split in SPLITS})
    others = [
        "readme.txt",
        ".DS_Store",
        f"{folder}a/notes.txt",
        f"{folder}a/._000.jpg",
        f"{folder}a/.hidden.png",
        f"{folder}a/deep/Thumbs.db",
        f"{folder}a/noextension",
        f"{folder}a/jpg",
    ]
    touch(tmp_path, *others)
    found = find(tmp_path)
    assert sorted(found.others) == sorted(others)
    assert not {Path(name).name for name in others} & {sample.path.name for sample in found.samples()}


@pytest.mark.parametrize("extra", ["train/labels.csv", "valid/labels.csv", "test/labels.csv"])
def test_files_beside_the_class_folders_are_others(tmp_path: Path, extra: str) -> None:
    split_folder(tmp_path, {split: {"a": 1, "b": 1} for split in SPLITS})
    touch(tmp_path, extra)
    assert find(tmp_path).others == (extra,)


@pytest.mark.parametrize("hidden", [".git", ".thumbnails"])
def test_hidden_folders_are_no_classes(tmp_path: Path, hidden: str) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3, hidden: 3})
    assert find(tmp_path).classes == ("a", "b")


def test_hidden_folders_inside_a_class_are_left_alone(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    touch(tmp_path, "a/.ipynb_checkpoints/000-checkpoint.jpg")
    assert "a/.ipynb_checkpoints/000-checkpoint.jpg" not in all_names(find(tmp_path))


def test_every_known_extension_in_any_case_is_an_image(tmp_path: Path) -> None:
    made = ["1.jpg", "2.JPG", "3.jpeg", "4.JPEG", "5.Png", "6.PNG", "7.webp", "8.WebP", "9.bmp", "X.BMP"]
    made += ["a.gif", "b.JFIF", "c.jpe", "d.tif", "e.TIFF", "f.avif"]
    touch(tmp_path, *(f"a/{name}" for name in made), *many("b", 3))
    found = find(tmp_path)
    assert sorted(name for name in all_names(found) if name.startswith("a/")) == [
        f"a/{name}" for name in made
    ]
    assert found.others == ()


def test_a_fifo_named_like_an_image_is_no_image(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    os.mkfifo(tmp_path / "a/x.jpg")
    found = find(tmp_path)
    assert "a/x.jpg" not in all_names(found)
    assert found.others == ("a/x.jpg",)


def test_a_folder_named_like_an_image_is_no_image(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    touch(tmp_path, "a/x.jpg/inner.png")
    found = find(tmp_path)
    assert "a/x.jpg/inner.png" in all_names(found)
    assert len(all_names(found)) == 7


def test_links_to_images_and_class_folders_are_followed_and_dead_ones_are_others(tmp_path: Path) -> None:
    store = class_folders(tmp_path / "store", {"b": 3})
    root = class_folders(tmp_path / "root", {"a": 3})
    (root / "b").symlink_to(store / "b")
    (root / "a/link.jpg").symlink_to(store / "b/000.jpg")
    (root / "a/dead.jpg").symlink_to(store / "gone.jpg")
    found = find(root)
    assert found.classes == ("a", "b")
    assert "a/link.jpg" in all_names(found)
    assert found.others == ("a/dead.jpg",)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"boat": 5, "train": 5}))
    assert found.classes == ("boat", "train")
    assert found.drawn == SPLITS
    assert len(all_names(found)) == 10


@pytest.mark.parametrize("name", ["test", "valid"])
def test_a_class_may_be_called_like_another_split(tmp_path: Path, name: str) -> None:
    found = find(class_folders(tmp_path, {"boat": 5, name: 5}))
    assert found.classes == ("boat", name)
    assert found.drawn == SPLITS


def test_class_names_need_not_be_ascii(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"Gòndola": 5, "船": 5, "with space": 5})
    assert find(root).classes == ("Gòndola", "with space", "船")
    assert len(all_names(find(root))) == 15


def test_a_class_without_test_images_is_allowed(tmp_path: Path) -> None:
    split_folder(tmp_path, {"train": {"a": 2, "b": 2}, "valid": {"a": 1}, "test": {"b": 1}})
    assert find(tmp_path).classes == ("a", "b")


def test_an_empty_class_folder_beside_others_is_no_class_and_named(tmp_path: Path) -> None:
    found = find(class_folders(tmp_path, {"a": 3, "b": 3, "none": 0, "deep/inside": 0}))
    assert found.classes == ("a", "b")
    assert found.empty_classes == ("deep", "none")
    assert find(class_folders(tmp_path / "full", {"a": 3, "b": 3})).empty_classes == ()


def test_an_empty_class_folder_in_test_that_train_lacks_is_named_once(tmp_path: Path) -> None:
    counts = {"train": {"a": 1, "b": 1}, "valid": {"a": 1, "ghost": 0}, "test": {"a": 1, "b": 0, "ghost": 0}}
    found = find(split_folder(tmp_path, counts))
    assert (found.classes, found.empty_classes) == (("a", "b"), ("ghost",))


def nothing(root: Path) -> None:
    pass


def empty_folder(root: Path) -> None:
    root.mkdir()


def a_file(root: Path) -> None:
    root.touch()


def flat_images(root: Path) -> None:
    touch(root, "1.jpg", "2.jpg")


def text_only(root: Path) -> None:
    touch(root, "a/1.txt", "b/2.txt")


def one_class(root: Path) -> None:
    class_folders(root, {"cat": 9})


def one_level_too_high(root: Path) -> None:
    split_folder(root / "photos", {split: {"cat": 2, "dog": 2} for split in SPLITS})


def one_class_with_images(root: Path) -> None:
    class_folders(root, {"cat": 9, "dog": 0})


def one_trained_class(root: Path) -> None:
    split_folder(root, {split: {"cat": 2} for split in SPLITS})


def new_class_in_test(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2}, "valid": {"cat": 1}, "test": {"cat": 1, "emu": 1}})


def new_class_in_valid(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2}, "val": {"emu": 1}, "test": {"cat": 1}})


def train_has_an_empty_class(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2, "emu": 0}, "valid": {"cat": 1}, "test": {"cat": 1}})


def train_has_an_empty_class_that_test_has(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2, "emu": 0}, "valid": {"cat": 1}, "test": {"emu": 1}})


def no_test(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2}, "valid": {"cat": 1, "dog": 1}})


def train_alone(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2}})


def empty_test(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2}, "valid": {"cat": 1}, "test": {"cat": 0}})


def empty_valid(root: Path) -> None:
    split_folder(root, {"train": {"cat": 2, "dog": 2}, "valid": {"cat": 0}, "test": {"cat": 1}})


def nothing_to_draw_valid_from(root: Path) -> None:
    split_folder(root, {"train": {"cat": 1, "dog": 1}, "test": {"cat": 1}})


def nothing_to_draw_test_from(root: Path) -> None:
    class_folders(root, {"cat": 1, "dog": 1})


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (nothing, ["no such folder", "{root}", "lagoon"]),
        (a_file, ["{root} is a file", "lagoon"]),
        (empty_folder, ["no images", "{root}", ".jpg", ".webp"]),
        (flat_images, ["no images", "{root}", "class folders", "if {root.name} is one of the classes"]),
        (text_only, ["no images", "{root}", "class folders"]),
        (one_class, ["fewer than two classes", "{root}"]),
        (one_level_too_high, ["fewer than two classes", "did you mean {root}/photos?"]),
        (one_class_with_images, ["fewer than two classes", "{root}"]),
        (one_trained_class, ["fewer than two classes", "{root}"]),
        (new_class_in_test, ["'emu'", "test/", "train/"]),
        (new_class_in_valid, ["'emu'", "val/", "train/"]),
        (train_has_an_empty_class, ["'emu'", "no image", "train/"]),
        (train_has_an_empty_class_that_test_has, ["'emu'", "no image", "train/"]),
        (no_test, ["{root}", "no test/"]),
        (train_alone, ["{root}", "no test/"]),
        (empty_test, ["test split", "{root}", "no images"]),
        (empty_valid, ["valid split", "{root}", "no images"]),
        (
            nothing_to_draw_valid_from,
            ["valid split", "{root}", "classes need 2 images or more; 'cat' has 1"],
        ),
        (nothing_to_draw_test_from, ["split", "{root}", "classes need 3 images or more; 'cat' has 1"]),
    ],
)
def test_a_folder_that_cannot_serve_is_refused(
    tmp_path: Path, make: Callable[[Path], None], parts: list[str]
) -> None:
    root = tmp_path / "images"
    make(root)
    message = refusal(find, root)
    for part in parts:
        assert part.format(root=root) in message


@pytest.mark.parametrize(
    "names", [("Train", "Test"), ("valid", "test"), ("training", "testing"), ("TRAIN", "VAL", "TEST")]
)
def test_splits_under_other_names_are_not_taken_for_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        class_folders(tmp_path / name, {"a": 3, "b": 3})
    with pytest.raises(UserError, match="seems to hold splits .*name them train/, valid/ and test/"):
        find(tmp_path)


def test_a_folder_that_can_not_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path, {"a": 3, "b": 3})
    real = os.scandir

    def scandir(path: Path | str) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        find(root)


def test_loops_of_links_come_to_an_end(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 3, "b": 3})
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self.jpg").symlink_to(root / "a" / "self.jpg")
    (root / "loop").symlink_to(root / "loop")
    found = find(root)
    assert found.classes == ("a", "b")
    assert len(found.samples()) == 6
    with pytest.raises(UserError, match="no such folder"):
        find(root / "loop")


@pytest.mark.slow
def test_folders_may_be_nested_deeply(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 3, "b": 3})
    for depth in (500, 1_000, 1_200):
        root.joinpath("a", *["d"] * depth).mkdir(parents=True, exist_ok=True)
    touch(root, "a/" + "d/" * 1_200 + "0.jpg")
    try:
        assert len(find(root).samples()) == 7
    finally:
        subprocess.run(["rm", "-r", root], check=True)  # Python's own way to delete folders fails on these


class TestGroups:
    """Files `DAY_i.jpg` of two classes, on six days."""

    DAYS = r"^\d+"

    @staticmethod
    def day_files(root: Path, *folders: str, days: int = 6) -> Path:
        for folder in folders:
            touch(
                root, *(f"{folder}/{c}/{day}_{i}.jpg" for c in "ab" for day in range(days) for i in range(5))
            )
        return root

    @staticmethod
    def days_of(found: ImageSet, split: str) -> set[str]:
        samples = found.splits[split]
        assert samples.group_N is not None
        days = [found.groups[group] for group in samples.group_N]
        assert days == [sample.path.name.split("_")[0] for sample in samples]
        return set(days)

    def test_drawn_splits_keep_groups_together(self, tmp_path: Path) -> None:
        found = find(self.day_files(tmp_path, "."), groups=self.DAYS)
        assert found.groups == tuple("012345")
        assert found.drawn == SPLITS
        sides = [self.days_of(found, split) for split in SPLITS]
        assert [len(days) for days in sides] == [4, 1, 1]
        assert set.union(*sides) == set("012345")

    def test_valid_is_drawn_from_train_in_groups(self, tmp_path: Path) -> None:
        found = find(self.day_files(tmp_path, "train", "test"), groups=self.DAYS)
        assert found.drawn == ("valid",)
        assert not self.days_of(found, "train") & self.days_of(found, "valid")
        assert self.days_of(found, "test") == set("012345")  # the user's own split stays as it is
        assert len(found.samples()) == 120

    def test_splits_of_the_folder_stay_as_they_are(self, tmp_path: Path) -> None:
        root = self.day_files(tmp_path, *SPLITS)
        with_groups, without = find(root, groups=self.DAYS), find(root)
        assert with_groups.splits == without.splits
        assert without.groups == ()
        assert without.samples().group_N is None
        samples = with_groups.samples()
        assert [with_groups.groups[group] for group in samples.group_N] == [
            sample.path.name.split("_")[0] for sample in samples
        ]

    def test_groups_go_with_the_samples_that_are_selected(self, tmp_path: Path) -> None:
        samples = find(self.day_files(tmp_path, *SPLITS), groups=self.DAYS).samples()
        rows = np.array([7, 0, 7])
        chosen = samples.select(rows)
        np.testing.assert_array_equal(chosen.group_N, samples.group_N[rows])
        np.testing.assert_array_equal(samples[3:9].group_N, samples.group_N[3:9])

    @pytest.mark.slow
    def test_the_seed_draws_other_groups(self, tmp_path: Path) -> None:
        root = self.day_files(tmp_path, ".")
        drawn = {
            frozenset(self.days_of(find(root, seed=seed, groups=self.DAYS), "test")) for seed in range(9)
        }
        assert len(drawn) > 1

    @pytest.mark.parametrize("pattern", ["[", "x", "jpg"])
    def test_a_pattern_that_makes_no_groups_is_refused(self, tmp_path: Path, pattern: str) -> None:
        with pytest.raises(UserError, match="`groups`"):
            find(self.day_files(tmp_path, "."), groups=pattern)

    def test_classes_that_no_groups_can_train_are_refused(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"{c}/{day}_{i}.jpg" for day, c in enumerate("abc") for i in range(9)))
        with pytest.raises(UserError, match="with these groups class '.' has no image left for training"):
            find(tmp_path, groups=self.DAYS)


class TestBelow:
    def test_folders_stand_for_the_images_in_them_in_order(self, tmp_path: Path) -> None:
        for name in ("b.jpg", "a/z.PNG", "a/b/c.bmp", "!/x.webp", ".h/x.jpg", ".x.jpg", "a/notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        given = [tmp_path / "b.jpg", tmp_path, tmp_path / "none", tmp_path / "a/notes.txt"]
        in_folder = [tmp_path / name for name in ("!/x.webp", "a/b/c.bmp", "a/z.PNG", "b.jpg")]
        files, left_out = list_image_files(given)
        assert [Path(name) for name in files] == [tmp_path / "b.jpg", *in_folder, *given[2:]]
        assert list(left_out) == [str(tmp_path / "a/notes.txt")]

    def test_a_folder_without_images_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_bytes(b"")
        with pytest.raises(UserError, match="no images in"):
            list_image_files([tmp_path])
