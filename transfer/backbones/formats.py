"""What a file is, by its first bytes: weights, or one of the things that people have in their place."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from transfer.system.errors import UserError

SAFETENSORS, TORCH = "safetensors", "torch"
# What an archive, the form of torch's files since 1.6, begins with.
ARCHIVE = b"PK\x03\x04"

_FIRST_BYTES = 512
_AGAIN = "download it again"
_UNPACK = "unpack it and give the file inside"
_KERAS = "a Keras or TensorFlow file; give weights of a PyTorch network"
# Where a kind of file begins with these bytes: what it is, and how to mend it.
_KINDS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run: git lfs pull",
    b"\x89HDF\r\n": f"HDF5, {_KERAS}",
    b"\x93NUMPY": "a NumPy array; give the state_dict() of a network, saved by torch.save",
    b"\x1f\x8b": f"compressed (gzip); {_UNPACK}",
    b"BZh": f"compressed (bzip2); {_UNPACK}",
    b"\xfd7zXZ\x00": f"compressed (xz); {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"compressed (zstd); {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive; {_UNPACK}",
    b"Rar!": f"a RAR archive; {_UNPACK}",
    b"GGUF": "GGUF, a file of a language model; give weights of a torchvision network",
    b"%PDF": "a PDF document; give a .safetensors, .pth or .bin file",
    b"\xff\xd8\xff": "an image; give a .safetensors, .pth or .bin file",
    b"\x89PNG": "an image; give a .safetensors, .pth or .bin file",
    b"PK\x05\x06": f"an empty zip archive; {_AGAIN}",
}
_MARKUP = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"<head": "an HTML page",
    b"<?xml": "an XML page",
    b"<": "a page of markup",
}
# At the end of the index of a TensorFlow checkpoint, which is a LevelDB table.
_LEVELDB = bytes.fromhex("57fb808b247547db")


def kind_of(path: Path) -> str:
    """Return which reader takes a file of weights, by its contents and not by its name.

    Returns
    -------
    `safetensors` or `torch`; the latter also for what is nothing that is known.

    Raises
    ------
    UserError
        For a file that is something else, with what it is.
    OSError
        For a file that can't be read.
    """
    with path.open("rb") as file:
        first = file.read(_FIRST_BYTES)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - len(_LEVELDB)))
        last = file.read(len(_LEVELDB))
    if first[8:9] == b"{" and (path.suffix == ".safetensors" or int.from_bytes(first[:8], "little") < size):
        return SAFETENSORS
    found = _zip(path) if first.startswith(ARCHIVE) else _other(path, first, last)
    if found:
        raise UserError(f"{path} can't be read as weights: it is {found}")
    return TORCH


def _zip(path: Path) -> str | None:
    """Return what a zip archive is; None for torch's."""
    try:
        if not zipfile.is_zipfile(path):  # raises too: of several disks
            return f"cut short (the end of its zip archive is missing); {_AGAIN}"
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return f"a damaged zip archive ({error}); {_AGAIN}"
    names = [member.filename for member in members]
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program, whose code is not run; save the state_dict() of the network in Python"
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        if sum(member.file_size for member in members) > path.stat().st_size:  # torch's own never do
            return "an archive that unpacks to more than it is; save the network's state_dict() by torch.save"
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays; give the state_dict() of a network, saved by torch.save"
    if "model.weights.h5" in names:
        return _KERAS
    inside = f" ({names[0]} ...)" if names else ""
    return f"a zip archive{inside} that torch did not write; {_UNPACK}"


def _other(path: Path, first: bytes, last: bytes) -> str | None:
    """Return what a file that is no zip archive is; None for what may be torch's, or is not known."""
    if not first:
        return f"empty; {_AGAIN}"
    for begin, kind in _KINDS.items():
        if first.startswith(begin):
            return kind
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    for begin, kind in _MARKUP.items():
        if text.lower().startswith(begin):
            return f"{kind}, as of a download that was refused; {_AGAIN}"
    if first[257:262] == b"ustar":
        return f"a tar archive; {_UNPACK}"
    if first[4:8] == b"TFL3" or last == _LEVELDB or first.startswith(b"\x08\x01\x12"):
        return _KERAS
    if (
        first[:1] == b"\x08"
        and first[1:2] in map(bytes, zip(range(2, 20)))
        and first[2:3] in b"\x12\x1a\x22\x3a"
    ):
        return "an ONNX file; give weights of a PyTorch network"
    return _text(path, text)


def _text(path: Path, text: bytes) -> str | None:
    """Return what a file of text is; None for what is no text."""
    try:
        words = text.decode()
    except UnicodeDecodeError as error:  # of a letter that the first bytes cut in two, perhaps
        if error.start < _FIRST_BYTES - 4:
            return None
        words = text[: error.start].decode()
    if not words or not all(letter.isprintable() or letter in "\r\n\t" for letter in words):
        return None
    if words[0] in "{[":
        parts = "the list of a network's several files" if '"weight_map"' in words else "JSON"
        return f"{parts}, without tensors; give a .safetensors, .pth or .bin file"
    line = words.splitlines()[0][:60]
    return f"text ({line!r}), as of a download that was refused; {_AGAIN}"
