"""Which weights a backbone gets: torchvision's, the package's own, the user's file, or untrained ones made and kept."""

from __future__ import annotations

import http.client
import pickle
import socket
import urllib.error
import zipfile
from collections import OrderedDict
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

from transfer import backbone, decode, embedded, pickles
from transfer.config import NAMED_WEIGHTS, RunConfig, UserError
from transfer.environment import processor
from transfer.files import SCHEMA_VERSION, file_sha256
from transfer.ids import firsts, to_hex
from transfer.leases import Lease
from transfer.reading import BadImages, Images, batches
from transfer.store import MadeFile, Store
from transfer.timing import now

DOWNLOAD_TIMEOUT_S = 30
# Images that an untrained network's batch-norm statistics are estimated on, and how many at a time.
ESTIMATE_IMAGES, ESTIMATE_BATCH = 64, 16


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where a backbone's weights come from, and which ones they are."""

    source: str
    """`imagenet`, `embedded`, `random`, or the name of the user's file."""
    path: Path
    sha256: str
    made_s: float | None = 0.0
    """Seconds that making them took; 0 for those that were given, None if another machine made them."""
    lease: Lease | None = field(default=None, compare=False, repr=False)


def check(config: RunConfig) -> None:
    """Raise `UserError` for weights that are not there, before any image is read."""
    source = config.weights_or_default
    if source not in NAMED_WEIGHTS and not Path(source).is_file():
        raise UserError(
            f"no such weights file: {source}; give imagenet, embedded, random, or a .safetensors or .pth file"
        )
    if source == "embedded" and config.backbone != embedded.BACKBONE:
        raise UserError(
            f"--weights embedded is a {embedded.BACKBONE}, and --backbone {config.backbone}; "
            "give imagenet, random, or a .safetensors or .pth file"
        )


def find(
    config: RunConfig,
    images: Images,
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
        return Weights(source=source, path=made.path, sha256=made.sha256, made_s=made_s, lease=made.lease)
    if source == "embedded":
        return Weights(source=source, path=embedded.FILE, sha256=_embedded_sha256())
    path = imagenet_file(config.backbone) if source == "imagenet" else Path(source)
    return Weights(
        source="imagenet" if source == "imagenet" else path.name, path=path, sha256=file_sha256(path)
    )


def _embedded_sha256() -> str:
    if not embedded.FILE.is_file() or file_sha256(embedded.FILE) != embedded.SHA256:
        raise UserError(f"{embedded.FILE} is not the file that was installed; install transfer again")
    return embedded.SHA256


def load(path: Path, sha256: str | None = None) -> backbone.State:
    """The tensors in a `.safetensors`, `.pth` or `.pt` file; no code in it is ever run.

    Training checkpoints are accepted: the weights may lie under `state_dict` or `model`, and their names may
    begin with `module.`. Raises `UserError` for anything else, and for a file of another `sha256`.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            _refuse_packed(path)
            pickles.check(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors and was not loaded; save its state_dict() alone"
        ) from error
    except Exception as error:  # broken bytes make the readers fail in every way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} can't be read as weights: {reason}") from error
    if sha256 and file_sha256(path) != sha256:  # of what was read, as far as can be told
        raise UserError(f"{path} changed while it was being used; run again")
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    ):
        raise UserError(f"{path} is no state dict; save the network's state_dict()")
    state = OrderedDict((key.removeprefix("module."), value) for key, value in found.items())
    if (
        hasattr(found, "_metadata") and state.keys() == found.keys()
    ):  # the versions of the modules that saved it
        state._metadata = found._metadata  # type: ignore[attr-defined]
    return state


def _refuse_packed(path: Path) -> None:
    """Raise `UserError` for an archive that unpacks to more than its own size, as torch's own never do."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise UserError(
                f"{path} unpacks to more than it is; save the network's state_dict() by torch.save"
            )


def imagenet_file(name: str) -> Path:
    """The file of torchvision's `IMAGENET1K_V1` weights, from torch.hub's cache or downloaded into it."""
    weights = getattr(models.get_model_weights(name), "IMAGENET1K_V1", None)
    if weights is None:
        raise UserError(f"torchvision has no IMAGENET1K_V1 weights for {name}; give --weights FILE or random")
    return fetch(weights.url, Path(torch.hub.get_dir()) / "checkpoints")


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
    images: Images,
    size: tuple[int, int],
    store: Store,
    pool: ThreadPoolExecutor,
    bad: BadImages,
) -> MadeFile:
    """Untrained weights, made once for a seed, a size and the training images their statistics come from."""
    train = images.in_split("train")
    # The first by id: as good as drawn at random, and among thousands a few new ones seldom change the choice.
    chosen = train.select(firsts(train.ids_N32)[:ESTIMATE_IMAGES])
    declared = {
        "schema_version": SCHEMA_VERSION,
        "backbone": config.backbone,
        "seed": config.seed,
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
    data = save(backbone.random_state(config.backbone, seed=config.seed, batches=pixels))
    return store.keep("weights", declared, data, now() - start, processor()[0])
