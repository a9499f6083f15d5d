"""Which weights a backbone gets: torchvision's, the package's own, the user's file, or untrained ones made and kept."""

from __future__ import annotations

import logging
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from transfer.backbones import (
    bundled,
    checkpoint,
    formats,
    networks,
    pickle_guard,
    preprocessing,
    sources,
    torchvision_files,
)
from transfer.backbones.checkpoint import State
from transfer.backbones.choice import Maps, WeightsChoice
from transfer.backbones.fitting import Misfit
from transfer.backbones.preprocessing import IMAGENET, USUAL, Normalisation, Preprocessing
from transfer.cache.locks import SharedLock
from transfer.cache.store import MadeFile, Store
from transfer.config import NAMED_WEIGHTS
from transfer.data import decode
from transfer.data.bad_images import BadImages
from transfer.data.batches import batches
from transfer.data.loader import IndexedImages
from transfer.system.content_ids import to_hex
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.files import SCHEMA_VERSION, HashedFile, hash_file, stamp
from transfer.system.hardware import processor
from transfer.system.text import first_line
from transfer.system.timer import now

log = logging.getLogger(__name__)

# Images that an untrained network's batch-norm statistics are estimated on, and how many at a time.
ESTIMATE_IMAGES, ESTIMATE_BATCH = 64, 16
# What is said of weights in a file, which does not tell how its images were scaled.
ASSUMED_NORMALISATION = (
    f"pixels are scaled by ImageNet's mean {preprocessing.MEAN} and deviation {preprocessing.STD}; "
    "give `mean`, `std` and `channel_order` if these weights were trained otherwise"
)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights and the network built with them."""

    backbone: str
    """The network's name, without the path of a folder."""
    settings: sources.Settings = field(default_factory=dict)
    """What the network is built from beside its name."""
    preprocessing: Preprocessing = USUAL
    """How the network's own configuration prepares images."""
    source: str
    """`imagenet`, `pretrained`, `package`, `embedded`, `random`, or the name of the user's file."""
    normalisation: Normalisation = IMAGENET
    layers: tuple[str, ...] = ()
    """Modules of the network whose outputs are the features; none: what the classifier takes."""
    maps: tuple[Maps, ...] = ()
    """Instead of features: what some of its blocks take, in a row one after the other."""
    path: Path
    sha256: str
    stamp: tuple[int, ...] | None = field(default=None, compare=False, repr=False)
    made_s: float | None = 0.0
    """Seconds that making them took; 0 for those that were given, None if another machine made them."""
    of_user: bool = False
    """Whether the file is the user's, so that it has to be searched for the network."""
    lock: SharedLock | None = field(default=None, compare=False, repr=False)

    @property
    def described(self) -> dict[str, object]:
        """How images are prepared for the network and what it comes from, as results name it."""
        library = ", ".join(f"{name} {version}" for name, version in sources.versions(self.backbone).items())
        return {**self.prepared, "library": library or f"torchvision {torchvision_files.version()}"}

    @property
    def prepared(self) -> dict[str, object]:
        """How images are prepared for the network, and features taken from it, as results and models name it."""
        layers = {"layers": list(self.layers)} if self.layers else {}
        return {**self.normalisation.described, **self.preprocessing.described, **layers}

    def with_network(self) -> Weights:
        """Return the same with the network built and no lock: what another process can be sent."""
        sent = replace(self, lock=None)
        sent.__dict__["_fitted"] = self._fitted
        return sent

    @property
    def network(self) -> nn.Module:
        """The network, frozen and cut, on the processor; read and built when first asked for, and kept."""
        return self._fitted[0]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Lines on what was taken from the user's file."""
        return tuple(self._fitted[1]) if self.of_user else ()

    @cached_property
    def _fitted(self) -> tuple[nn.Module, list[str]]:
        state = load(self.path, self.stamp)
        return networks.fit(self.backbone, state, self.normalisation, self.settings)


