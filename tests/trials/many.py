"""A folder of very many tiny files: images, files that are called so, and others."""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from tests.trials import children
from tests.trials.hostile import MEMORY_KB
from transfer.cli.commands import SKIPPED_NAMED
from transfer.evaluation import data_summary

# A run keeps features in memory (squeezenet's have 2 kB an image); very many images are extracted alone.
RUN = ("run", "--methods=fc,svm", "--on-bad-image=skip")
EACH = 8
USUAL = 4 * EACH * children.CLASSES
# Beside `children.LIMIT_S`: images that are computed take some 2 ms each.
LIMIT_S_A_FILE = 0.02


def many(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` files of each kind among some usual images: all are computed, or reported in few lines.

    Of images, which a network sees one by one, there are a tenth as many.
    """
    met: Counter[str] = Counter()
    for kind, check in (("images", _images), ("bad", _bad), ("others", _others)):
        root = folder / kind
        children.make_images(root / "images", each=EACH, seed=seed)
        files = count // 10 if kind == "images" else count
        for i in range(files):
            name = f"{i:07}.txt" if kind == "others" else f"{i:07}.png"
            data = _pixel(i) if kind == "images" else b"\x89PNG%d" % i
            (root / "images" / "train" / f"class{i % children.CLASSES}" / name).write_bytes(data)
        for command in check(root, files):
            met[f"{kind}, peak_mb"] = max(met[f"{kind}, peak_mb"], command["peak_kb"] // 1000)
            met[f"{kind}, s"] += round(command["seconds"])
            assert command["peak_kb"] < MEMORY_KB, f"{command['peak_kb']} kB"
        met["cases"] += files
    return met


def _images(root: Path, count: int) -> list[dict[str, Any]]:
    extracted = _command(root, "extract", *children.words(root, root / "store"), files=count)
    assert (extracted["status"], extracted["stderr"]) == (0, "")
    assert len(children.committed(root / "store")) == count + USUAL
    return [extracted]


def _bad(root: Path, count: int) -> list[dict[str, Any]]:
    refused = _command(root, "extract", *children.words(root, root / "store"), files=count)
    assert refused["status"] == 2
    assert len(refused["stderr"].splitlines()) == 1
    ran, shown, data = _run(root, count)
    assert (ran["status"], shown["status"]) == (3, 0)
    assert len(ran["stderr"].splitlines()) == min(count, SKIPPED_NAMED + 1)
    assert f"skipped {count - SKIPPED_NAMED:,} more images" in ran["stderr"]
    assert (len(data["skipped"]), data["skipped_count"]) == (min(count, data_summary.SKIPPED_NAMED), count)
    return [refused, ran, shown]


def _others(root: Path, count: int) -> list[dict[str, Any]]:
    ran, shown, data = _run(root, count)
    assert (ran["status"], shown["status"]) == (0, 0)
    assert (
        len(ran["stderr"].splitlines()) == children.CLASSES
    )  # a line for each class, which has lost most files
    assert (data["others"]["count"], data["skipped"]) == (count, [])
    return [ran, shown]


def _run(root: Path, count: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A run, what shows its result again, and what that result says of the data."""
    words, out = children.words(root, root / "store"), root / "out"
    ran = _command(root, *RUN, *words, f"--out={out}", files=count)
    shown = _command(root, "report", str(out / "result.json"), files=count)
    data: dict[str, Any] = json.loads((out / "result.json").read_text())["data"]
    return ran, shown, data


def _command(root: Path, *words: str, files: int) -> dict[str, Any]:
    out = root / "outcome"
    out.unlink(missing_ok=True)
    process = children.start(children.command, list(words), out)
    status = children.ended(process, children.LIMIT_S + LIMIT_S_A_FILE * files)
    outcome: dict[str, Any] = json.loads(out.read_text())
    assert outcome["status"] == status
    return outcome


def _pixel(i: int) -> bytes:
    """A PNG of one pixel, of another colour for each number."""
    head, data = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), zlib.compress(i.to_bytes(4, "big"))
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))
        for name, held in chunks
    )
