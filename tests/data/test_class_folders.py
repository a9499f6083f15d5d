from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest

from tests.data.files import touch
from tests.refusals import refusal
from transfer.data.class_folders import FOLDERS_NAMED, ClassFolders, find_class_folders

SPLITS = ("train", "valid", "test")
ACUTE = {form: unicodedata.normalize(form, "bébé") for form in ("NFC", "NFD")}


def many(folder: str, count: int, suffix: str = ".jpg") -> list[str]:
    return [f"{folder}/{i:03}{suffix}" for i in range(count)]


def warnings(found: ClassFolders, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING):
        found.warn()
    return [record.getMessage() for record in caplog.records]


def count(found: ClassFolders) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split, parts in found.splits.items():
        for label, names in parts:
            name = found.classes[label]
            counts.setdefault(split, {})[name] = counts.get(split, {}).get(name, 0) + len(names)
    return counts


def test_a_set_that_loses_nothing_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(
        tmp_path, *many("a", 10), *many("b", 10), "a/@eaDir/x.jpg", "a/Thumbs.db", ".DS_Store", "readme.txt"
    )
    found = find_class_folders(tmp_path)
    assert warnings(found, caplog) == []
    assert sorted(found.others) == [".DS_Store", "a/@eaDir/", "a/Thumbs.db", "readme.txt"]


@pytest.mark.parametrize(("lost", "message"), [(1, False), (2, True), (9, True)])
def test_a_class_that_loses_a_tenth_of_its_files_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: int, message: bool
) -> None:
    touch(tmp_path, *many("a", 18), *many("a", lost, ".xyz"), *many("b", 18))
    expected = [f"class a: {lost} of {18 + lost} files are not images: {lost} .xyz"]
    assert warnings(find_class_folders(tmp_path), caplog) == (expected if message else [])


@pytest.mark.parametrize("split", SPLITS)
def test_a_class_of_any_split_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, split: str) -> None:
    for other in SPLITS:
        touch(tmp_path, *many(f"{other}/a", 3), *many(f"{other}/b", 3))
    touch(tmp_path, *many(f"{split}/b", 2, ".svg"), f"{split}/b/notes")
    found = find_class_folders(tmp_path)
    message = f"class {split}/b: 3 of 6 files are not images: 2 .svg, 1 without a suffix"
    assert warnings(found, caplog) == [message]
    assert len(found.others) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (many("c", 15, ".xyz"), "15 of 15 files are not images: 15 .xyz"),
        (["c/deep/er/1.doc"], "1 of 1 files are not images: 1 .doc"),
        (["c/.hidden.jpg", "c/@eaDir/1.jpg"], "2 hidden or system files or folders"),
        ([], "it is empty"),
    ],
)
def test_a_class_folder_without_an_image_is_named_with_what_it_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, files: list[str], message: str
) -> None:
    touch(tmp_path, *many("a", 3), *many("b", 3), *files)
    (tmp_path / "c").mkdir(exist_ok=True)
    found = find_class_folders(tmp_path)
    assert found.empty == {"c"}
    assert warnings(found, caplog) == [f"class folder c has no image: {message}"]


def test_a_class_without_test_images_but_with_files_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in SPLITS:
        touch(
            tmp_path, *many(f"{split}/a", 3), *(many(f"{split}/b", 3, ".xyz" if split == "test" else ".jpg"))
        )
    message = "class folder test/b has no image: 3 of 3 files are not images: 3 .xyz"
    assert warnings(find_class_folders(tmp_path), caplog) == [message]


def test_broken_links_are_files_that_are_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *many("a", 3), *many("b", 3))
    (tmp_path / "b/2024").symlink_to(tmp_path / "unmounted")
    assert warnings(find_class_folders(tmp_path), caplog) == [
        "class b: 1 of 4 files are not images: 1 broken links"
    ]


def test_a_class_folder_that_is_a_broken_link_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *many("a", 3), *many("b", 3))
    (tmp_path / "c").symlink_to(tmp_path / "unmounted")
    found = find_class_folders(tmp_path)
    assert found.others == ["c"]
    assert warnings(found, caplog) == ["c is a link that leads nowhere"]


