"""Files that hold images, for tests: laid out as the library `datasets` and WebDataset do."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from transfer.data.dataset import SPLITS


def labelled(folder: Path) -> list[dict[str, Any]]:
    """The images of a folder of splits and classes, in the order of their names."""
    files = sorted(folder.glob("*/*/*.jpg"), key=lambda path: path.parts)
    return [
        {
            "file": path.relative_to(folder).as_posix(),
            "label": path.parent.name,
            "split": path.parent.parent.name,
            "bytes": path.read_bytes(),
        }
        for path in files
    ]


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar of files by their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sample(key: str, row: Mapping[str, Any], *keys: str) -> dict[str, bytes]:
    """The members of a sample: the image, and JSON of some of its values."""
    record = {name: row[name] for name in keys}
    return {f"{key}.jpg": row["bytes"], f"{key}.json": json.dumps(record).encode()}


def write_shards(folder: Path, rows: Sequence[Mapping[str, Any]], *, shards: int = 2) -> Path:
    """Tars by split, with texts of classes."""
    for split in SPLITS:
        own = [row for row in rows if row["split"] == split]
        size = -(-len(own) // shards)
        for i in range(shards):
            members: dict[str, bytes] = {}
            for row in own[i * size : (i + 1) * size]:
                key = row["file"].removesuffix(".jpg").removeprefix(f"{split}/")
                members |= {f"{key}.jpg": row["bytes"], f"{key}.cls": row["label"].encode()}
            write_tar(folder / f"{split}-{i:06}.tar", members)
    return folder


def image_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A table of images as `datasets` has it: structures of bytes and path, and indices of classes."""
    pyarrow = pytest.importorskip("pyarrow")
    classes = sorted({row["label"] for row in rows})
    features = {"image": {"_type": "Image"}, "label": {"names": classes, "_type": "ClassLabel"}}
    table = pyarrow.table(
        {
            "image": [{"bytes": row["bytes"], "path": row["file"].rsplit("/", 1)[1]} for row in rows],
            "label": [classes.index(row["label"]) for row in rows],
        }
    )
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
