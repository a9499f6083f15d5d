from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from tests.data.containers import pictures, write_arrow, write_tar
from tests.refusals import refusal
from transfer.data import label_tables
from transfer.data.image_tables import is_table, list_containers, list_images, open_images
from transfer.data.limits import BadImage
from transfer.data.loader import File
from transfer.system.errors import UserError


def shard(path: Path, *keys: str, label: str = "") -> Path:
    """A tar of samples, of the class that the first letter of the key is unless another is given."""
    members = {}
    for key in keys:
        members |= {f"{key}.jpg": b"\xff\xd8\xff" + key.encode(), f"{key}.cls": (label or key[0]).encode()}
    return write_tar(path, members)


def samples(name: str, count: int) -> list[str]:
    return [f"{name}{i:02}" for i in range(count)]


def test_a_file_of_a_known_suffix_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    names = ("a.csv", "a.TSV", "a.parquet", "a.tar", "a.arrow", "a.txt", "folder.csv")
    assert [is_table(tmp_path / name) for name in names] == [True] * 5 + [False] * 2


def test_the_files_of_a_table_need_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("path\na.jpg\n/b.jpg\n")
    assert list_images(path, {"file": "path"}) == [tmp_path / "a.jpg", Path("/b.jpg")]


def test_a_row_without_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file,label\na.jpg,cat\n,dog\n")
    with pytest.raises(UserError, match="line 3: the file is empty"):
        list_images(path, {})


def test_a_folder_of_containers_has_no_image_files(tmp_path: Path) -> None:
    found = [shard(tmp_path / name, "a") for name in ("a.tar", "default/train/0.tar")]
    for name in (".cache/b.tar", "a/b/c/deep.tar", "cache-1.tar", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_containers(tmp_path) == found
    assert is_table(tmp_path)
    assert list_images(tmp_path, {}) == [path / "a.jpg" for path in found]
    without_suffix = tmp_path / "cat/photo"
    without_suffix.parent.mkdir()
    without_suffix.write_bytes(b"\xff\xd8\xff")
    assert not is_table(tmp_path)
    without_suffix.rename(tmp_path / "cat/photo.jpg")
    assert not is_table(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("train-000.tar", "train-001.tar", "val-000.tar", "test-000.tar"),
        ("train/0.tar", "train/1.tar", "validation/0.tar", "test/0.tar"),
        ("boats-train-0.tar", "boats-train-1.tar", "boats-dev-0.tar", "boats-test-0.tar"),
    ],
)
def test_splits_are_those_of_the_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, n in zip(names, (0, 1, 2, 3), strict=True):
        shard(tmp_path / name, f"a{n}", f"b{n}")
    found = label_tables.find(tmp_path)
    assert found.root == tmp_path
    assert found.name == tmp_path.name
    assert found.classes == ("a", "b")
    assert found.drawn == ()
    assert [list(part.names) for part in found.splits.values()] == [
        [f"{name}/{key}{n}.jpg" for n, name in own for key in "ab"]
        for own in ([(0, names[0]), (1, names[1])], [(2, names[2])], [(3, names[3])])
    ]
    assert found.splits["valid"][0].path == tmp_path / names[2] / "a2.jpg"


def test_splits_are_drawn_where_no_name_says_one(tmp_path: Path) -> None:
    for i in range(2):
        shard(tmp_path / f"{i:06}.tar", *(f"{name}{i}{n}" for name in "ab" for n in range(10)))
    found = label_tables.find(tmp_path, groups=r"^.(\d)")
    assert found.drawn == ("train", "valid", "test")
    assert found.groups == ("0", "1")


