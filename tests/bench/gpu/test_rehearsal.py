"""The whole measurement rehearsed on the processor, with no more packages than a bare machine with a GPU has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpu.part import NO_CUDA
from bench.gpu.parts import PARTS
from bench.gpu.schedule import MANIFEST, ROOT
from bench.gpu.summary import SCHEMA
from bench.reporting import record
from transfer.system import schemas

# What transfer can do without, for what is measured.
ABSENT = ("jinja2", "jsonschema_rs", "nncf", "openvino", "platformdirs", "psutil", "timm", "transformers")
HIDING = f"""
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {ABSENT} else find(name, *rest)
)
"""
# A limit: it takes a minute where nothing else runs.
MINUTES = "15"


@pytest.mark.exhaustive
def test_every_part_is_rehearsed_on_a_processor(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    out = tmp_path / "out"
    words = ["bench.gpu", "--device", "cpu", "--minutes", MINUTES, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    published = json.loads(SCHEMA.read_text())
    manifest = json.loads((out / MANIFEST).read_text())
    schemas.validate(manifest, published, out / MANIFEST, "GPU results")
    assert [(part["name"], part["status"]) for part in manifest["parts"]] == [
        (spec.name, "done") for spec in PARTS
    ]
    for spec, entry in zip(PARTS, manifest["parts"], strict=True):
        path = out / f"{spec.name}.json"
        part = json.loads(path.read_text())
        schemas.validate(part, published, path, "GPU results")
        assert part["complete"]
        assert part["small"]
        assert len(part["rows"]) == entry["rows"] > 0
        assert {left["why"] for left in part["left_out"]} <= {NO_CUDA}, (spec.name, part["left_out"])
    assert "reference" in done.stdout
    assert record.load(out / "record.json").benchmarks  # checked here, where it can be
