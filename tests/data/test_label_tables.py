from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest

from tests.data.tables import rows_of, write_table
from tests.refusals import refusal
from transfer.data import dataset, label_tables
from transfer.data.dataset import ImageSet
from transfer.data.random_splits import SPLITS

SPLIT_ROWS = "".join(
    f"{split}/{name}/{i}.jpg,{name},{split}\n"
    for split, count in (("train", 4), ("valid", 2), ("test", 3))
    for name in ("dog", "cat", "10", "9")
    for i in range(count)
)


def names(found: ImageSet) -> dict[str, list[str]]:
    return {split: list(found.splits[split].names) for split in SPLITS}


def shuffled(rows: str) -> str:
    lines = rows.splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    return "".join(lines)


def assert_same(table: ImageSet, folder: ImageSet) -> None:
    assert names(table) == names(folder)
    assert table.classes == folder.classes
    assert table.groups == folder.groups
    assert table.drawn == folder.drawn
    for split in SPLITS:
        own, other = table.splits[split], folder.splits[split]
        assert list(own) == list(other)
        assert (own.group_N is None) == (other.group_N is None)
        if own.group_N is not None and other.group_N is not None:
            np.testing.assert_array_equal(own.group_N, other.group_N)


def test_a_table_is_the_same_as_folders_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    path = write_table(tmp_path, "file,label,split\n" + shuffled(SPLIT_ROWS))
    found = label_tables.find(path)
    assert found.name == "labels.csv"
    assert found.classes == ("10", "9", "cat", "dog")
    assert [len(part) for part in found.splits.values()] == [16, 8, 12]
    assert_same(found, dataset.find(tmp_path))


@pytest.mark.parametrize("groups", [None, r"^(\d)"])
def test_splits_are_drawn_as_those_of_folders(tmp_path: Path, groups: str | None) -> None:
    rows = "".join(f"{name}/{i:02}.jpg,{name}\n" for name in ("b", "a") for i in range(40))
    path = write_table(tmp_path, "file,label\n" + shuffled(rows))
    found = label_tables.find(path, groups=groups, seed=3)
    assert found.drawn == SPLITS
    assert_same(found, dataset.find(tmp_path, groups=groups, seed=3))


def test_valid_is_drawn_from_train(tmp_path: Path) -> None:
    rows = "".join(row for row in SPLIT_ROWS.splitlines(keepends=True) if ",valid" not in row)
    path = write_table(tmp_path, f"file,label,split\n{rows}")
    found = label_tables.find(path)
    assert found.drawn == ("valid",)
    assert_same(found, dataset.find(tmp_path))


def test_groups_of_a_column_stay_whole_in_splits_that_are_drawn(tmp_path: Path) -> None:
    rows = "".join(f"{i:03}.jpg,{'cat' if i % 2 else 'dog'},p{i // 10}\n" for i in range(100))
    path = write_table(tmp_path, f"file,label,group\n{rows}")
    found = label_tables.find(path)
    assert found.groups == tuple(f"p{i}" for i in range(10))
    groups = [set(part.group_N.tolist()) for part in found.splits.values() if part.group_N is not None]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10
    assert not found.splits["test"].names[0].startswith("p")
    image = found.splits["test"][0]
    assert found.splits["test"].group_N is not None
    assert found.groups[found.splits["test"].group_N[0]] == f"p{int(image.path.stem) // 10}"


def test_labels_are_text(tmp_path: Path) -> None:
    path = write_table(tmp_path, "file,label\n" + rows_of(a=4, b=4).replace(",a", ",01").replace(",b", ",1"))
    assert label_tables.find(path).classes == ("01", "1")


