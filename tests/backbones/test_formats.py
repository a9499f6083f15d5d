from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.refusals import refusal
from transfer.backbones import formats, weights
from transfer.backbones.choice import choose_weights
from transfer.config import RunConfig
from transfer.system.errors import UserError


def packed(**members: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return held.getvalue()


def saved(save: Callable[[Any], None]) -> bytes:
    held = io.BytesIO()
    save(held)
    return held.getvalue()


def tar() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return held.getvalue()


TORCH = saved(lambda file: torch.save({"a": torch.zeros(1000)}, file))


def _overwritten(data: bytes) -> bytes:
    """A zip archive whose directory is spoiled, and its end is not."""
    start = data.index(b"PK\x01\x02")
    return data[:start] + b"XXXX" + data[start + 4 :]


def _on_two_disks(data: bytes) -> bytes:
    """A zip archive that says it is one of two parts."""
    start = data.index(b"PK\x06\x07") + 16
    return data[:start] + (2).to_bytes(4, "little") + data[start + 4 :]


FILES = {
    "HTML": (b"<!DOCTYPE html><html>Quota exceeded</html>", "an HTML page"),
    "HTML, indented": (b"\xef\xbb\xbf\n  <HTML lang=de><p>\xc3\xa4</HTML>", "an HTML page"),
    "XML": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n", "git lfs pull"),
    "text": (b"404: Not Found\n", "text ('404: Not Found')"),
    "accents": ("Datei nicht gefunden: Größe\n".encode(), "text ("),
    "long text": (("ä" * 1000).encode(), "text ("),
    "empty": (b"", "empty; download it again"),
    "cut short": (TORCH[:2000], "cut short"),
    "damaged zip": (_overwritten(TORCH), "a damaged zip archive"),
    "part of a zip": (_on_two_disks(TORCH), "a damaged zip archive (zipfiles that span multiple disks"),
    "empty zip": (packed(), "an empty zip archive"),
    "zip": (packed(**{"weights.pth": b"x"}), "a zip archive (weights.pth ...) that torch did not write"),
    "TorchScript": (packed(**{"m/data.pkl": b"x", "m/constants.pkl": b"x"}), "a TorchScript program"),
    "npz": (saved(lambda file: np.savez(file, a=np.zeros(2))), "NumPy arrays"),
    "npy": (saved(lambda file: np.save(file, np.zeros(2))), "a NumPy array"),
    "Keras": (packed(**{"config.json": b"{}", "model.weights.h5": b"x"}), "Keras"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "TensorFlow checkpoint": (bytes(99) + bytes.fromhex("57fb808b247547db"), "TensorFlow"),
    "SavedModel": (b"\x08\x01\x12\xd5\x0c" + bytes(99), "TensorFlow"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(99), "ONNX"),
    "JSON": (json.dumps({"a": [1]}).encode(), "JSON"),
    "index of safetensors": (b'{"metadata": {}, "weight_map": {"a": "b"}}', "several files"),
    "gzip": (gzip.compress(TORCH), "compressed (gzip)"),
    "tar": (tar(), "a tar archive"),
    "photograph": (b"\xff\xd8\xff\xe0" + bytes(99), "an image"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_weights_file_is_named_by_its_contents(tmp_path: Path, kind: str, suffix: str) -> None:
    data, expected = FILES[kind]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    message = refusal(weights.load, path)
    assert message.startswith(f"{path} can't be read as weights: it is ")
    assert expected in message
    with pytest.raises(UserError, match="can't be read as weights"):
        choose_weights(RunConfig(data="images", backbone="resnet18", weights=str(path)))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".pth.tar", ".safetensors", ".txt", ""])
def test_the_name_of_a_file_does_not_matter(tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"w{suffix}", {"a": torch.arange(3.0)}
    save_file(state, path)
    assert formats.kind_of(path) == formats.SAFETENSORS
    assert torch.equal(weights.load(path)["a"], state["a"])
    for archive in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=archive)
        assert formats.kind_of(path) == formats.TORCH
        assert torch.equal(weights.load(path)["a"], state["a"])


def test_a_folder_and_a_missing_file_are_distinguished(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder, not a weights file"):
        choose_weights(RunConfig(data="images", weights=str(tmp_path)))
    with pytest.raises(UserError, match="no such weights file"):
        choose_weights(RunConfig(data="images", weights=str(tmp_path / "w.pth")))
