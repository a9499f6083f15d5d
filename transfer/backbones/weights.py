"""Which weights a backbone gets: torchvision's, the package's own, the user's file, or untrained ones made and kept."""

from __future__ import annotations

import http.client
import logging
import pickle
import re
import socket
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file, save
from torchvision import models

from transfer.backbones import bundled, checkpoint, formats, networks, pickle_guard
from transfer.cache.locks import SharedLock
from transfer.cache.store import MadeFile, Store
from transfer.config import BUNDLED_BACKBONE, NAMED_WEIGHTS, RunConfig
from transfer.data import decode
from transfer.data.loader import BadImages, IndexedImages, batches
from transfer.system.content_ids import firsts, to_hex
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.files import SCHEMA_VERSION, file_sha256
from transfer.system.hardware import processor
from transfer.system.text import first_line
from transfer.system.timer import now

DOWNLOAD_TIMEOUT_S = 30
log = logging.getLogger(__name__)

# Images that an untrained network's batch-norm statistics are estimated on, and how many at a time.
ESTIMATE_IMAGES, ESTIMATE_BATCH = 64, 16
# What is said of weights in a file, which does not tell how its images were scaled.
ASSUMED_NORMALISATION = (
    f"pixels are scaled by ImageNet's mean {networks.MEAN} and deviation {networks.STD}; "
    "give --mean, --std and --channel-order if these weights were trained otherwise"
)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where a backbone's weights come from, and which ones they are."""

    source: str
    """`imagenet`, `embedded`, `random`, or the name of the user's file."""
    path: Path
    sha256: str
    made_s: float | None = 0.0
    """Seconds that making them took; 0 for those that were given, None if another machine made them."""
    remarks: tuple[str, ...] = ()
    """Lines on what was taken from the user's file."""
    lock: SharedLock | None = field(default=None, compare=False, repr=False)


def check(config: RunConfig) -> None:
    """Raise `UserError` for weights that are not there, before any image is read."""
    source = config.weights_or_default
    if source not in NAMED_WEIGHTS:
        if not Path(source).is_file():
            what = "a folder, not a weights file" if Path(source).is_dir() else "no such weights file"
            raise UserError(
                f"{what}: {source}; give imagenet, embedded, random, or a .safetensors or .pth file"
            )
        formats.kind_of(Path(source))
    if source == "embedded" and config.backbone != BUNDLED_BACKBONE:
        raise UserError(
            f"--weights embedded is a {BUNDLED_BACKBONE}, and --backbone {config.backbone}; "
            "give imagenet, random, or a .safetensors or .pth file"
        )


