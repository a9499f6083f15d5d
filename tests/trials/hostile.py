"""Files that nobody should have made: each is read as a user's would be, and answered by one line or by success."""

from __future__ import annotations

import argparse
import copy
import io
import json
import logging
import re
import shutil
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from rich.console import Console

from tests.cache.old import write_old
from tests.samples import EXAMPLE
from transfer import report
from transfer.backbones import weights
from transfer.backbones.choice import choose_weights
from transfer.cache import inventory, shards
from transfer.cache.store import Store
from transfer.config import RunConfig
from transfer.data import decode
from transfer.data.limits import MAX_PIXELS, BadImage
from transfer.engines.trials import describe_trials, parse_trials
from transfer.evaluation import results
from transfer.heads import RidgeHead, serialization
from transfer.report.runs import Run
from transfer.serving import bundle
from transfer.system import files, schemas
from transfer.system.content_ids import from_hex
from transfer.system.errors import UserError

# Of processor time, which other processes do not lengthen.
LIMIT_S = 5.0
MEMORY_KB = 1_000_000
NUMBERS = (0, 1, -1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)

Read = Callable[[bytes], None]


class _File(bytes):
    def __repr__(self) -> str:
        return f"{len(self)} bytes, written to 'failed'"


def hostile(kind: str, count: int, number: int, folder: Path) -> Counter[str]:
    """`count` files of a kind, by the seed `number`: how many were refused in one line, and how many read."""
    logging.getLogger("transfer").handlers = [logging.NullHandler()]
    folder.mkdir(exist_ok=True)
    makes, read = KINDS[kind](folder)
    met: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(makes.map(_File))
    def case(data: _File) -> None:
        start = time.process_time()
        met["cases"] += 1
        try:
            read(data)
            met["read"] += 1
            message = "read"
        except (UserError, BadImage) as error:
            met["refused"] += 1
            message = str(error)
        except Exception:
            (folder / "failed").write_bytes(data)  # Hypothesis would print all of it
            raise
        assert len(message.splitlines()) == 1, message
        seconds = time.process_time() - start
        met["slowest_ms"] = max(met["slowest_ms"], round(1000 * seconds))
        assert seconds < LIMIT_S, f"{seconds:.1f} s"

    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|torch\.")  # as the command line does
        case()
    met["peak_mb"] = _peak_kb() // 1000
    assert met["peak_mb"] < MEMORY_KB // 1000, f"{met['peak_mb']} MB"
    return met


def _peak_kb() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))


# Bytes


def _mutated(corpus: list[bytes], mend: Callable[[bytes], bytes] = bytes) -> st.SearchStrategy[bytes]:
    """Files of a corpus with some of their bytes changed, and checksums mended or not."""
    edit = st.tuples(st.sampled_from(list(EDITS)), st.integers(0, 2**30), st.binary(min_size=1, max_size=8))
    edits = st.lists(edit, max_size=4)
    return st.builds(
        _edited, st.sampled_from(corpus), edits, st.sampled_from([bytes, mend]), st.sampled_from(corpus)
    )


def _edited(
    data: bytes, edits: list[tuple[str, int, bytes]], mend: Callable[[bytes], bytes], other: bytes
) -> bytes:
    for name, place, noise in edits:
        at = place % (len(data) + 1)
        data = EDITS[name](data, at, noise, other)
    return mend(data)


EDITS: dict[str, Callable[[bytes, int, bytes, bytes], bytes]] = {
    "flipped": lambda data, at, noise, other: data[:at] + _flipped(data[at : at + 1], noise) + data[at + 1 :],
    "replaced": lambda data, at, noise, other: data[:at] + noise + data[at + len(noise) :],
    "added": lambda data, at, noise, other: data[:at] + noise + data[at:],
    "lost": lambda data, at, noise, other: data[:at] + data[at + noise[0] :],
    "cut": lambda data, at, noise, other: data[:at],
    "repeated": lambda data, at, noise, other: data[:at] + data[at : at + 64] * noise[0] + data[at:],
    "joined": lambda data, at, noise, other: data[:at] + other[at % (len(other) + 1) :],
    "number, little": lambda data, at, noise, other: _number(data, at, noise, "<"),
    "number, big": lambda data, at, noise, other: _number(data, at, noise, ">"),
}  # fmt: skip


