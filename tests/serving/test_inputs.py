from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.refusals import refusal
from transfer.serving.inputs import as_files, check_paths


def test_paths_of_no_file_are_refused_and_others_are_left_to_whoever_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    check_paths(
        as_files([tmp_path / "a.jpg", Image.new("RGB", (2, 2)), "s3://bucket/b.jpg", tmp_path / "a.jpg/c"])
    )
    assert refusal(check_paths, as_files("none.jpg")) == "no such file: none.jpg"
    message = refusal(check_paths, as_files(tmp_path))
    assert message.startswith(f"{tmp_path} is a folder; give the files in it, as in list(Path(")


@pytest.mark.parametrize(
    ("images", "kind"), [(None, "NoneType"), (b"\xff\xd8", "bytes"), (BytesIO(), "BytesIO")]
)
def test_what_can_hold_no_images_is_refused(images: Any, kind: str) -> None:
    assert refusal(as_files, images).startswith(
        f"images are of type {kind}; give a path, a PIL image, an array"
    )