def test_one_file_is_of_no_split_by_its_name(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-000.tar", *samples("a", 20), *samples("b", 20))
    found = label_tables.find(path)
    assert found.drawn == ("train", "valid", "test")
    assert found.name == "train-000.tar"
    assert found.splits["test"].names[0].startswith("train-000.tar/a")


def test_names_that_say_splits_of_some_alone_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", "a1", "b1")
    assert "has no row of the test split; add some, or `columns='split='`" in refusal(
        label_tables.find, tmp_path
    )
    shard(tmp_path / "more.tar", "a2", "b2")
    assert "more.tar is of no split by its name" in refusal(label_tables.find, tmp_path)


def test_splits_by_names_can_be_set_aside(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", *samples("a", 20), *samples("b", 20))
    shard(tmp_path / "more.tar", *samples("ay", 2), *samples("bx", 2))
    assert label_tables.find(tmp_path, columns={"split": ""}).drawn == ("train", "valid", "test")


def test_names_of_folds_say_no_split(tmp_path: Path) -> None:
    for i in range(2):
        shard(tmp_path / f"fold{i}.tar", *samples(f"a{i}", 10), *samples(f"b{i}", 10))
    assert label_tables.find(tmp_path).drawn == ("train", "valid", "test")
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    (tmp_path / "fold0.tar").rename(tmp_path / "train/fold0.tar")
    (tmp_path / "fold1.tar").rename(tmp_path / "test/fold1.tar")
    assert label_tables.find(tmp_path).drawn == ("valid",)


def test_folders_of_containers_may_be_links(tmp_path: Path) -> None:
    path = shard(tmp_path / "elsewhere/0.tar", "a", "b")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train").symlink_to(path.parent)
    assert list_containers(tmp_path / "set") == [tmp_path / "set/train/0.tar"]


def test_the_images_of_a_tar_are_its_members(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", "a", "b")
    message = refusal(label_tables.find, path, columns={"file": "url"})
    assert "whose images are its members; leave out `columns='file" in message


def test_a_column_of_images_that_others_have_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for i, name in enumerate(("image", "img")):
        write_arrow(tmp_path / f"{i}.parquet", {name: pictures(4), "label": ["a", "b"] * 2})
    assert "1.parquet has no column 'image' of images" in refusal(label_tables.find, tmp_path)


def test_rows_are_named_in_messages(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", "a1", "b1")
    shard(tmp_path / "test-0.tar", "a2", "b2", label=" ")
    assert f"{tmp_path}/test-0.tar, a2.jpg: the label is empty" in refusal(label_tables.find, tmp_path)
    shard(tmp_path / "test-0.tar", "a2", "c2")
    assert f"{tmp_path}/test-0.tar, c2.jpg: class 'c' is in test but not in train" in refusal(
        label_tables.find, tmp_path
    )


def test_a_container_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-0.tar", "a1")
    path.write_bytes(b"damaged" * 999)
    with pytest.raises(UserError, match=f"can't read {path}"):
        open_images(tmp_path, {})


@pytest.mark.parametrize("name", ["x.tar", "x.parquet", "file.arrow", "stream.arrow"])
def test_damage_ends_in_one_line_or_in_bad_images(tmp_path: Path, name: str) -> None:
    if name == "x.tar":
        path = shard(tmp_path / name, *samples("a", 20), *samples("b", 20))
    else:
        pytest.importorskip("pyarrow")
        path = write_arrow(tmp_path / name, {"image": pictures(40), "label": ["a", "b"] * 20})
    whole, rng = path.read_bytes(), random.Random(0)
    for i in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(len(data))] = rng.choice((0, 255, rng.randrange(256)))
        damaged = tmp_path / f"{i}{path.suffix}"
        damaged.write_bytes(data if i % 10 else data[: rng.randrange(len(data))])
        with contextlib.suppress(UserError):
            for sample in label_tables.find(damaged).samples():
                with contextlib.suppress(BadImage):
                    File(sample.path).data()


def test_tars_without_labels_are_refused_where_labels_are_needed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"1.jpg": b"\xff\xd8\xff"})
    assert list_images(path, {}) == [path / "1.jpg"]
    assert f"{path} has no labels; put 0001.cls or 0001.json beside 0001.jpg" in refusal(
        label_tables.find, path
    )


def test_files_of_two_kinds_in_a_folder_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", "a", "b")
    (tmp_path / "y.parquet").touch()
    assert "of the kinds .parquet and .tar; keep one kind" in refusal(label_tables.find, tmp_path)


def test_a_table_without_rows_is_refused_as_one_of_images(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file\n")
    with pytest.raises(UserError, match="names no images; give a table with a row for each"):
        list_images(path, {})
