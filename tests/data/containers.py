"""Files that hold images, for tests: laid out as the library `datasets` and WebDataset do."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from transfer.data.random_splits import SPLITS


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


def pictures(count: int) -> list[dict[str, Any]]:
    """Values of a column of images, which are none."""
    return [{"bytes": b"image %d" % i, "path": f"{i}.jpg"} for i in range(count)]


def write_arrow(
    path: Path, columns: dict[str, Any], classes: Mapping[str, list[str]] | None = None, rows: int = 3
) -> Path:
    """A table, in row groups or batches of some rows, with the classes that `datasets` declares."""
    pa, ipc, pq = map(pytest.importorskip, ("pyarrow", "pyarrow.ipc", "pyarrow.parquet"))
    table = pa.table(columns)
    if classes:
        features = {name: {"names": own, "_type": "ClassLabel"} for name, own in classes.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=rows)
    else:
        make = ipc.new_file if path.stem == "file" else ipc.new_stream
        with make(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=rows)
    return path