def find(
    config: RunConfig,
    images: IndexedImages,
    size: tuple[int, int],
    store: Store,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> Weights:
    """The weights that `config` asks for. Raises `UserError` where they can't be had."""
    check(config)
    source = config.weights_or_default
    if source == "random":
        made = _random(config, images, size, store, pool, bad)
        made_s = made.seconds if made.made_on == processor()[0] else None
        return Weights(source=source, path=made.path, sha256=made.sha256, made_s=made_s, lock=made.lock)
    if source == "embedded":
        return Weights(source=source, path=bundled.FILE, sha256=_embedded_sha256())
    if source == "imagenet":
        path = imagenet_file(config.backbone)
        return Weights(source=source, path=path, sha256=file_sha256(path))
    return _from_file(config, Path(source))


def _from_file(config: RunConfig, path: Path) -> Weights:
    """The user's file, once its tensors fit the network."""
    sha256 = file_sha256(path)
    try:
        remarks = networks.remarks(config.backbone, load(path, sha256))
    except networks.Misfit as error:
        raise UserError(f"{path}: {error}") from error
    for remark in remarks:
        log.warning("%s: %s", path.name, remark)
    if config.mean is None and config.std is None:
        log.info("%s", ASSUMED_NORMALISATION)
    return Weights(source=path.name, path=path, sha256=sha256, remarks=tuple(remarks))


def normalisation(config: RunConfig) -> networks.Normalisation:
    """What is done to pixels for the weights of `config`: ImageNet's statistics, unless it has others."""
    turn = -1 if config.channel_order == "bgr" else 1
    return networks.Normalisation(
        mean=config.mean or networks.MEAN[::turn],
        std=config.std or networks.STD[::turn],
        channel_order=config.channel_order,
    )


def _embedded_sha256() -> str:
    if not bundled.FILE.is_file() or file_sha256(bundled.FILE) != bundled.SHA256:
        raise UserError(f"{bundled.FILE} is not the file that was installed; install transfer again")
    return bundled.SHA256


def load(path: Path, sha256: str | None = None) -> networks.State:
    """The tensors in a file of PyTorch's or of safetensors, whatever its name; no code in it is ever run.

    Parameters
    ----------
    path : Path
        A state dict or a training checkpoint.
    sha256 : str, optional
        Of the file that is meant.

    Returns
    -------
    All tensors by name. Those in dictionaries within dictionaries are named by the keys on the way to them, as in
    `state_dict.module.conv1.weight`; `networks.build` finds a network among them.

    Raises
    ------
    UserError
        For a file that holds no tensors by name, and for one of another `sha256`.
    """
    try:
        found = _read(path)
    except (UserError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|calls) ([\w.]+)", str(error))
        raise UserError(
            f"{path} holds more than tensors{f' ({named[1]})' if named else ''} and was not loaded; "
            "save its state_dict() alone"
        ) from error
    except Exception as error:  # broken bytes make the readers fail in every way
        if is_out_of_memory(error):
            raise MemoryError from error
        raise UserError(f"{path} can't be read as weights: {first_line(error)}") from error
    if sha256 and file_sha256(path) != sha256:  # of what was read, as far as can be known
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
    """What a file of weights holds, by the reader for its contents; other classes than tensors' stay names."""
    if formats.kind_of(path) == formats.SAFETENSORS:
        return load_file(path)
    others = pickle_guard.placeholders(pickle_guard.check(path))
    with torch.serialization.safe_globals(others), path.open("rb") as file:
        # Of a path torch.load asks the suffix first; of a file it reads tensors more slowly.
        source = file if path.suffix == ".safetensors" else path
        return torch.load(source, map_location="cpu", weights_only=True)


def imagenet_file(name: str) -> Path:
    """The file of torchvision's `IMAGENET1K_V1` weights, from torch.hub's cache or downloaded into it."""
    weights = getattr(models.get_model_weights(name), "IMAGENET1K_V1", None)
    if weights is None:
        raise UserError(f"torchvision has no IMAGENET1K_V1 weights for {name}; give --weights FILE or random")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if folder.parts[0].startswith("~"):  # left as it is where no home folder is known
        raise UserError(
            "no home folder is known; name one for downloads by TORCH_HOME, or give --weights FILE"
        )
    return fetch(weights.url, folder)


def fetch(url: str, folder: Path) -> Path:
    """The file at `url`, kept in `folder`; downloaded unless it is there, and checked.

    torchvision's files carry the first digits of their sha256 in their names, as in `resnet50-0676ba61.pth`.
    """
    path = folder / url.rsplit("/", 1)[1]
    digits = path.stem.rsplit("-", 1)[1] if "-" in path.stem else ""
    if path.is_file():
        if not file_sha256(path).startswith(digits):
            raise UserError(
                f"{path} is not the file its name says (its sha256 differs); delete it or replace it"
            )
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _network_timeout(DOWNLOAD_TIMEOUT_S):
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digits or None, progress=False)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the connection too
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UserError(
            f"can't download {url} ({reason}); fetch it elsewhere and put it at {path}, "
            "or use --weights FILE, embedded (a resnet50) or random"
        ) from error
    return path


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    # torch.hub opens its connection without a time limit; behind some firewalls it would wait for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _random(
    config: RunConfig,
    images: IndexedImages,
    size: tuple[int, int],
    store: Store,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> MadeFile:
    """Untrained weights, made once for a seed, a size and the training images their statistics come from."""
    train = images.in_split("train")
    # The first by id: equivalent to a random draw, and among thousands a few new ones rarely change the choice.
    chosen = train.select(firsts(train.ids_N32)[:ESTIMATE_IMAGES])
    scaled = normalisation(config)
    declared = {
        "schema_version": SCHEMA_VERSION,
        "backbone": config.backbone,
        "seed": config.seed,
        **({} if scaled == networks.IMAGENET else scaled.declared),
        "size": list(size),
        "images": to_hex(chosen.ids_N32),
        **decode.DECLARED,
        **decode.declare_shift(images.shift),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    kept = store.made("weights", declared)
    if kept:
        return kept
    start = now()
    pixels = (
        torch.from_numpy(x_NHW3).permute(0, 3, 1, 2)
        for _, x_NHW3 in batches(chosen, ESTIMATE_BATCH, size, pool, bad)
    )
    state = networks.random_state(config.backbone, seed=config.seed, batches=pixels, normalisation=scaled)
    data = save(state)
    return store.keep("weights", declared, data, now() - start, processor()[0])
