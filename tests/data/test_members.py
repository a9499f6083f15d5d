from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.containers import write_tar
from transfer.data.limits import BadImage
from transfer.data.loader import File
from transfer.data.members import read


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"whatever")
    assert read(tmp_path / "a.tar", 8) == b"whatever"


def test_a_path_below_a_container_is_that_of_a_member(tmp_path: Path) -> None:
    write_tar(tmp_path / "A.TAR", {"b.tar/c.jpg": b"image"})
    assert read(tmp_path / "A.TAR/b.tar/c.jpg", 8) == b"image"


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.jpg/b.jpg", "Not a directory"), ("none.tar/b.jpg", "No such file"), ("x.tar/none", "not in x.tar")],
)
def test_what_is_not_there_is_a_bad_image(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    write_tar(tmp_path / "x.tar", {"1.jpg": b"image"})
    with pytest.raises(BadImage, match=words):
        File(tmp_path / name).data()