def test_files_are_known_by_the_names_of_the_table(tmp_path: Path) -> None:
    for name in ("outside.jpg", "here/in.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = f"file,label\n../outside.jpg,a\n{tmp_path}/here/in.jpg,b\n./x.jpg,b\n" + rows_of(a=4, b=4)
    found = label_tables.find(write_table(tmp_path / "here", text))
    assert {"../outside.jpg", f"{tmp_path}/here/in.jpg", "./x.jpg"} <= set(found.samples().names)
    paths = {sample.path for sample in found.samples()}
    assert tmp_path / "here/../outside.jpg" in paths
    assert tmp_path / "here/in.jpg" in paths


@pytest.mark.parametrize("other", ["a00.jpg", "./a00.jpg", "x/../a00.jpg", "{root}/a00.jpg"])
@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("a,train", ""),
        ("b,train", "line 11: 'OTHER' has two labels, 'a' in line 2 and 'b'"),
        ("a,test", "line 11: 'OTHER' has two splits, 'train' in line 2 and 'test'"),
    ],
)
def test_a_file_that_is_named_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: str, rest: str, words: str
) -> None:
    other = other.format(root=tmp_path)
    rows = rows_of(a=4, b=4).splitlines()
    lines = [
        f"{row},{'train' if i % 4 < 2 else 'valid' if i % 4 == 2 else 'test'}" for i, row in enumerate(rows)
    ]
    text = "\n".join(["file,label,split", *lines, "", f"{other},{rest}"]) + "\n"
    path = write_table(tmp_path, text)
    if words:
        assert words.replace("OTHER", other) in refusal(label_tables.find, path)
        return
    with caplog.at_level(logging.WARNING, "transfer"):
        found = label_tables.find(path)
    assert len(found.samples()) == 8
    assert "1 rows name a file again" in caplog.text


def test_files_that_are_not_there_are_counted_and_refused_or_skipped(tmp_path: Path) -> None:
    absent = ["a00.jpg", "a02.jpg", "b01.jpg", "b03.jpg"]
    path = write_table(tmp_path, "file,label\n" + rows_of(a=8, b=8), absent=absent)
    message = refusal(label_tables.find, path)
    assert (
        "4 of 16 files are not there, the first 'a00.jpg' (line 2), 'a02.jpg' (line 4), 'b01.jpg'" in message
    )
    assert f"looked for in {tmp_path}; mend the table, or use `on_bad_image='skip'`" in message
    found = label_tables.find(path, on_bad_image="skip")
    assert found.skipped == dict.fromkeys(absent, "not there")
    assert len(found.samples()) == 12


def test_what_folders_leave_alone_is_no_image_of_a_table_either(tmp_path: Path) -> None:
    path = write_table(tmp_path, "file,label\n" + rows_of(a=4, b=4) + "raw.cr2,a\nnotes.txt,a\nfolder,b\n")
    (tmp_path / "folder").unlink()
    (tmp_path / "folder").mkdir()
    assert "3 of 11 files are not images, the first 'raw.cr2' (line 10)" in refusal(label_tables.find, path)
    assert list(label_tables.find(path, on_bad_image="skip").skipped) == ["raw.cr2", "notes.txt", "folder"]


def test_no_file_at_all_is_refused_even_if_bad_ones_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\ntrain\\cat\\1.jpg,cat\ntrain\\dog\\1.jpg,dog\n")
    message = refusal(label_tables.find, path, on_bad_image="skip")
    assert "2 of 2 files are not there" in message
    assert "names of folders end in /" in message
    assert "skip" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\n" + rows_of(cat=9), "one class, 'cat'; a comparison needs at least two"),
        ("file,label\n" + rows_of(cat=2, dog=1), "classes need 3 images or more; 'dog' has 1"),
        (
            "file,label,group\n" + "".join(f"{i}.jpg,{'ab'[i // 6]},{i // 6}\n" for i in range(12)),
            "with these groups class",
        ),
    ],
)
def test_a_table_that_can_not_be_compared_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(label_tables.find, write_table(tmp_path, text))


def test_a_split_whose_images_are_all_skipped_is_refused(tmp_path: Path) -> None:
    absent = [f"valid/{name}/{i}.jpg" for name in ("dog", "cat", "10", "9") for i in range(2)]
    path = write_table(tmp_path, f"file,label,split\n{SPLIT_ROWS}", absent=absent)
    assert "no image of the valid split" in refusal(label_tables.find, path, on_bad_image="skip")


def test_a_class_whose_images_are_all_skipped_is_none(tmp_path: Path) -> None:
    path = write_table(tmp_path, "file,label\n" + rows_of(a=5, b=5, c=1), absent=["c00.jpg"])
    found = label_tables.find(path, on_bad_image="skip")
    assert found.classes == ("a", "b")
    assert found.empty_classes == ("c",)
