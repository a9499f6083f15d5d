"""The examples of docs/cache.md: the files of the cache, read by other tools."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import transfer
from transfer.cache.store import Store
from transfer.system.content_ids import from_hex

TEXT = Path(transfer.__file__).parents[1].joinpath("docs", "cache.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
DECLARED = {"backbone": "resnet18"}
PARTS = 3


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Any]:
    """What the examples name: a folder of several files with copies, and an image."""
    image = tmp_path / "0.jpg"
    image.write_bytes(b"image 0")
    ids = from_hex([hashlib.sha256(f"image {i}".encode()).hexdigest() for i in range(10)])
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    table = Store(tmp_path).table(DECLARED)
    for start in range(PARTS):
        table.append(ids[2 * start : 2 * start + 6], x[2 * start : 2 * start + 6], 1.0, "here")
    path = next(table.folder.iterdir())
    modules = {"numpy": np, "hashlib": hashlib, "json": json, "parquet": parquet}
    return {**modules, "folder": table.folder, "image": image, "path": path, "ids": ids, "expected": x}


def run(example: str, names: dict[str, Any]) -> dict[str, Any]:
    [code] = [code for code in EXAMPLES if example in code]
    exec(compile(code, "docs/cache.md", "exec"), names)
    return names


def test_there_are_as_many_examples() -> None:
    assert len(EXAMPLES) == 4


def test_pandas(names: dict[str, Any]) -> None:
    pytest.importorskip("pandas")
    found = run("to_pandas", names)
    order = [list(found["frame"].index).index(row.tobytes()) for row in names["ids"]]
    np.testing.assert_array_equal(found["x"][order], names["expected"])
    np.testing.assert_array_equal(found["one"], names["expected"][0])


@pytest.mark.parametrize("name", ["polars", "duckdb"])
def test_others(names: dict[str, Any], name: str) -> None:
    pytest.importorskip(name)
    frame = run(name, {**names, name: import_module(name)})["frame"]
    rows = dict(frame.fetchall() if name == "duckdb" else frame.iter_rows())
    np.testing.assert_array_equal([rows[row.tobytes()] for row in names["ids"]], names["expected"])


def test_what_features_depend_on(names: dict[str, Any]) -> None:
    record = run("read_metadata", names)["record"]
    assert (record["declared"], record["seconds"], record["made_on"]) == (DECLARED, 1.0, "here")