def find(
    choice: WeightsChoice,
    images: IndexedImages,
    size: tuple[int, int],
    store: Store,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> Weights:
    """Find weights; download or make them where they are not there.

    Parameters
    ----------
    choice : WeightsChoice
    images : IndexedImages
        Untrained weights are made from the training images among them.
    size : (int, int)
        Height and width in pixels that the network will see.
    store : Store
        Where untrained weights are kept.
    pool, bad
        Threads that decode images, and what becomes of those that can't be read.

    Returns
    -------
    Weights

    Raises
    ------
    UserError
        Where they can't be had, or a user's file does not fit the network.
    """
    found = partial(
        Weights,
        backbone=sources.recorded_name(choice.backbone),
        settings=choice.settings,
        preprocessing=choice.preprocessing,
        normalisation=choice.normalisation,
        layers=choice.layers,
    )
    if choice.source == "random":
        made = _random(choice, images, size, store, pool, bad)
        made_s = made.seconds if made.made_on == processor()[0] else None
        # Without a stamp: another run that makes the same weights replaces the file by an equal one.
        return found(source=choice.source, path=made.path, sha256=made.sha256, made_s=made_s, lock=made.lock)
    if choice.source == "embedded":
        return found(source=choice.source, **_embedded_file()._asdict())
    if choice.source in NAMED_WEIGHTS:
        source, name = sources.source_of(choice.backbone)
        return found(source=choice.source, **source.find_pretrained(name)._asdict())
    path = Path(choice.source)
    of_user = found(source=path.name, **hash_file(path)._asdict(), of_user=True)
    return _fit_file(of_user, path, choice)


def _fit_file(found: Weights, path: Path, choice: WeightsChoice) -> Weights:
    """Fit the tensors of the user's file to the network, and say what was taken."""
    try:
        remarks = found.remarks
    except Misfit as error:
        raise UserError(f"{path}: {error}") from error
    for remark in remarks:
        log.warning("%s: %s", path.name, remark)
    if choice.is_assumed:
        log.info("%s", ASSUMED_NORMALISATION)
    return found


def _embedded_file() -> HashedFile:
    file = hash_file(bundled.FILE) if bundled.FILE.is_file() else None
    if not file or file.sha256 != bundled.SHA256:
        raise UserError(f"{bundled.FILE} is not the file that was installed; install transfer again")
    return file


def load(path: Path, expected: tuple[int, ...] | None = None) -> State:
    """Read the tensors in a file of PyTorch's or of safetensors, whatever its name; no code in it is ever run.

    Parameters
    ----------
    path : Path
        A state dict or a training checkpoint.
    expected : tuple of int, optional
        The stamp of the file when its sha256 was computed.

    Returns
    -------
    dict of str to torch.Tensor
        All tensors by name. Those in dictionaries within dictionaries are named by the keys on the way to them, as in
        `state_dict.module.conv1.weight`; `networks.build` finds a network among them.

    Raises
    ------
    UserError
        For a file that holds no tensors by name, and for one that was written to since its stamp was taken.
    """
    try:
        found = _read(path)
    except (UserError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            if not file.read(2).startswith((b"\x80", b"PK")):
                raise UserError(
                    f"{path} is not a file of PyTorch or safetensors, or damaged; give a state_dict"
                ) from error
        named = re.search(r"(?:GLOBAL|calls) ([\w.]+)", str(error))
        raise UserError(
            f"{path} holds more than tensors{f' ({named[1]})' if named else ''} and was not loaded; "
            "save its state_dict() alone"
        ) from error
    except Exception as error:  # broken bytes make the readers fail in every way
        if is_out_of_memory(error):
            raise MemoryError from error
        raise UserError(f"{path} can't be read as weights: {first_line(error)}") from error
    if expected and stamp(path) != expected:
        raise UserError(f"{path} changed while it was being used; run again")
    state = checkpoint.flatten(found)
    if state:
        return state
    if network := checkpoint.whole_network(found):
        raise UserError(
            f"{path} holds a whole network ({network}) with its code, which is not loaded; "
            "where it was saved, save model.state_dict() in place of model"
        )
    raise UserError(f"{path} is no state dict; save the network's state_dict()")


def _read(path: Path) -> Any:
    """Read a file of weights by the reader for its contents; classes other than tensors stay names."""
    if formats.kind_of(path) == formats.SAFETENSORS:
        return load_file(path)
    others = pickle_guard.placeholders(pickle_guard.list_names(path))
    with torch.serialization.safe_globals(others), path.open("rb") as file:
        # Of a path torch.load asks the suffix first; of a file it reads tensors more slowly.
        source = file if path.suffix == ".safetensors" else path
        return torch.load(source, map_location="cpu", weights_only=True)


def _random(
    choice: WeightsChoice,
    images: IndexedImages,
    size: tuple[int, int],
    store: Store,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> MadeFile:
    """Untrained weights, made once for a seed, a size and the training images their statistics come from."""
    train = images.in_split("train")
    sample = train.first_by_id(ESTIMATE_IMAGES)
    scaled = choice.normalisation
    declared = {
        "schema_version": SCHEMA_VERSION,
        **_declare_network(choice),
        "seed": choice.seed,
        **({} if scaled == IMAGENET else scaled.declared),
        "size": list(size),
        "images": to_hex(sample.ids_N32),
        **decode.DECLARED,
        **images.resizing.declared,
        **decode.declare_shift(images.shift),
        "torch": torch.__version__,
        "torchvision": torchvision_files.version(),
    }
    kept = store.find_made("weights", declared)
    if kept:
        return kept
    start = now()
    pixels = (
        torch.from_numpy(x_NHW3).permute(0, 3, 1, 2)
        for _, x_NHW3 in batches(sample, ESTIMATE_BATCH, size, pool, bad)
    )
    state = networks.random_state(
        choice.backbone, seed=choice.seed, batches=pixels, normalisation=scaled, settings=choice.settings
    )
    data = save(state)
    return store.keep("weights", declared, data, now() - start, processor()[0])


def _declare_network(choice: WeightsChoice) -> dict[str, object]:
    declared = sources.declare(choice.backbone, choice.settings)
    del declared["layer"]  # as files that were made before networks came from several sources
    return declared