def _flipped(one: bytes, noise: bytes) -> bytes:
    return bytes(byte ^ 1 << noise[0] % 8 for byte in one)


def _number(data: bytes, at: int, noise: bytes, order: str) -> bytes:
    """Another number where one may be, also early in a file, where sizes are declared."""
    at = at % 64 if noise[0] % 2 else at
    value = NUMBERS[noise[-1] % len(NUMBERS)] & 0xFFFFFFFF
    width = "I" if noise[0] % 3 else "H"
    packed = struct.pack(order + width, value & (0xFFFFFFFF if width == "I" else 0xFFFF))
    return data[:at] + packed + data[at + len(packed) :]


def _png_mended(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold now."""
    out, at = bytearray(data[:8]), 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        chunk = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return bytes(out)


# Images


def pictures() -> list[bytes]:
    """Small files of every format and colour mode that are read, and of some that are not."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8))
    grey16 = Image.fromarray(rng.integers(0, 2**16, (24, 40), np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a boat"
    clear = rgb.convert("P")
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgb, "JPEG", {}),
        (rgb, "JPEG", {"progressive": True, "exif": exif.tobytes(), "icc_profile": b"profile" * 9}),
        (rgb.convert("L"), "JPEG", {"quality": 30}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "JPEG", {"subsampling": 0, "restart_marker_blocks": 1, "comment": b"a comment"}),
        (rgb, "MPO", frames),
        (rgb, "PNG", {"exif": exif.tobytes()}),
        (rgb.convert("RGBA"), "PNG", {}),
        (rgb.convert("1"), "PNG", {}),
        (rgb.convert("LA"), "PNG", {}),
        (grey16, "PNG", {}),
        (clear, "PNG", {"transparency": b"\x00\x80\xff" * 20}),
        (rgb, "PNG", frames),
        (rgb, "WEBP", {"exif": exif.tobytes()}),
        (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
        (rgb, "WEBP", frames),
        *((rgb.convert(mode), "BMP", {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
        (rgb, "GIF", {}),
        (rgb, "TIFF", {}),
        (rgb, "ICO", {}),
    ]
    found = [b"", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8X"]
    for image, kind, options in made:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())
    return found


def _images(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    def read(data: bytes) -> None:
        height, width = decode.size_of(data)
        assert 0 < height * width <= MAX_PIXELS
        pixels = decode.pixels(data, (32, 48))
        assert pixels.shape == (32, 48, 3)
        assert pixels.dtype == np.uint8

    return _mutated(pictures(), _png_mended), read


# JSON

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 2**63, 1e308, -1e308, 1e-320, float("nan"), float("inf")])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["\udcff", "a\nb", "\x1b[31m", "[red]", "<script>", "../../etc/passwd", "/dev/zero", "x" * 10_000]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NESTED = (
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b"[" * 50_000 + b"]" * 50_000,
    b"1" * 10_000,
    b"[1e999999999]",
    b"{}" * 100,
)


def _changed(document: Any, seal: bool) -> st.SearchStrategy[bytes]:
    """The document with values of it replaced, taken out or doubled, as JSON; sealed where such files are."""
    places = sorted(_paths(document), key=str)
    edit = st.tuples(st.sampled_from(places), st.sampled_from(["replaced", "lost", "doubled"]), JSON)
    whole = st.builds(_applied, st.just(document), st.lists(edit, min_size=1, max_size=3))
    dump = st.builds(_dumped, whole, st.just(seal))
    plain = json.dumps(document).encode()
    return st.one_of(
        dump,
        dump,
        dump,
        _mutated([plain, *([files.seal(document)] if seal else [])]),
        st.integers(0, len(NESTED) - 1).map(NESTED.__getitem__),
    )


def _dumped(document: Any, seal: bool) -> bytes:
    if seal and isinstance(document, dict):
        return files.seal(document)
    return json.dumps(document).encode()


def _paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, child in children:
        yield from _paths(child, (*path, key))


def _applied(document: Any, edits: list[tuple[tuple[Any, ...], str, Any]]) -> Any:
    document = copy.deepcopy(document)
    for path, how, value in edits:
        if not path:
            document = value
            continue
        try:
            parent = document
            for key in path[:-1]:
                parent = parent[key]
            if isinstance(parent, dict) != isinstance(path[-1], str):
                continue  # replaced before
            if how == "lost":
                del parent[path[-1]]
            elif how == "doubled" and isinstance(parent, list):
                parent.append(parent[path[-1]])
            else:
                parent[path[-1]] = value
        except (KeyError, IndexError, TypeError):  # taken out before
            pass
    return document


def _results(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    path, nowhere = folder / "result.json", Console(file=io.StringIO(), width=120)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        result = results.load(path)
        report.show(result, nowhere)
        report.show(result, nowhere, verbose=True)
        runs = [Run(name, result) for name in "ab"]
        report.show_side_by_side(runs, nowhere)
        assert report.page_of_several(runs).count("<script>") == 1
        # Of its own script elements one has an attribute.
        assert report.page(result, None).count("<script>") == 1
        text = report.markdown(result)
        assert "<script>" not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
        result.to_json()
        nowhere.file = io.StringIO()

    return _changed(json.loads(EXAMPLE.read_bytes()), seal=False), read


# The command alone, without the hundreds of megabytes of libraries that are loaded here.
REPORT = """
import glob, sys
from transfer import cli
status = cli.main(["report", sys.argv[1]])
lines = [line for path in glob.glob("/proc/self/status") for line in open(path)]
print(next((line.split()[1] for line in lines if line.startswith("VmHWM")), 0), file=sys.stderr)
sys.exit(status)
"""


def _large(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """Results of as many bytes as are read at all, made to keep the reader busy or to fill its memory."""
    path = folder / "result.json"
    plain = json.loads(EXAMPLE.read_bytes())
    # Values, and the place in a result that takes as many of them as one likes, or, for "more", anything.
    made = [
        ("per_class", "0"),
        ("per_class", "12345"),
        ("classes", '""'),
        ("classes", '"\\udcff"'),
        ("classes", "0"),
        ("skipped", '{"name":"","reason":""}'),
        ("skipped", "{}"),
        ("more", "[]"),
        ("more", '"\u20ac"'),
        ("more", "1e300"),
    ]

    def written(place: str, value: str) -> bytes:
        document = copy.deepcopy(plain)
        data = document["data"]
        (data["splits"]["train"] if place == "per_class" else data)[place] = "HERE"
        before, after = json.dumps(document).encode().split(b'"HERE"')
        one = value.encode() + b","
        count = (schemas.MAX_BYTES - len(before) - len(after) - 2) // len(one)
        return before + b"[" + (one * count)[:-1] + b"]" + after

    def objects() -> bytes:
        return b"{" + b",".join(b'"%06x":0' % i for i in range(schemas.MAX_BYTES // 12)) + b"}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        ended = subprocess.run([sys.executable, "-c", REPORT, str(path)], capture_output=True, text=True)
        *lines, peak_kb = ended.stderr.splitlines()
        assert int(peak_kb) < MEMORY_KB, f"{peak_kb} kB"
        if ended.returncode:
            raise UserError("\n".join(lines))

    builds = [*(partial(written, *one) for one in made), objects]
    return st.sampled_from(builds).map(lambda build: build()), read


DECLARED = {"backbone": "a"}
IDS = from_hex([f"{i:064x}" for i in range(4)])
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def _records(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """What shards say of themselves, each in a file that is named as it should be."""
    store = Store(folder / "store")
    table = store.table(DECLARED)
    table.append(IDS[2:], ROWS[2:], 1.0, "here")
    [path] = table.folder.iterdir()
    columns = parquet.read_table(path)

    def make(data: bytes) -> bytes:
        made, buffer = columns.replace_schema_metadata({shards.RECORD: data}), io.BytesIO()
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        parquet.write_table(made, buffer, **plain, write_page_checksum=True)
        return buffer.getvalue()

    def put(data: bytes) -> None:
        (table.folder / f"{files.sha256(data)}.parquet").write_bytes(data)

    record = json.loads(parquet.read_metadata(path).metadata[shards.RECORD])
    return _changed(record, seal=False).map(make), _read_among_others(store, put)


def _shards(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """Shards, named as they should be: whoever writes to a store may do that too."""
    folder = folder / files.record_sha256(DECLARED)[:32]
    folder.mkdir()
    made = shards.write(folder, DECLARED, IDS, ROWS, 1.0, "here").path.read_bytes()
    footer = len(made) - 8 - int.from_bytes(made[-8:-4], "little")

    def read(data: bytes) -> None:
        path = folder / f"{files.sha256(data)}.parquet"
        path.write_bytes(data)
        try:
            found, _ = shards.read(path)
            found.load().tobytes()
        except shards.Damaged as error:
            raise BadImage(str(error)) from error
        finally:
            path.rename(folder / "last")

    return _mutated([made, made[:80], made[footer:]]), read


def _read_among_others(store: Store, put: Read) -> Read:
    """Have `put` write a hostile shard beside a good one, and use the table."""
    folder = store.table(DECLARED).folder
    path = shards.write(folder, DECLARED, IDS[:2], ROWS[:2], 1.0, "here").path
    good = path.read_bytes()

    def read(data: bytes) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        path.write_bytes(good)
        put(data)
        [entry] = inventory.list_entries(store.root)
        list(inventory.find_faults(entry))
        seen = store.table(DECLARED)
        held = seen.holds(IDS)
        if held[:2].all():  # unless the hostile one was opened first and has rows of another length
            np.testing.assert_array_equal(seen.gather(IDS[:2]), ROWS[:2])
        seen.gather(IDS[held])
        seen.seconds(IDS[held], "here")
        seen.append(IDS, ROWS, 1.0, "here")
        np.testing.assert_array_equal(store.table(DECLARED).gather(IDS[:2]), ROWS[:2])

    return read


def _manifests(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """Manifests of version 2."""
    store = Store(folder / "store")
    manifest = write_old(store.table(DECLARED).folder, DECLARED, IDS[2:], ROWS[2:])
    record = files.unseal(manifest.read_bytes())

    def put(data: bytes) -> None:
        write_old(manifest.parent, DECLARED, IDS[2:], ROWS[2:])
        manifest.write_bytes(data)

    return _changed(record, seal=True), _read_among_others(store, put)


def _rows(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """The other file of a shard of version 2, its checksum in the manifest mended."""
    manifest = write_old(folder, DECLARED, IDS, ROWS)
    path, record = manifest.with_suffix(".npy"), files.unseal(manifest.read_bytes())
    rows = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        manifest.write_bytes(files.seal({**record, "sha256": files.sha256(data)}))
        try:
            found, _ = shards.read(manifest)
        except shards.Damaged as error:
            raise BadImage(str(error)) from error
        assert found.load().sum() is not None

    return _mutated([rows, rows[:80], b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"]), read


def _store(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """What the store says of tables, made files and trials."""
    store = Store(folder / "store")
    declared = {
        "backbone": "resnet18",
        "size": [48, 64],
        "machine": "here",
        "weights_sha256": "ab",
        "torch": "2",
    }
    write_old(store.table(declared).folder, declared, IDS[:1], np.ones((1, 3), np.float32))
    made = store.keep("weights", declared, b"weights", 1.0, "here")
    trial = {"engine": "eager", "precision": "fp32", "setup_s": 1.0, "images_per_s": 5.0, "cosine": 1.0}
    store.keep_trials(declared, [trial])
    [trials], [key] = store.root.glob("trials/*.json"), store.root.glob("features/*/key.json")
    document = {
        "declared": declared,
        "trials": [trial],
        "sha256": made.sha256,
        "seconds": 1.0,
        "made_on": "here",
    }

    def read(data: bytes) -> None:
        for path in (made.path.parent / "made.json", trials, key):
            path.write_bytes(data)
        for entry in inventory.list_entries(store.root):
            list(inventory.find_faults(entry))
        parse_trials(store.trials(declared))
        list(describe_trials(store.all_trials()))
        store.find_made("weights", declared)

    return _changed(document, seal=True), read


def _models(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """`model.json` of a saved model."""
    digest = "0" * 64
    scores = {"accuracy": 0.5, "macro_f1": 0.5}
    document = {
        "schema_version": 1,
        "transfer": "0.1.0",
        "backbone": {"name": "resnet18", "sha256": digest, "weights": "random", "weights_sha256": digest},
        "features": {
            "input_size": [48, 64], "engine": "eager", "precision": "fp32", "device": "cpu", "batch": 8,
            "decoder": "pillow", "calibrated_sha256": None,
        },
        "classes": ["a", "b"],
        "methods": [
            {"name": "svm", "kind": "svm", "params": {"C": 1}, "valid": scores, "test": scores, "sha256": digest}
        ],
        "best": "svm",
        "select": "macro_f1",
    }  # fmt: skip
    path = folder / bundle.RECORD

    def read(data: bytes) -> None:
        path.write_bytes(data)
        kept = bundle.load(folder)
        method = kept.method(None)
        kept.whole(method["name"], method["sha256"])  # there is none, so this is refused at the latest

    return _changed(document, seal=False), read


def _heads(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    rng = np.random.default_rng(0)
    head = RidgeHead().fit(rng.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3)
    path = serialization.save(head, folder / "head")
    data = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        serialization.load(path).predict(np.zeros((2, 4), np.float32))

    return _mutated(
        [data, data[:200], struct.pack("<Q", 2**63) + data[8:]], lambda data: _resealed(data, path)
    ), read


def _resealed(data: bytes, path: Path) -> bytes:
    """A head's file whose digest is that of what it holds now: whoever can write one may do that too."""
    from safetensors.numpy import load as arrays_of
    from safetensors.numpy import save as to_bytes

    try:
        arrays = arrays_of(data)
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][serialization.KEY])
        about.pop("sha256", None)
        about["sha256"] = serialization._digest(about, arrays)
        return to_bytes(arrays, metadata={serialization.KEY: json.dumps(about)})
    except Exception:  # too broken to be sealed
        return data


def _weights(folder: Path) -> tuple[st.SearchStrategy[bytes], Read]:
    """Weights files of every kind, each under both names."""
    import safetensors.torch
    import torch

    state = {"fc.weight": torch.ones(3, 4), "fc.bias": torch.zeros(3)}
    checkpoint = {"model": state, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9)}
    buffers = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(state, buffers[0])
    torch.save(state, buffers[1], _use_new_zipfile_serialization=False)
    torch.save(checkpoint, buffers[2])
    corpus = [safetensors.torch.save(state), *(buffer.getvalue() for buffer in buffers)]

    def read(data: bytes) -> None:
        refused = []
        for suffix in (".pth", ".safetensors"):
            path = folder / f"weights{suffix}"
            path.write_bytes(data)
            try:
                choose_weights(RunConfig(weights=str(path)))
                weights.load(path)
            except UserError as error:
                refused.append(error)
        if len(refused) == 2:
            raise refused[0]

    return _mutated(corpus), read


KINDS: dict[str, Callable[[Path], tuple[st.SearchStrategy[bytes], Read]]] = {
    "images": _images,
    "results": _results,
    "records": _records,
    "shards": _shards,
    "manifests": _manifests,
    "rows": _rows,
    "store": _store,
    "models": _models,
    "heads": _heads,
    "weights": _weights,
    "large": _large,
}
# In percent of the number of a round.
SHARES = {
    "images": 60, "shards": 10, "rows": 10, "heads": 8, "weights": 8, "models": 5, "store": 4, "records": 3,
    "manifests": 3, "results": 2,
}  # fmt: skip
