"""JSON files that others may have written: read, and validated against a JSON Schema."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.text import printable

# JSON made for it takes 15 times its size as objects, and 27 times where nearly every byte is an empty list.
MAX_BYTES = 32_000_000
MAX_CONTAINERS = 1_000_000


def load_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file, `result`, `curve`, `frontier` or `model`."""
    folder = "serving" if name == "model" else "evaluation"
    text = resources.files("transfer").joinpath(folder, f"{name}.schema.json").read_text("utf-8")
    published: dict[str, Any] = json.loads(text)
    return published


def load(path: Path, kind: str) -> dict[str, Any]:
    """Read a JSON file and validate it.

    Parameters
    ----------
    path : Path
    kind : {"result", "curve", "frontier", "model"}

    Returns
    -------
    dict

    Raises
    ------
    UserError
        If it can't be read, is larger than 32 MB, is not JSON, has another version or violates the schema.
    """
    record = parse(path, kind, MAX_BYTES)
    check(record, load_schema(kind), path, kind)
    return record


def parse(path: Path, kind: str, max_bytes: int) -> dict[str, Any]:
    """Read a JSON object from a file.

    Parameters
    ----------
    path : Path
    kind : str
        Kind of file, for messages.
    max_bytes : int

    Returns
    -------
    dict

    Raises
    ------
    UserError
        If it can't be read, is larger than `max_bytes`, or does not hold a JSON object.
    """
    try:
        data = files.read(path, max_bytes)
        if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
            raise UserError(f"{path} is no {kind} file: more than {MAX_CONTAINERS:,} lists and objects")
        found = json.loads(data.decode(), parse_constant=_refused)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no {kind} file: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no {kind} file: JSON, but no object")
    return found


def check(record: dict[str, Any], published: dict[str, Any], path: Path, kind: str) -> None:
    """Check the version of a record, then validate it.

    Parameters
    ----------
    record : dict
    published : dict
        The schema; its `schema_version` lists the versions that can be read.
    path : Path
        Where the record was read, for messages.
    kind : str
        Kind of file, for messages.

    Raises
    ------
    UserError
        If the version is another, or the record violates the schema.
    """
    allowed, version = published["properties"]["schema_version"], record.get("schema_version")
    versions = allowed.get("enum", [allowed.get("const")])
    if version not in versions:
        wanted = " or ".join(map(str, versions))
        raise UserError(f"{path} is no {kind} file of version {wanted} (schema_version is {version!r})")
    validate(record, published, path, kind)


def validate(found: Any, published: dict[str, Any], path: Path, kind: str) -> None:
    """Validate something read from a file against a schema.

    Parameters
    ----------
    found : object
        JSON values.
    published : dict
        The schema.
    path : Path
        The file, for messages.
    kind : str
        Kind of file, for messages.

    Raises
    ------
    UserError
        One line that says where it violates the schema.
    """
    import jsonschema_rs  # imported here: a run never needs it

    try:
        jsonschema_rs.validator_for(published).validate(found)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(map(str, error.instance_path)) or "the top"
        fault = printable(f"at {where}, {error.message[:200]}")
        raise UserError(f"{path} is no valid {kind} file: {fault}") from error
    except ValueError as error:  # nested deeper than it reads
        raise UserError(f"{path} is no valid {kind} file: {error}") from error


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
