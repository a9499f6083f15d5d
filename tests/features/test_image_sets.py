from __future__ import annotations

import json
from pathlib import Path

from tests.data.containers import write_tar
from tests.refusals import refusal
from tests.samples import MakeImages
from transfer.config import REPEAT_GROUPS, RunConfig
from transfer.features.image_sets import find_images
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch


def find(data: Path) -> tuple[str, ...]:
    """The groups of an image set."""
    return find_images(RunConfig(data=str(data), repeats=REPEAT_GROUPS), Stopwatch(), silent).groups


def test_groups_are_left_out_where_a_folder_of_containers_has_a_column_of_them(tmp_path: Path) -> None:
    members = {}
    for i in range(40):
        record = {"label": "ab"[i % 2], "group": f"day {i // 10}"}
        members |= {f"{i:02}.jpg": b"\xff\xd8\xff", f"{i:02}.json": json.dumps(record).encode()}
    write_tar(tmp_path / "set/0.tar", members)
    assert find(tmp_path / "set") == ("day 0", "day 1", "day 2", "day 3")


def test_groups_can_t_be_left_out_of_class_folders_without_any(
    tmp_path: Path, make_images: MakeImages
) -> None:
    root = make_images(tmp_path / "images", train=2, valid=1, test=1)
    assert "`repeats='groups'` needs groups, and" in refusal(find, root)
