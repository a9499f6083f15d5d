from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.data.containers import write_tar
from tests.refusals import refusal
from transfer.data import tar_files
from transfer.data.members import read
from transfer.data.tar_files import list_members, open_tar

JPEG = b"\xff\xd8\xff" + bytes(range(256))


def read_rows(path: Path) -> list[object]:
    return list(open_tar(path).rows(["file", "label"]))


def test_members_are_read_by_their_names(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"./b/2.jpg": b"two", "/a.jpg": b"one", "e.jpg": b""})
    assert list(list_members(path).names) == ["a.jpg", "b/2.jpg", "e.jpg"]
    assert [read(path / name, 9) for name in ("a.jpg", "b/2.jpg", "e.jpg")] == [b"one", b"two", b""]
    for name, words in (("c.jpg", "not in x.tar"), ("b", "not in x.tar")):
        with pytest.raises(OSError, match=words):
            read(path / name, 9)
    with pytest.raises(OSError, match="larger than 2 bytes"):
        read(path / "a.jpg", 2)


def test_a_mask_beside_an_image_is_no_image(tmp_path: Path) -> None:
    members = dict.fromkeys(("1.jpg", "1.seg.png", "2.left.png", "2.right.png"), JPEG)
    found = read_rows(write_tar(tmp_path / "x.tar", members | {"1.cls": b"a", "2.cls": b"a"}))
    assert [values[0] for _, values in found] == ["1.jpg", "2.left.png", "2.right.png"]


def test_a_tar_that_was_written_again_is_listed_again(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.jpg": b"one"})
    assert read(path / "a.jpg", 9) == b"one"
    path.unlink()
    write_tar(path, {"b.jpg": b"x" * 999, "a.jpg": b"two"})
    assert read(path / "a.jpg", 9) == b"two"


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_format(tmp_path: Path, format: int) -> None:
    name = "/".join(["folder" * 4] * 5) + "/é.jpg"
    with tarfile.open(tmp_path / "x.tar", "w", format=format) as tar:
        member = tarfile.TarInfo(name)
        member.size = 3
        tar.addfile(member, io.BytesIO(b"one"))
    assert read(tmp_path / "x.tar" / name, 9) == b"one"


def test_links_and_names_that_lead_out_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (
            ("l.jpg", tarfile.SYMTYPE),
            ("h.jpg", tarfile.LNKTYPE),
            ("p.jpg", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../secret.jpg"
            tar.addfile(member)
        for name in ("../secret.jpg", "a/../../b.jpg", "c.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    assert list(list_members(path).names) == ["c.jpg"]
    with pytest.raises(OSError, match="not in x.tar"):
        read(path / "../secret.jpg", 9)


def test_samples_have_the_values_beside_their_image(tmp_path: Path) -> None:
    members = {
        "a/1.jpg": JPEG,
        "a/1.json": b'{"label": "cat", "day": 3, "boxes": [1, 2]}',
        "a/2.left.PNG": JPEG,
        "a/2.right.png": JPEG,
        "a/2.cls": b" 7\n",
        "._a/1.jpg": JPEG,
        "a/._1.jpg": JPEG,
        "notes.txt": b"none",
    }
    table = open_tar(write_tar(tmp_path / "x.tar", members))
    assert table.names == ["file", "label", "day"]
    assert table.defaults == {"file": "file"}
    assert list(table.rows(["file", "label", "cls"])) == [
        (0, ["a/1.jpg", "cat", None]),
        (1, ["a/2.left.PNG", None, " 7\n"]),
        (2, ["a/2.right.png", None, " 7\n"]),
    ]
    assert table.locate(1) == f"{table.path}, a/2.left.PNG"


def test_the_class_is_the_label_unless_json_has_one(tmp_path: Path) -> None:
    table = open_tar(write_tar(tmp_path / "x.tar", {"1.jpg": JPEG, "1.cls": b"7", "1.json": b'{"day": 1}'}))
    assert table.defaults == {"file": "file", "label": "cls"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "has no images"),
        ({"1.txt": b"x"}, "has no images; members such as 0001.jpg"),
        ({"1.jpg": JPEG, "1.json": b"{"}, "can't read the label of 1"),
        ({"1.jpg": JPEG, "1.json": b"[1]"}, "can't read the label of 1"),
        ({"1.jpg": JPEG, "1.json": b'[["label", "cat"]]'}, "'list' object is not a mapping; mend 1.json"),
        ({"1.jpg": JPEG, "1.json": b"[" * 100_000}, "can't read the label of 1"),
        ({"1.jpg": JPEG, "1.cls": b"\xff"}, "invalid start byte; mend 1.cls"),
    ],
)
def test_tars_without_images_or_with_damaged_labels_are_refused(
    tmp_path: Path, members: dict[str, bytes], words: str
) -> None:
    assert words in refusal(read_rows, write_tar(tmp_path / "x.tar", members))


def test_labels_of_limited_length_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_files, "MAX_RECORD_BYTES", 3)
    path = write_tar(tmp_path / "x.tar", {"1.jpg": JPEG, "1.cls": b"four"})
    assert "larger than 3 bytes" in refusal(read_rows, path)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"1.jpg": JPEG, "./1.jpg": JPEG})
    assert "'1.jpg' twice; keep one of them" in refusal(read_rows, path)


