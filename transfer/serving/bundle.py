"""The folder that a run keeps its models in: the network, a head for each method, and `model.json` on them.

The names of the files are fixed or a method's; none is a path that `model.json` gives.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import save as to_bytes

from transfer.backbones import sources
from transfer.backbones.checkpoint import State
from transfer.backbones.choice import choose_normalisation
from transfer.backbones.preprocessing import IMAGENET
from transfer.backbones.weights import Weights
from transfer.config import ADAPTATIONS, CHOICES, RunConfig
from transfer.data.user_paths import describe_source
from transfer.features.fill import Extraction
from transfer.heads import serialization
from transfer.heads.calibration import Calibration
from transfer.heads.registry import METHODS
from transfer.heads.solutions import ranking
from transfer.serving.method_files import save_heads
from transfer.serving.run_folder import check_same_data, check_same_run, find_network, find_record
from transfer.system import files, schemas
from transfer.system.errors import UserError
from transfer.system.run_files import MODELS, RECORD
from transfer.system.text import first_line
from transfer.system.version import __version__

SCHEMA_VERSION = 1
STAGING, BACKBONE = ".new-", "backbone"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A folder of models, and what its `model.json` says, as `model.schema.json` describes it."""

    folder: Path
    record: dict[str, Any]

    def method(self, name: str | None) -> dict[str, Any]:
        """Return the entry of a method; None: of the one that was best on the validation split."""
        methods = {method["name"]: method for method in self.record["methods"]}
        if name is not None and name not in methods:
            raise UserError(
                f"`method` is {name!r}; choose one of {', '.join(methods)}, which {self.folder} has"
            )
        found: dict[str, Any] = methods[name or self.record["best"]]
        return found

    def whole(self, stem: str, sha256: str) -> Path:
        """Return the file of that name; `UserError` where it is not there or not what was written."""
        path = self.folder / f"{stem}{serialization.SUFFIX}"
        try:
            found = files.file_sha256(path)
        except OSError as error:
            raise UserError(f"can't read {path} ({error.strerror}); copy the whole folder again") from error
        if found != sha256:
            raise UserError(f"{path} is not the file that {RECORD} names (its sha256 differs); run again")
        return path


class ModelsNotSaved(UserError):
    """Some or all of the models of a comparison could not be saved.

    Attributes
    ----------
    result : Result or None
        What the comparison found, where `transfer.run` made it.
    """

    result: Any = None


def check_replaceable(folder: Path, config: RunConfig, *, argument: str = "out") -> None:
    """Refuse to replace a model of other data, or of another network, than those of a run.

    Where there is no model, as after a run on given features, the result beside it is not replaced by that of data of
    another name, nor by that of other given features.

    A run on the same DATA with its backbone, weights, normalisation, layers, resizing, decoder, transform and, where
    it names one, input size may replace it, whatever its other settings and whatever images have come or gone since.

    Parameters
    ----------
    folder
        That models are to be saved in; it need not exist.
    config
        Of the run.
    argument
        That names the folder, for messages.

    Raises
    ------
    UserError
        For a model or a result of something else, or a `model.json` that can't be read.
    """
    path, new = folder / RECORD, describe_source(config.data)
    advice = f"give another `{argument}`, or replace it with `force=True`"
    if not path.is_file():
        if folder.name == MODELS:
            check_same_data(folder.parent, config.data, advice)
        return
    try:
        record = schemas.load(path, "model")
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    old, made_from, size = record["backbone"], record.get("made_from"), record["features"]["input_size"]
    reasons = []
    if made_from and made_from["source_sha256"] != new["source_sha256"]:
        elsewhere = " in another folder" if made_from["data"] == new["data"] else ""
        reasons.append(f"of {made_from['data']!r}{elsewhere}, not {new['data']!r}")
    pairs = {
        "": (old["name"], sources.recorded_name(config.backbone)),
        "weights ": (old["weights"], Path(config.weights_or_default).name),
        "layers ": (",".join(old.get("layers", ())), ",".join(config.layers)),
        "resize ": (old.get("resize", CHOICES["resize"][0]), config.resize),
        "decoder ": (record["features"]["decoder"], config.decoder),
        "transform ": (",".join(record.get("transform", ())), ",".join(config.transform)),
    }
    if old["name"] == sources.recorded_name(config.backbone):  # another network may have another one
        usual, own = IMAGENET.described, choose_normalisation(config).described
        pairs |= {f"{name} ": (str(old.get(name, usual[name])), str(own[name])) for name in own}
    reasons += [
        f"with {what}{had or 'none'}, not {has or 'none'}" for what, (had, has) in pairs.items() if had != has
    ]
    if config.size and list(config.size) != size:
        reasons.append(f"at {size[0]}x{size[1]}, not {config.size[0]}x{config.size[1]}")
    if reasons:
        raise UserError(f"{folder} holds a model {', '.join(reasons)}; {advice}")


