"""A torchvision classification network, frozen and cut before its last layer.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torchvision import models

from transfer.backbones.memory import check_batch, count_activation_bytes
from transfer.config import UserError

State = dict[str, torch.Tensor]

# The statistics of ImageNet that every torchvision classification network was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LAYER = "before the last linear or convolutional layer"


def names() -> list[str]:
    """The names of torchvision's classification networks."""
    return list(models.list_models(module=models))


def check_name(name: str) -> None:
    """Raise `UserError` unless torchvision has a classification network of that name."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "try resnet50"
        raise UserError(f"torchvision has no classification network {name!r}; {hint}")


def build(name: str, state: State) -> nn.Module:
    """The network `name` with weights `state`, without its last layer, frozen, in eval mode.

    It maps normalised images `(N, 3, H, W)` to features `(N, D)`. Raises `UserError` naming the keys where
    `state` does not fit; keys of the layer that is cut off may be absent or of any shape.
    """
    network, layer = cut(name)
    own = network.state_dict()
    body = OrderedDict((_todays_name(name, key), value) for key, value in state.items())
    for key in [key for key in body if key.startswith(f"{layer}.")]:
        del body[key]
    misshapen = [key for key in own.keys() & body.keys() if own[key].shape != body[key].shape]
    for key in misshapen:
        del body[key]
    # Modules translate what older versions of themselves saved, by a version that files of plain tensors have
    # lost. Where all names are today's there is nothing to translate.
    # The attribute is PyTorch's own and not public: where a release has none, there are no versions to hand on.
    versions = getattr(state, "_metadata", None)
    if versions is None and body.keys() <= own.keys():
        versions = getattr(own, "_metadata", None)
    if versions is not None:
        body._metadata = versions  # type: ignore[attr-defined]
    found = network.load_state_dict(body, strict=False)
    faults = {
        "missing": [
            key
            for key in found.missing_keys
            if key not in misshapen
            and not key.endswith("num_batches_tracked")  # of no use to a frozen network
        ],
        "unexpected": found.unexpected_keys,
        "of another shape": misshapen,
    }
    if any(faults.values()):
        told = "; ".join(f"{kind}: {_some(sorted(keys))}" for kind, keys in faults.items() if keys)
        raise UserError(f"these weights do not fit {name}: {told}")
    return network.requires_grad_(False).eval()


def _todays_name(network: str, key: str) -> str:
    """torchvision's DenseNet files still say `norm.1` where the modules say `norm1`."""
    if network.startswith("densenet"):
        return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", key)
    return key


def cut(name: str) -> tuple[nn.Module, str]:
    """The network `name`, untrained and without its last layer, and the name of that layer."""
    # GoogLeNet and Inception warn, as a matter of form, unless told whether to draw their own weights.
    own_init = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = models.get_model(name, weights=None, **own_init)
    if hasattr(network, "transform_input"):  # these two were trained on images scaled differently
        setattr(network, "transform_input", True)  # noqa: B010 - for the type checker any attribute is a tensor
    # In every torchvision network the classifier comes last; before it lie the features.
    layer = [n for n, part in network.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))][-1]
    network.set_submodule(layer, nn.Identity())
    return network, layer


def normalise(x_N3HW: torch.Tensor) -> torch.Tensor:
    """uint8 pixels `(N, 3, H, W)` to the float32 values that the networks were trained on."""
    mean, std = (
        torch.tensor(values).view(3, 1, 1).to(x_N3HW.device, non_blocking=True) for values in (MEAN, STD)
    )
    return (x_N3HW.float() / 255 - mean) / std


class FromPixels(nn.Module):
    """A network and what its images go through first: pixels `(N, H, W, 3)` uint8 to features `(N, D)`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        # Buffers move to the device with the network, and are constants to whatever compiles it.
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, x_NHW3: torch.Tensor) -> torch.Tensor:
        # Seen as (N, 3, H, W), pixels that lie together by image row are channels_last already.
        x_N3HW = x_NHW3.permute(0, 3, 1, 2)
        x_ND: torch.Tensor = self.network((x_N3HW.float() / 255 - self.mean) / self.std)
        return x_ND.flatten(1)


def check_size(network: nn.Module, name: str, size: tuple[int, int]) -> int:
    """Raise `UserError` where the network can't take images of `size` (height, width): some transformers.

    Returns the bytes that the largest operation takes for one image, as `count_activation_bytes` does.
    """
    with _size_told(name, size):
        return count_activation_bytes(network, size)


@contextmanager
def _size_told(name: str, size: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name} can't take images of {size[0]}x{size[1]} ({reason}); try --size 224x224"
        ) from error


def random_state(name: str, *, seed: int, batches: Iterable[torch.Tensor]) -> State:
    """Untrained weights, drawn from `seed`, their batch-norm statistics estimated on images.

    `batches` holds uint8 tensors `(N, 3, H, W)`. Without the estimate a deep untrained network answers nearly
    the same to every image. The statistics are averages over the batches, as when `momentum` is None in
    `torch.nn.BatchNorm2d`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cut(name)[0].eval().to(memory_format=torch.channels_last)
    return estimated(network, name, batches)


def estimated(network: nn.Module, name: str, batches: Iterable[torch.Tensor]) -> State:
    """The weights of a network called `name`, its batch-norm statistics averages over `batches`, as above."""
    network.eval()
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for i, x_N3HW in enumerate(batches if norms else ()):
        if i == 0 and x_N3HW.device.type == "cpu":
            size = (x_N3HW.shape[2], x_N3HW.shape[3])
            check_batch(check_size(network, name, size), len(x_N3HW), size)
        if len(x_N3HW) > 1:  # of one image, a last map of 1x1 pixels has no spread
            with _size_told(name, x_N3HW.shape[2:]), torch.no_grad():
                network(normalise(x_N3HW))
    return {key: value.contiguous() for key, value in network.state_dict().items()}


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
