"""JSON files that others may have written: read, and held against the schema they say they keep."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from transfer import files
from transfer.config import UserError

MAX_BYTES = 64_000_000


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file, `result` or `model`."""
    text = resources.files("transfer").joinpath(f"{name}.schema.json").read_text("utf-8")
    published: dict[str, Any] = json.loads(text)
    return published


def load(path: Path, kind: str) -> dict[str, Any]:
    """What a file of a kind, `result` or `model`, holds. Raises `UserError` as `parsed` and `check` do."""
    record = parsed(path, kind, MAX_BYTES)
    check(record, schema(kind), path, kind)
    return record


def parsed(path: Path, kind: str, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a file. Raises `UserError` where there is none, or the file is larger than that."""
    try:
        found = json.loads(files.read(path, max_bytes).decode(), parse_constant=_refused)
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
    """Raise `UserError` for a record of another version than that of the schema, or that does not keep it."""
    wanted, version = published["properties"]["schema_version"]["const"], record.get("schema_version")
    if version != wanted:
        raise UserError(f"{path} is no {kind} file of version {wanted} (schema_version is {version!r})")
    validate(record, published, path, kind)


def validate(found: Any, published: dict[str, Any], path: Path, kind: str) -> None:
    """Raise `UserError` where something read from `path` does not keep a schema."""
    import jsonschema  # imported here: a run never needs it

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(published).iter_errors(found))
    if error:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise UserError(f"{path} is no valid {kind} file: at {where}, {error.message[:200]}") from error


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