def save(
    folder: Path,
    config: RunConfig,
    extraction: Extraction,
    fitted: Mapping[str, tuple[dict[str, Any], Any, Calibration | None]],
    blocks: Mapping[str, State] = MappingProxyType({}),
    *,
    fingerprint: str | None = None,
    result_sha256: str | None = None,
) -> None:
    """Write the network and the heads of a run.

    They are written beside what an earlier run left there, and replace it when all of them are: a disk that is full
    costs the new models alone. `model.json` is gone while files are renamed and comes last, so a folder that has it is
    whole. A head that can't be saved leaves the others.

    Parameters
    ----------
    folder
        Made where it is missing.
    config, extraction
        Of the run.
    fitted
        By name, a method's entry of the result, its head, and the calibration of that.
    blocks
        By name, the tensors of the network that a method trained.
    fingerprint
        Of the images, their labels and splits; None where it is not known.
    result_sha256
        Of the text of the run's result file; None where it is not known.

    Raises
    ------
    ModelsNotSaved
        After all that could be saved was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as staging:
            methods, failures = save_heads(Path(staging), fitted, blocks)
            if methods:
                best = ranking([method["valid"] for method in methods], config.select)[0]
                record = {
                    "schema_version": SCHEMA_VERSION,
                    "transfer": __version__,
                    "made_from": {
                        **describe_source(config.data),
                        "fingerprint": fingerprint,
                        "result_sha256": result_sha256,
                    },
                    "backbone": _save_backbone(Path(staging), extraction.weights, folder),
                    "features": _save_way(Path(staging), extraction),
                    **({"transform": list(config.transform)} if config.transform else {}),
                    "classes": list(extraction.classes),
                    "methods": methods,
                    "best": methods[best]["name"],
                    "select": config.select,
                }
                text = json.dumps(record, indent=1, allow_nan=False) + "\n"
                files.write(Path(staging) / RECORD, text.encode())
                _replace(folder, Path(staging))
    except Exception as error:  # memory may run out too, and the result is worth more than the models
        left = "; those of an earlier run are still there" if (folder / RECORD).is_file() else ""
        raise ModelsNotSaved(f"the models are not saved: {first_line(error)}{left}") from error
    if failures:
        raise ModelsNotSaved("; ".join(failures))


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed runs had not finished."""
    for left in folder.glob(f"{STAGING}*"):
        if files.is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def remove(folder: Path, *, but: Collection[str] = ()) -> None:
    """Remove `model.json` and the files of an earlier run, but for those named."""
    (folder / RECORD).unlink(missing_ok=True)
    old = {folder / f"{stem}{serialization.SUFFIX}" for stem in (BACKBONE, *METHODS, "calibrated")}
    trained = (f"{name}-*{serialization.SUFFIX}" for name in ("unfreeze", *ADAPTATIONS, "fc-lab"))
    for path in (*old, *itertools.chain.from_iterable(map(folder.glob, trained))):
        if path.name not in but and path.exists():
            log.info("removed a file of an earlier run: %s", path)
            path.unlink(missing_ok=True)


def _replace(folder: Path, staging: Path) -> None:
    """Move written files to where those of an earlier run are; what it had beyond them goes."""
    new = {path.name for path in staging.iterdir()}
    remove(folder, but=new)
    for name in sorted(new, key=RECORD.__eq__):  # the record last
        (staging / name).replace(folder / name)


def load(folder: Path) -> Kept:
    """Read `model.json` in a folder of models, or in the folder that a run wrote to.

    Raises
    ------
    UserError
        Where there is none that is whole, or it names methods that are not there.
    """
    path = find_record(folder)
    record = schemas.load(path, "model")
    names = [method["name"] for method in record["methods"]]
    if record["best"] not in names or len(set(names)) < len(names):
        raise UserError(f"{path} is no valid model file: its best does not fit its methods")
    if path.parent.name == MODELS:
        check_same_run(path.parent.parent)
    return Kept(folder=path.parent, record=record)


def _save_backbone(folder: Path, weights: Weights, earlier: Path) -> dict[str, Any]:
    """Save the network, or link the same one that an earlier run saved: to build it takes seconds."""
    about = {
        "name": weights.backbone,
        "weights": weights.source,
        "weights_sha256": weights.sha256,
        **weights.prepared,
        "settings": dict(weights.settings),
    }
    path = folder / f"{BACKBONE}{serialization.SUFFIX}"
    sha256 = find_network(earlier / path.name, about)
    if sha256:
        with contextlib.suppress(OSError):  # not every file system has links
            os.link(earlier / path.name, path)
    if not path.exists():
        sha256 = files.write(path, to_bytes(dict(weights.network.state_dict())))
    return {**about, "sha256": sha256}


def _save_way(folder: Path, extraction: Extraction) -> dict[str, Any]:
    plan, calibrated = extraction.plan, extraction.calibrated
    return {
        "input_size": list(extraction.size),
        "engine": plan.engine,
        "precision": plan.precision,
        "device": plan.device,
        "batch": plan.batch,
        "decoder": extraction.decoder,
        "shift": extraction.images.shift,
        "calibrated_sha256": calibrated
        and files.write(folder / f"calibrated{serialization.SUFFIX}", calibrated.path.read_bytes()),
    }
