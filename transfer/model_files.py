"""The folder that a run keeps its models in: the network, a head for each method, and `model.json` on them.

The names of the files are fixed or a method's; none is a path that `model.json` gives.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes

from transfer import __version__, backbone, files, records, weights
from transfer.config import MODELS, RunConfig, UserError
from transfer.extract import Extraction
from transfer.heads import METHODS, saved
from transfer.heads.selection import ranking

SCHEMA_VERSION = 1
RECORD = "model.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A folder of models, and what its `model.json` says, as `model.schema.json` describes it."""

    folder: Path
    record: dict[str, Any]

    def method(self, name: str | None) -> dict[str, Any]:
        """The entry of a method; of the one that was best on the validation split where `name` is None."""
        methods = {method["name"]: method for method in self.record["methods"]}
        if name is not None and name not in methods:
            raise UserError(f"--method is {name!r}; {self.folder} has {', '.join(methods)}")
        found: dict[str, Any] = methods[name or self.record["best"]]
        return found

    def whole(self, stem: str, sha256: str) -> Path:
        """The file of that name. Raises `UserError` where it is not there or not what was written."""
        path = self.folder / f"{stem}{saved.SUFFIX}"
        try:
            found = files.file_sha256(path)
        except OSError as error:
            raise UserError(f"can't read {path} ({error.strerror}); copy the whole folder again") from error
        if found != sha256:
            raise UserError(f"{path} is not the file that {RECORD} names (its sha256 differs); run again")
        return path


def save(
    folder: Path,
    config: RunConfig,
    extraction: Extraction,
    fitted: Mapping[str, tuple[dict[str, Any], Any]],
) -> None:
    """Write the network and the heads of `fitted`: a method's entry of the result, and its head, by name.

    What a run before this one left there is replaced or removed. `model.json` is gone while files change and comes
    last, so a folder that has it is whole. What can't be saved is told in a line: a result is worth more.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        methods = _save_heads(folder, fitted)
        for stem in {*METHODS, "calibrated"} - {method["name"] for method in methods}:
            (folder / f"{stem}{saved.SUFFIX}").unlink(missing_ok=True)
        if not methods:
            return
        best = ranking([method["valid"] for method in methods], config.select)[0]
        record = {
            "schema_version": SCHEMA_VERSION,
            "transfer": __version__,
            "backbone": _save_backbone(folder, config.backbone, extraction),
            "features": _save_way(folder, extraction),
            "classes": list(extraction.classes),
            "methods": methods,
            "best": methods[best]["name"],
            "select": config.select,
        }
        files.write(folder / RECORD, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    except Exception as error:  # memory may run out too
        log.warning("the models are not saved: %s", error or type(error).__name__)


def load(folder: Path) -> Kept:
    """What lies in a folder of models, or in the folder that a run wrote to.

    Raises `UserError` where there is no whole `model.json`, or it speaks of methods that are not there.
    """
    path = next((at / RECORD for at in (folder, folder / MODELS) if (at / RECORD).is_file()), None)
    if path is None:
        raise UserError(f"no {RECORD} in {folder}; give the folder that transfer run --out wrote to")
    record = records.load(path, "model")
    names = [method["name"] for method in record["methods"]]
    if record["best"] not in names or len(set(names)) < len(names):
        raise UserError(f"{path} is no valid model file: its best does not fit its methods")
    return Kept(folder=path.parent, record=record)


def _save_heads(folder: Path, fitted: Mapping[str, tuple[dict[str, Any], Any]]) -> list[dict[str, Any]]:
    """The entries in `model.json` of the heads that could be saved."""
    methods = []
    for name, (entry, head) in fitted.items():
        try:
            path = saved.save(head, folder / f"{name}{saved.SUFFIX}")
        except UserError as error:
            log.warning("%s is not saved: %s", name, error)
            continue
        methods.append(
            {
                "name": name,
                "kind": entry["kind"],
                "params": entry["best_params"],
                **{
                    split: {score: entry[split][score] for score in ("accuracy", "macro_f1")}
                    for split in ("valid", "test")
                },
                "sha256": files.file_sha256(path),
            }
        )
    return methods


def _save_backbone(folder: Path, name: str, extraction: Extraction) -> dict[str, Any]:
    network = backbone.build(name, weights.load(extraction.weights.path, extraction.weights.sha256))
    return {
        "name": name,
        "sha256": files.write(folder / f"backbone{saved.SUFFIX}", to_bytes(dict(network.state_dict()))),
        "weights": extraction.weights.source,
        "weights_sha256": extraction.weights.sha256,
    }


def _save_way(folder: Path, extraction: Extraction) -> dict[str, Any]:
    plan, calibrated = extraction.plan, extraction.calibrated
    return {
        "input_size": list(extraction.size),
        "engine": plan.engine,
        "precision": plan.precision,
        "device": plan.device,
        "batch": plan.batch,
        "decoder": extraction.decoder,
        "calibrated_sha256": calibrated
        and files.write(folder / f"calibrated{saved.SUFFIX}", calibrated.path.read_bytes()),
    }
