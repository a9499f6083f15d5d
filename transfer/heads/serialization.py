"""Fitted heads as files: safetensors with JSON in the header, nothing that could be executed.

A checksum detects damage; it does not prove who wrote a file.

A head is its parameters and its fitted attributes, arrays and plain values by their names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from transfer.heads.registry import HEADS
from transfer.heads.transforms import Affine, Step, TransformedHead, to_unit_length
from transfer.system import files
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.version import __version__

FORMAT = 1
SUFFIX = ".safetensors"
KEY = "transfer_head"
STEP = "step."  # and its number: the arrays of a step before the head
DTYPES = {
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
}  # fmt: skip

log = logging.getLogger(__name__)


def save(head: Any, path: Path | str) -> Path:
    """Write a fitted head to a file, atomically.

    Parameters
    ----------
    head : estimator
        One of the heads of `transfer.heads`, maybe behind steps; of a search, its `best_estimator_`.
    path : Path or str
        `.safetensors` is appended if it is missing.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If `head` is not a fitted head, has a parameter or a label that JSON can't hold, or can't be written.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import KNN
    >>> from transfer.heads.serialization import load, save
    >>> X, y = load_iris(return_X_y=True)
    >>> file = save(KNN().fit(X, y), "iris")
    >>> file.name
    'iris.safetensors'
    """
    steps: tuple[Step, ...] = ()
    if isinstance(head, TransformedHead):
        steps, head = head.steps, head.head
    name = type(head).__name__
    if name not in _savable() or type(head) is not _class(name):
        raise UserError(
            f"can't save {name}; give one of {', '.join(_savable())} (a search's best_estimator_)"
        )
    params = head.get_params(deep=False)
    fitted = {key: value for key, value in vars(head).items() if key not in params}
    if "classes_" not in fitted:
        raise UserError(f"this {name} is not fitted; call fit before it is saved")
    arrays = {key: np.asarray(value) for key, value in fitted.items() if _is_array(value)}
    for i, step in enumerate(steps):
        if isinstance(step, Affine):
            arrays |= {f"{STEP}{i}.mean": step.mean_D, f"{STEP}{i}.matrix": step.matrix_DK}
    # A product's last bits depend on how a matrix lies in memory.
    by_column = [
        key for key, value in arrays.items() if not value.flags.c_contiguous and value.flags.f_contiguous
    ]
    arrays = {key: np.asarray(value, order="C") for key, value in arrays.items()}
    about = {
        "format": FORMAT,
        "transfer": __version__,
        "head": name,
        "params": {key: _plain(f"{name}'s {key}", value) for key, value in params.items()},
        "fitted": {
            key: _plain(f"{name}'s {key}", value) for key, value in fitted.items() if key not in arrays
        },
        "by_column": by_column,
        **({"steps": ["affine" if isinstance(step, Affine) else "l2" for step in steps]} if steps else {}),
    }
    about["sha256"] = _digest(about, arrays)
    path = Path(path)
    path = path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)
    files.write(path, to_bytes(arrays, metadata={KEY: json.dumps(about)}))
    return path


def load(path: Path | str) -> Any:
    """Read a head that `save` wrote; it predicts the same bits. No code in a file is ever run.

    Parameters
    ----------
    path : Path or str

    Returns
    -------
    estimator

    Raises
    ------
    UserError
        If the file is not a saved head, is damaged, or has another format.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import KNN
    >>> from transfer.heads.serialization import load, save
    >>> X, y = load_iris(return_X_y=True)
    >>> file = save(KNN().fit(X, y), "iris")
    >>> load(file).predict(X[:2])
    array([0, 0])
    """
    path = Path(path)
    try:
        files.open_file(path).close()  # a pipe would be waited for
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "null"))
            if not isinstance(about, dict) or about.get("format") != FORMAT:
                given = about.get("format") if isinstance(about, dict) else None
                raise UserError(f"{path} is no saved head of format {FORMAT} (its format is {given!r})")
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        head = _restored(about, arrays)
        head.predict(np.zeros((1, head.n_features_in_), np.float32))  # do its parts fit each other?
        if about["transfer"] != __version__:
            log.warning("%s was saved by transfer %s; this is %s", path, about["transfer"], __version__)
    except (UserError, MemoryError):
        raise
    except OSError as error:
        raise UserError(f"can't read {path} ({error.strerror or 'no such file'})") from error
    except Exception as error:  # parts that do not fit fail in every way
        if is_out_of_memory(error):
            raise MemoryError from error
        is_other = isinstance(
            error, SafetensorError | RecursionError | UnicodeDecodeError | json.JSONDecodeError
        )
        kind = "no saved head" if is_other else "a damaged head"
        raise UserError(f"{path} is {kind}: {_line(error)}") from error
    return head


def _restored(about: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Any:
    if about.pop("sha256") != _digest(about, arrays):
        raise ValueError("it does not hold what was saved")
    name, params, plain = about["head"], about["params"], about["fitted"]
    if name not in _savable():
        raise ValueError(f"no head is called {name!r}")
    head = _class(name)(**{key: _value(value) for key, value in params.items()})
    for key in about["by_column"]:
        arrays[key] = np.asfortranarray(arrays[key])
    steps = [_step(kind, f"{STEP}{i}", arrays) for i, kind in enumerate(about.get("steps", ()))]
    fitted = {key: _value(value) for key, value in plain.items()}
    fitted |= {key: value if value.ndim else value[()] for key, value in arrays.items()}
    for key, value in fitted.items():
        if not re.fullmatch(r"_?[A-Za-z]\w*_|_[A-Za-z]\w*", key) or hasattr(type(head), key):
            raise ValueError(f"a head has no fitted value {key!r}")
        setattr(head, key, value)
    # Checked before a row is made that is as long as the file says.
    if all(not value.size or value.shape[-1:] != (head.n_features_in_,) for value in arrays.values()):
        raise ValueError(f"no array has {head.n_features_in_!r} features")
    return TransformedHead(steps, head) if steps else head


def _step(kind: str, name: str, arrays: dict[str, npt.NDArray[Any]]) -> Step:
    """Return a step of a `TransformedHead`, and take its arrays out of those of the head."""
    if kind == "l2":
        return to_unit_length
    return Affine(arrays.pop(f"{name}.mean"), arrays.pop(f"{name}.matrix"))


def _savable() -> list[str]:
    return [name for name in HEADS if not name.endswith("Search")]


def _class(name: str) -> Any:
    return getattr(import_module(f"transfer.heads.{HEADS[name]}"), name)


def _is_array(value: Any) -> bool:
    """Return whether a fitted value is kept as bytes: numbers of NumPy, alone or in an array."""
    return isinstance(value, np.ndarray | np.generic) and str(value.dtype) in DTYPES


def _plain(what: str, value: Any) -> Any:
    """Convert a value to JSON; arrays of text, tuples and dicts are kept together with their type."""
    if (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "UO"
        and all(isinstance(v, str) for v in value.flat)
    ):
        return {"kind": "text" if value.dtype.kind == "U" else "objects", "values": value.tolist()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        pairs = [[_plain(what, key), _plain(what, own)] for key, own in value.items()]
        return {"kind": "dict", "values": pairs}
    if isinstance(value, list | tuple):
        return {"kind": type(value).__name__, "values": [_plain(what, own) for own in value]}
    if (
        value is None
        or isinstance(value, bool | int | str)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    raise UserError(f"{what} is {value!r}; numbers, text and arrays of them can be saved")


def _value(plain: Any) -> Any:
    """Invert `_plain`."""
    if not isinstance(plain, dict):
        return plain
    kind, values = plain["kind"], plain["values"]
    if kind in ("text", "objects"):
        return np.array(values, dtype=str if kind == "text" else object)
    if kind == "dict":
        return {_value(key): _value(own) for key, own in values}
    return {"list": list, "tuple": tuple}[kind](_value(own) for own in values)


def _digest(about: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    """Return the sha256 of the description of a head and of its arrays' names, types, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for key in sorted(arrays):
        digest.update(json.dumps([key, str(arrays[key].dtype), arrays[key].shape]).encode())
        digest.update(np.ascontiguousarray(arrays[key]).data)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
