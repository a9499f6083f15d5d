from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.data.files import touch
from transfer.data.listing import Files, describe_suffixes, is_system_name, list_files

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)


def images(files: Files) -> list[str]:
    return list(files.images)


def test_files_are_listed_by_the_folders_at_the_top(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/x/1.jpg", "b/x/y/3.png", "b/w/notes.txt", "a.jpg", "c/0.jpg", "b/y.jpg")
    (tmp_path / "empty").mkdir()
    listing = list_files(tmp_path)
    assert list(listing.folders) == ["b", "c", "empty"]
    assert images(listing.own) == ["a.jpg"]
    folder = listing.folders["b"]
    assert images(folder.all) == ["b/2.jpg", "b/x/1.jpg", "b/x/y/3.png", "b/y.jpg"]
    assert images(folder.own) == ["b/2.jpg", "b/y.jpg"]
    assert {name: images(files) for name, files in folder.subfolders.items()} == {
        "w": [],
        "x": ["b/x/1.jpg", "b/x/y/3.png"],
    }
    assert folder.subfolders["w"].not_images == ["b/w/notes.txt"]
    assert folder.n_images == 4
    assert images(listing.folders["empty"].all) == []
    assert images(listing.all) == ["a.jpg", *images(folder.all), "c/0.jpg"]
    touch(tmp_path, "bb.jpg")
    assert images(list_files(tmp_path).all) == ["a.jpg", *images(folder.all), "bb.jpg", "c/0.jpg"]
    assert not listing.followed


def test_linked_folders_are_followed_at_every_depth(tmp_path: Path) -> None:
    disk = touch(tmp_path / "disk", "p/1.jpg", "q/2.jpg", "q/deep/3.jpg", "r/4.jpg")
    root = touch(tmp_path / "data", "a/0.jpg", "a/x/0.jpg")
    (root / "linked").symlink_to(disk / "p")
    (root / "a/q").symlink_to(disk / "q", target_is_directory=True)
    (root / "a/x/r").symlink_to(os.path.relpath(disk / "r", root / "a/x"))
    listing = list_files(root)
    assert listing.followed
    assert images(listing.all) == [
        "a/0.jpg", "a/q/2.jpg", "a/q/deep/3.jpg", "a/x/0.jpg", "a/x/r/4.jpg", "linked/1.jpg",
    ]  # fmt: skip
    assert listing.all.ignored == []


@pytest.mark.parametrize(
    ("link", "target"),
    [("a/x/up", "."), ("a/x/up", "a"), ("a/x/up", "a/x"), ("a/up", ".."), ("up", "."), ("a/x/y/up", "a/x")],
)
@pytest.mark.parametrize("once_in", [0, 1, 2])
def test_links_to_a_folder_above_them_are_left_alone(
    tmp_path: Path, link: str, target: str, once_in: int
) -> None:
    root = touch(tmp_path / "data", "a/0.jpg", "a/x/1.jpg", "a/x/y/2.jpg", "b/3.jpg")
    (root / link).symlink_to(root / target)
    files = list_files(root, once_in=once_in).all
    assert images(files) == ["a/0.jpg", "a/x/1.jpg", "a/x/y/2.jpg", "b/3.jpg"]
    assert files.ignored == [f"{link}/"]


def test_circles_through_other_folders_come_to_an_end(tmp_path: Path) -> None:
    disk = touch(tmp_path / "disk", "1.jpg")
    root = touch(tmp_path / "data", "a/0.jpg", "b/2.jpg")
    (root / "a/out").symlink_to(disk)
    (disk / "back").symlink_to(root / "a")
    (disk / "all").symlink_to(root)
    for once_in in (0, 1, 2):
        files = list_files(root, once_in=once_in).all
        assert images(files) == ["a/0.jpg", "a/out/1.jpg", "b/2.jpg"]
        assert files.ignored == ["a/out/all/", "a/out/back/"]


def test_many_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    disk = touch(tmp_path / "disk", *(f"{i}/{i}.jpg" for i in range(12)))
    for i in range(12):
        for j in range(12):
            if i != j:
                (disk / f"{i}/to{j}").symlink_to(disk / str(j))
    root = touch(tmp_path / "data", "a/x/0.jpg")
    (root / "a/x/disk").symlink_to(disk / "0")
    files = list_files(root).all
    assert sorted(name.split("/")[-1] for name in images(files)) == sorted(
        ["0.jpg", *(f"{i}.jpg" for i in range(12))]
    )


def test_a_folder_counts_once_in_each_folder_of_the_depth(tmp_path: Path) -> None:
    disk = touch(tmp_path / "disk", "1.jpg")
    root = touch(tmp_path / "data", "a/real/0.jpg")
    for link in ("a/one", "a/two", "b/one"):
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(disk)
    (root / "a/again").symlink_to(root / "a/real")
    files = list_files(root, once_in=1).all
    assert images(files) == ["a/one/1.jpg", "a/real/0.jpg", "b/one/1.jpg"]
    assert files.ignored == ["a/again/", "a/two/"]


def test_a_link_into_a_hidden_folder_is_followed(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/x/.data/1.jpg")
    (root / "a/x/shown").symlink_to(root / "a/x/.data")
    files = list_files(root).all
    assert images(files) == ["a/x/shown/1.jpg"]
    assert files.ignored == ["a/x/.data/"]


def test_links_that_lead_nowhere_and_special_files_are_no_images(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/1.jpg")
    (root / "a/dead.jpg").symlink_to(root / "none.jpg")
    (root / "a/2024").symlink_to(root / "unmounted/2024")
    (root / "a/self").symlink_to(root / "a/self")
    os.mkfifo(root / "a/pipe.jpg")
    files = list_files(root).all
    assert images(files) == ["a/1.jpg"]
    assert files.not_images == ["a/2024", "a/dead.jpg", "a/pipe.jpg", "a/self"]
    assert describe_suffixes(files.not_images, root) == "3 broken links, 1 .jpg"


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX",
        ".Trash-1000", ".Spotlight-V100", ".ipynb_checkpoints", ".git", "@Recycle", "#snapshot",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["", "a/", "a/x/", "a/x/y/"])
def test_folders_of_systems_are_ignored_at_any_depth(tmp_path: Path, name: str, where: str) -> None:
    touch(tmp_path, "a/x/y/0.jpg", f"{where}{name}/1.jpg", f"{where}{name}/2.jpg/3.jpg")
    listing = list_files(tmp_path)
    assert images(listing.all) == ["a/x/y/0.jpg"]
    assert listing.all.ignored == [f"{where}{name}/"]
    assert listing.all.not_images == []
    assert list(listing.folders) == ["a"]


@pytest.mark.parametrize(
    "name", ["Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "._0.jpg", ".0.jpg", "Icon\r"]
)
def test_files_of_systems_are_ignored(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a/0.jpg", f"a/{name}")
    files = list_files(tmp_path).all
    assert (images(files), files.ignored, files.not_images) == (["a/0.jpg"], [f"a/{name}"], [])
    assert is_system_name(name)
    assert not is_system_name("thumbs")


def test_contents_are_asked_where_a_suffix_tells_nothing(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/1.jpg", "a/2.xyz", "a/3")
    for name in ("a/4", "a/5.hif", "a/6.part"):
        (root / name).write_bytes(JPEG)
    files = list_files(root).all
    assert images(files) == ["a/1.jpg", "a/4", "a/5.hif", "a/6.part"]
    assert files.not_images == ["a/2.xyz", "a/3"]


def test_what_is_no_image_is_counted_by_suffix(tmp_path: Path) -> None:
    names = [f"{i}.txt" for i in range(5)] + ["a.XML", "b.xml", "c", "d.json", "e.csv", "f.md"]
    assert describe_suffixes(names, tmp_path) == "5 .txt, 2 .xml, 1 without a suffix, 3 more"
    assert describe_suffixes(["a.tar"], tmp_path) == "1 .tar"
