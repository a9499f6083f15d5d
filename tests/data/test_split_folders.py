from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import refusal
from transfer.data.listing import list_files
from transfer.data.split_folders import nearest, same_name, split_folders, split_of

CLASSES = ("cats", "cows", "dogs")


def fill(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for i in range(3):
            (root / folder / f"{i}.jpg").touch()
    return root


def splits(root: Path, *folders: str, classes: tuple[str, ...] = CLASSES) -> Path:
    return fill(root, *(f"{folder}/{name}" for folder in folders for name in classes))


def found(root: Path) -> dict[str, str]:
    return split_folders(list_files(root), root)


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("trainset", "testset"),
        ("1_train", "2_test"),
        ("Train_Images", "Val_Images", "Test_Images"),
        ("train_data", "validation_data", "test_data"),
        ("TrainImages", "TestImages"),
        ("xtrain", "xtest"),
        ("train1", "train2"),
        ("TRAINING", "DEV"),
        ("Training", "Testing", "Prediction"),
        ("fold1", "fold2", "fold3"),
        ("split_a", "split_b"),
        # Names that say nothing: the classes are the same, and are no numbers.
        ("red", "blue"),
        ("part1", "part2", "part3"),
    ],
)
def test_splits_under_other_names_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    message = refusal(found, splits(tmp_path, *names))
    assert "seems to hold splits (" in message
    assert message.endswith("; name them train/, valid/ and test/")
    inside = message.split("(")[1].split(")")[0]
    assert sorted(inside.split(", ")) == sorted(names)


def test_the_names_come_in_the_order_of_splits(tmp_path: Path) -> None:
    assert "(my_train, my_val, my_test)" in refusal(found, splits(tmp_path, "my_test", "my_val", "my_train"))


def test_splits_within_a_folder_of_their_own_name_are_refused(tmp_path: Path) -> None:
    splits(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    fill(tmp_path, "seg_pred/seg_pred")
    assert "(seg_train/seg_train, seg_test/seg_test, seg_pred)" in refusal(found, tmp_path)


@pytest.mark.parametrize("names", [("red", "blue"), ("north", "south", "east")])
def test_folders_within_folders_of_their_own_names_are_looked_into(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    message = refusal(found, splits(tmp_path, *(f"{name}/{name}" for name in names)))
    assert all(f"{name}/{name}" in message for name in names)


def test_splits_share_most_classes_not_all(tmp_path: Path) -> None:
    splits(tmp_path, "my_train", classes=("a", "b", "c", "d"))
    splits(tmp_path, "other", classes=("b", "c", "e"))
    assert "(my_train, other)" in refusal(found, tmp_path)


def test_a_flat_folder_of_test_images_is_a_split_beside_a_nested_one(tmp_path: Path) -> None:
    splits(tmp_path, "training_set")
    fill(tmp_path, "test_set")
    assert "(training_set, test_set)" in refusal(found, tmp_path)


def test_a_few_images_beside_the_class_folders_hide_no_splits(tmp_path: Path) -> None:
    splits(tmp_path, "training_set", "test_set", classes=tuple("abcdefgh"))
    (tmp_path / "training_set/cover.jpg").touch()
    assert "(training_set, test_set)" in refusal(found, tmp_path)


@pytest.mark.parametrize(
    "folders",
    [
        ["cat", "dog"],
        ["train", "boat"],
        ["test", "valid"],
        ["valid", "invalid"],
        # Years, days and cameras within classes.
        ["cat/2023", "cat/2024", "dog/2023", "dog/2024"],
        ["cat/cam1", "cat/cam2", "dog/cam1", "dog/cam2", "dog/cam3"],
        ["cat/images", "dog/images"],
        ["cat/cat", "dog/dog"],
        # Folders within some classes only.
        ["cat/left", "cat/right", "dog/left", "dog/right", "cow"],
        ["cat", "cat/left", "cat/right", "dog", "dog/left", "dog/right"],
        ["cat/left", "cat/right", "dog/front", "dog/back"],
        ["train station/day", "boat/day", "terrain/night"],
    ],
)
def test_class_folders_are_not_taken_for_splits(tmp_path: Path, folders: list[str]) -> None:
    assert found(fill(tmp_path, *folders)) == {}


@pytest.mark.parametrize(
    "valid", ["valid", "val", "validation", "Val", "VALID", "dev", "valid_set", "Validation", "my-val"]
)
def test_a_validation_folder_is_used_whatever_its_form(tmp_path: Path, valid: str) -> None:
    assert found(splits(tmp_path, "train", "test", valid)) == {
        "train": "train",
        "test": "test",
        "valid": valid,
    }


@pytest.mark.parametrize("other", ["Test", "test2", "extra", "pred", "Train", "eval"])
def test_other_folders_of_the_classes_are_refused(tmp_path: Path, other: str) -> None:
    message = refusal(found, splits(tmp_path, "train", "test", other))
    assert message.startswith(f"{other}/ holds class folders too")
    assert message.endswith("name it valid/, or move it away")


def test_a_second_validation_folder_is_refused(tmp_path: Path) -> None:
    message = refusal(found, splits(tmp_path / "a", "train", "test", "valid", "dev"))
    assert message == "dev/ holds class folders too, beside train, test, valid; move it away"
    message = refusal(found, splits(tmp_path / "b", "train", "test", "Val", "dev"))
    assert "has both Val/ and dev/; keep one of them" in message


def test_folders_of_no_class_stay_beside_the_splits(tmp_path: Path) -> None:
    splits(tmp_path, "train", "test")
    fill(tmp_path, "unlabelled", "docs/figures")
    assert found(tmp_path) == {"train": "train", "test": "test"}


def test_a_test_folder_by_another_name_is_named(tmp_path: Path) -> None:
    message = refusal(found, splits(tmp_path, "train", "Test_Images"))
    assert "no test/; name Test_Images/ test/" in message


def test_class_folders_one_level_too_deep_are_refused(tmp_path: Path) -> None:
    message = refusal(found, splits(tmp_path, "train/train", "test/test"))
    assert message == "train/ has its class folders in train/train/; move them up into train/"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("1_train", "train"), ("trainset", "train"),
        ("TrainImages", "train"), ("val", "valid"), ("VALIDATION", "valid"), ("dev-set", "valid"),
        ("test_set", "test"), ("Testing", "test"), ("seg_pred", "other"), ("fold3", "other"),
        ("cat", None), ("terrain", None), ("valley", None), ("device", None), ("oval", None), ("2024", None),
        ("", None), ("船", None),
    ],
)  # fmt: skip
def test_names_speak_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_names_are_compared_as_they_look() -> None:
    assert same_name("cafe\u0301") == same_name("caf\u00e9")
    assert same_name("Cats") != same_name("cats")


@pytest.mark.parametrize(
    ("name", "like"),
    [("gondola", "Gondola"), ("Gondolla", "Gondola"), ("Moto-topo", "Mototopo"), ("xyz", None), ("", None)],
)
def test_the_nearest_name_is_found(name: str, like: str | None) -> None:
    assert nearest(name, ["Gondola", "Mototopo", "Topa"]) == like