def test_images_beside_the_class_folders_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in SPLITS:
        touch(tmp_path, *many(f"{split}/a", 3), *many(f"{split}/b", 3))
    touch(tmp_path, "cover.jpg", *many("test", 2), *many("unlabelled", 4))
    found = find_class_folders(tmp_path)
    put = "beside class folders; put each into the folder of its class"
    assert warnings(found, caplog) == [
        f"{tmp_path}/ holds 1 image {put}",
        f"test/ holds 2 images {put}",
        "unlabelled/ holds 4 images that are not used: it is none of the splits",
    ]
    assert len(found.others) == 7


def test_warnings_are_a_bounded_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *(f"class{i:02}/0.xyz" for i in range(30)), *many("a", 3), *many("b", 3))
    message = warnings(find_class_folders(tmp_path), caplog)
    assert len(message) == FOLDERS_NAMED + 1
    assert message[-1] == f"{30 - FOLDERS_NAMED} more folders hold files that are not used"


@pytest.mark.parametrize(("train", "test"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_that_look_alike_are_one_class_spelled_as_in_train(
    tmp_path: Path, train: str, test: str
) -> None:
    for split in SPLITS:
        touch(
            tmp_path,
            *many(f"{split}/{ACUTE[train if split == 'train' else test]}", 3),
            *many(f"{split}/b", 2),
        )
    found = find_class_folders(tmp_path)
    assert sorted(found.classes) == sorted([ACUTE[train], "b"])
    assert count(found) == {split: {ACUTE[train]: 3, "b": 2} for split in SPLITS}


def test_two_class_folders_that_look_alike_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, *(name for form in ACUTE.values() for name in many(form, 2)), *many("c", 3))
    assert count(find_class_folders(tmp_path)) == {"train": {ACUTE["NFD"]: 4, "c": 3}}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gondola", "did you mean 'Gondola'?"),
        ("Gondolla", "did you mean 'Gondola'?"),
        ("Gondola ", "did you mean 'Gondola'?"),
        ("emu", "add training images of it, or take it out"),
    ],
)
def test_an_unknown_class_is_reported_with_the_nearest_name(tmp_path: Path, name: str, hint: str) -> None:
    touch(
        tmp_path,
        *many("train/Gondola", 3),
        *many("train/Topa", 3),
        *many(f"test/{name}", 2),
        "test/Topa/1.jpg",
    )
    assert refusal(find_class_folders, tmp_path) == f"class {name!r} is in test/ but not in train/; {hint}"


def test_what_a_run_wrote_is_no_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *many("a", 3), *many("b", 3), "out/result.json", "out/plot.png", "models/model.json")
    found = find_class_folders(tmp_path)
    assert found.classes == ["a", "b"]
    assert found.others == ["models/", "out/"]
    assert warnings(found, caplog) == []


def test_linked_folders_are_read_once_in_a_class(tmp_path: Path) -> None:
    root, disk = (
        touch(tmp_path / "data", *many("a", 2), *many("b", 2)),
        touch(tmp_path / "disk", *many("d", 5)),
    )
    for link in ("a/one", "a/two", "b/one"):
        (root / link).symlink_to(disk / "d")
    (root / "c").symlink_to(disk)
    found = find_class_folders(root)
    assert count(found) == {"train": {"a": 7, "b": 7, "c": 5}}
    assert found.others == ["a/two/"]


def test_split_folders_and_their_classes_may_be_links(tmp_path: Path) -> None:
    disk = touch(tmp_path / "disk", *many("train/a", 3), *many("train/b", 3), *many("more", 2))
    root = tmp_path / "data"
    root.mkdir()
    (root / "train").symlink_to(disk / "train")
    touch(root, *many("test/a", 2))
    (root / "test/b").symlink_to(disk / "more")
    assert count(find_class_folders(root)) == {"train": {"a": 3, "b": 3}, "test": {"a": 2, "b": 2}}
