"""The folder that a run writes: whether its result and its models are of one run, and what can be used again."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from transfer.data.user_paths import describe_source
from transfer.system import files, schemas
from transfer.system.errors import UserError
from transfer.system.remote import path_of
from transfer.system.run_files import FRONTIER, MODELS, RECORD, RESULT
from transfer.system.schemas import MAX_BYTES, parse
from transfer.system.text import list_first
from transfer.system.version import __version__

log = logging.getLogger(__name__)


def find_record(folder: Path) -> Path:
    """Return the path of `model.json` in a folder of models, or in the folder that a run wrote to.

    Raises
    ------
    UserError
        Where there is none.
    """
    path = next((at / RECORD for at in (folder, folder / MODELS) if (at / RECORD).is_file()), None)
    if path is None:
        check_one_run(folder)
        if not (folder / RESULT).is_file():
            raise UserError(f"no {RECORD} in {folder}; give the folder that transfer run --out wrote to")
        [features] = read_parts(folder, "features")
        if features.get("given"):
            raise UserError(
                f"{folder} holds a result without models: given features have no network; run on images"
            )
        raise UserError(f"{folder} holds a result without models, which its run did not write; run it again")
    return path


def check_one_run(folder: Path) -> None:
    """Raise `UserError` for a folder that holds no result itself, but the folders of runs: it names them."""
    runs = sorted({path.parent for name in (RESULT, FRONTIER) for path in folder.glob(f"*/{name}")})
    if runs and not (folder / RESULT).is_file():
        several = "several runs; name one of them" if runs[1:] else "the folder of a run; name that"
        raise UserError(f"{folder} holds {several}: {list_first([*map(str, runs)])}")


def find_network(path: Path, about: dict[str, Any]) -> str | None:
    """Return the sha256 of the network that a folder of models holds at a path.

    Parameters
    ----------
    path : Path
    about : dict
        What `model.json` has to say of it.

    Returns
    -------
    str or None
        None unless this version saved it, it is the one described, and whole.
    """
    try:
        record = schemas.load(path.parent / RECORD, "model")
        sha256: str = record["backbone"].pop("sha256")
        same = record["transfer"] == __version__ and record["backbone"] == json.loads(json.dumps(about))
        return sha256 if same and files.file_sha256(path) == sha256 else None
    except (UserError, OSError):
        return None


def read_parts(folder: Path, *names: str) -> list[dict[str, Any]]:
    """Return parts of the result in a folder that a run wrote to, unchecked; those that can't be read are empty."""
    try:
        result = parse(folder / RESULT, "result", MAX_BYTES)
    except UserError:
        result = {}
    return [part if isinstance(part := result.get(name), dict) else {} for name in names]


def check_same_data(folder: Path, named: str, advice: str) -> None:
    """Raise `UserError` where a folder holds a result of other data than those named, as far as is known."""
    own, (data, features) = describe_source(named), read_parts(folder, "data", "features")
    had, source = data.get("name"), features.get("source_sha256")  # the source of given features alone
    same_name = had in (None, own["data"], path_of(named).name)  # of a link it is the link's
    if had is None or (same_name and source in (None, own["source_sha256"])):
        return
    where = " in another folder" if same_name else ""
    raise UserError(f"{folder} holds a result of {had!r}{where}, not {own['data']!r}; {advice}")


def is_same_run(folder: Path) -> bool:
    """Return whether the result and the models in the folder that a run writes to are of one run, as far as is known.

    A run that is killed while it writes them leaves another folder, and so do two runs at a time.
    """
    try:
        made_from = parse(folder / MODELS / RECORD, "model", MAX_BYTES).get("made_from")
        expected = made_from.get("result_sha256") if isinstance(made_from, dict) else None
        return expected is None or files.file_sha256(folder / RESULT) == expected
    except (UserError, OSError):  # one of them is not there
        return True


def check_same_run(folder: Path) -> None:
    """Warn where the result and the models in the folder that a run writes to are of two runs."""
    if not is_same_run(folder):
        log.warning("%s and the models beside it are of two different runs", folder / RESULT)