def test_damaged_tars_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"1.jpg": JPEG, "2.jpg": JPEG})
    data = path.read_bytes()
    path.write_bytes(data[:900])
    assert "unexpected end of data" in refusal(read_rows, path)
    path.write_bytes(data[:1024])
    assert "neither a file nor the end at byte 1,024" in refusal(read_rows, path)
    path.write_bytes(data[:1024] + b"damaged!" * 64 + data[1536:])
    assert "neither a file nor the end at byte 1,024" in refusal(read_rows, path)
    path.write_bytes(b"no tar")
    assert "give an uncompressed tar that is whole" in refusal(read_rows, path)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    assert "give an uncompressed tar that is whole" in refusal(read_rows, path)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that declares any size, in base 256."""
    member = tarfile.TarInfo(name)
    member.type = kind
    data = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = bytes([0o377 if size < 0 else 0o200]) + (size % 256**11).to_bytes(11)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        header("2.jpg", -512),  # its own place: without a check it is read for ever
        header("2.jpg", -1),
        header("2.jpg", 2**87),
        header("2.jpg", 2**40) + JPEG,
        header("2.jpg", 2**56, tarfile.GNUTYPE_LONGNAME),
        header("2.jpg", 2**56, tarfile.XHDTYPE),
        header("2.jpg", -512, tarfile.GNUTYPE_LONGNAME),
        (header("2.jpg", 5, tarfile.GNUTYPE_LONGNAME) + b"x.jpg".ljust(512, b"\0")) * 2000,
    ],
)
def test_headers_with_sizes_that_can_t_be_are_refused(tmp_path: Path, damage: bytes) -> None:
    whole = write_tar(tmp_path / "x.tar", {"1.jpg": JPEG}).read_bytes()[:1024]
    (tmp_path / "x.tar").write_bytes(whole + damage + bytes(1024))
    assert "give an uncompressed tar that is whole" in refusal(read_rows, tmp_path / "x.tar")


def test_json_does_not_name_the_image(tmp_path: Path) -> None:
    json = b'{"label": "cat", "file": "https://example.org/1.jpg"}'
    table = open_tar(write_tar(tmp_path / "x.tar", {"1.jpg": JPEG, "1.json": json}))
    assert list(table.rows(["file", "label"])) == [(0, ["1.jpg", "cat"])]


@pytest.mark.slow
def test_a_tar_of_webdataset(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as sink:
        sink.write({"__key__": "day/000", "jpg": JPEG, "cls": 3})
        sink.write({"__key__": "day/001", "jpg": JPEG + b"1", "cls": 4})
    table = open_tar(tmp_path / "x.tar")
    columns = list(table.defaults.values())
    assert list(table.rows(columns)) == [(0, ["day/000.jpg", "3"]), (1, ["day/001.jpg", "4"])]
    assert read(tmp_path / "x.tar/day/001.jpg", 999) == JPEG + b"1"
