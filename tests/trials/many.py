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

# A run keeps features in memory (squeezenet's have 2 kB an image); where there are many it is extracted alone.
RUN = ("run", "--methods=fc,svm", "--on-bad-image=skip")
GOOD = 8
# Of a process, for each file: some 0.3 ms are usual, and 2 ms where images are computed.
LIMIT_S = 0.02


def many(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` files of each kind: all images are computed; bad ones are told in few lines, and the result is read."""
    met: Counter[str] = Counter()
    for kind in ("good", "bad", "others"):
        root = folder / kind
        children.make_images(root / "images", each=GOOD, seed=seed)
        for i in range(count):
            path = root / "images" / "train" / f"class{i % children.CLASSES}"
            if kind == "others":
                (path / f"{i:07}.txt").write_bytes(b"x")
            else:
                (path / f"{i:07}.png").write_bytes(_pixel(i) if kind == "good" else b"\x89PNG%d" % i)
        words = children.words(root, root / "store")
        if kind == "good":
            told = _command(root, ["extract", *words], count)
            assert told["status"] == 0, told
            assert len(children.committed(root / "store")) == count + 4 * GOOD * children.CLASSES
            lines = 0
        else:
            if kind == "bad":
                refused = _command(root, ["extract", *words], count)
                assert refused["status"] == 2, refused
                assert len(refused["told"].splitlines()) == 1, refused
            told = _command(root, [*RUN, *words, f"--out={root / 'out'}"], count)
            lines = len(told["told"].splitlines())
            assert told["status"] == (3 if kind == "bad" else 0), told
            shown = _command(root, ["report", str(root / "out" / "result.json")], count)
            assert shown["status"] == 0, shown
        assert lines <= 102, told["told"][-500:]
        met["cases"] += count
        met[f"{kind}, peak_mb"] = told["peak_kb"] // 1000
        met[f"{kind}, s"] = round(told["seconds"])
        assert told["peak_kb"] < MEMORY_KB, f"{told['peak_kb']} kB"
    return met


def _command(root: Path, words: list[str], count: int) -> dict[str, Any]:
    children.ended(children.start(children.command, words, root / "told"), children.LIMIT_S + LIMIT_S * count)
    found: dict[str, Any] = json.loads((root / "told").read_text())
    return found


def _pixel(i: int) -> bytes:
    """A PNG of one pixel, another colour for each number."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(i.to_bytes(4, "big"))),
    ]
    chunks = (
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d))
        for n, d in [*parts, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
