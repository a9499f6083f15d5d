"""A torchvision classification network, frozen and cut before its last layer.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torchvision import models

from transfer.backbones import fitting
from transfer.backbones.checkpoint import State as State
from transfer.backbones.memory import check_batch, count_activation_bytes
from transfer.system.errors import UserError, is_out_of_memory

# The statistics of ImageNet that every torchvision classification network was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LAYER = "before the last linear or convolutional layer"


@dataclass(frozen=True)
class Normalisation:
    """What is done to pixels before a network sees them: `(pixels / 255 - mean) / std`, channel by channel."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    channel_order: str = "rgb"
    """The order in which the network takes the channels, and in which `mean` and `std` are given: rgb or bgr."""

    @property
    def declared(self) -> dict[str, object]:
        """What features depend on. The order of channels is named where it is not the usual one."""
        order = {} if self.channel_order == "rgb" else {"channel_order": self.channel_order}
        return {"mean": self.mean, "std": self.std, **order}

    @property
    def described(self) -> dict[str, object]:
        """As results and models name it."""
        return {"mean": list(self.mean), "std": list(self.std), "channel_order": self.channel_order}


IMAGENET = Normalisation()


class Misfit(UserError):
    """Weights that do not fit a network."""


def names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    return list(models.list_models(module=models))


def check_name(name: str) -> None:
    """Raise `UserError` unless torchvision has a classification network of that name."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "try resnet50 (no others can be used)"
        raise UserError(f"torchvision has no classification network {name!r}; {hint}")


def build(name: str, state: State, normalisation: Normalisation = IMAGENET) -> nn.Module:
    """Build the network `name` with the weights of a checkpoint, without its last layer, frozen, in eval mode.

    Parameters
    ----------
    name : str
        A torchvision classification network.
    state : dict
        All tensors of the checkpoint, as `weights.load` lists them. Those of the layer that is cut off, and of
        branches that are for training alone, may be absent or of any shape.
    normalisation : Normalisation
        That the weights were trained with.

    Returns
    -------
    nn.Module
        That maps normalised images `(N, 3, H, W)` to features `(N, D)`.

    Raises
    ------
    UserError
        Naming the keys where `state` does not fit, and the network that it does fit, if there is one.
    """
    return fit(name, state, normalisation)[0]


def fit(name: str, state: State, normalisation: Normalisation = IMAGENET) -> tuple[nn.Module, list[str]]:
    """Build a network as `build` does, and describe what of the checkpoint was taken.

    Returns
    -------
    network : nn.Module
    remarks : list of str
        What was taken and what was left out; none where there was no choice.
    """
    network, layer = _outline(name, normalisation)
    remarks = _fill(network, layer, name, state)
    if any(part.is_meta for part in (*network.parameters(), *network.buffers())):
        # Counts of batches, which older files lack.
        filled = {key: value for key, value in network.state_dict().items() if not value.is_meta}
        network, _ = _without_branches(*cut(name, normalisation))
        network.load_state_dict(filled, strict=False)
    return network.requires_grad_(False).eval(), remarks


def _fill(network: nn.Module, layer: str, name: str, state: State) -> list[str]:
    try:
        return fitting.fill(network, layer, name, state)
    except fitting.Misfit as error:
        other = _fitting_network(name, state) if error.of_another else None
        hint = f"; they fit {other}: give `backbone='{other}'`" if other else ""
        raise Misfit(f"{error}{hint}") from None


def _fitting_network(name: str, state: State) -> str | None:
    """Another network that a checkpoint fits."""
    if not (family := fitting.family(state)):
        return None
    for other in names():
        if other != name and other.startswith(family):
            try:
                fitting.fill(*_outline(other), other, state)
            except fitting.Misfit:
                continue
            return other
    return None


def _outline(name: str, normalisation: Normalisation = IMAGENET) -> tuple[nn.Module, str]:
    """Build a cut network without weights: to draw initial ones takes longer than to read those that replace them."""
    try:
        with torch.device("meta"):
            return _without_branches(*cut(name, normalisation))
    except NotImplementedError:  # RegNets compute their widths by tensors
        return _without_branches(*cut(name, normalisation))


def _without_branches(network: nn.Module, layer: str) -> tuple[nn.Module, str]:
    """Without the branches that a network runs in training alone, whose weights files may lack."""
    for part, _ in list(network.named_children()):
        if fitting.TRAINING_ONLY.match(part):
            setattr(network, part, None)
    return network, layer


def cut(name: str, normalisation: Normalisation = IMAGENET) -> tuple[nn.Module, str]:
    """Build a network without weights that were trained, and cut its last layer off.

    Parameters
    ----------
    name : str
        A torchvision classification network.
    normalisation : Normalisation
        That its weights will have been trained with.

    Returns
    -------
    network : nn.Module
    layer : str
        Name of the layer that was cut off.
    """
    # GoogLeNet and Inception warn unless `init_weights` says whether to initialise their weights.
    own_init = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = models.get_model(name, weights=None, **own_init)
    if hasattr(network, "transform_input"):
        # These two scale images from ImageNet's statistics to their own; what a user gives is what they see.
        setattr(network, "transform_input", normalisation == IMAGENET)  # noqa: B010 - for the type checker any attribute is a tensor
    # In every torchvision network the classifier comes last; before it lie the features.
    layer = [n for n, part in network.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))][-1]
    network.set_submodule(layer, nn.Identity())
    return network, layer


def normalise(x_N3HW: torch.Tensor, normalisation: Normalisation = IMAGENET) -> torch.Tensor:
    """uint8 pixels `(N, 3, H, W)` to the float32 values that the networks were trained on."""
    mean, std = (
        torch.tensor(values).view(3, 1, 1).to(x_N3HW.device, non_blocking=True)
        for values in (normalisation.mean, normalisation.std)
    )
    if normalisation.channel_order == "bgr":
        x_N3HW = x_N3HW.flip(1)
    return (x_N3HW.float() / 255 - mean) / std


class FromPixels(nn.Module):
    """A network and what its images go through first: pixels `(N, H, W, 3)` uint8 to features `(N, D)`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation = IMAGENET) -> None:
        super().__init__()
        self.network = network
        self.bgr = normalisation.channel_order == "bgr"
        # Buffers move to the device with the network, and are constants to whatever compiles it.
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(3, 1, 1))

    def forward(self, x_NHW3: torch.Tensor) -> torch.Tensor:
        """Compute features `(N, D)` of pixels `(N, H, W, 3)` uint8."""
        if self.bgr:
            x_NHW3 = x_NHW3.flip(3)
        # Seen as (N, 3, H, W), pixels that lie together by image row are channels_last already.
        x_N3HW = x_NHW3.permute(0, 3, 1, 2)
        x_ND: torch.Tensor = self.network((x_N3HW.float() / 255 - self.mean) / self.std)
        return x_ND.flatten(1)


def check_size(network: nn.Module, name: str, size: tuple[int, int]) -> int:
    """Check that a network can take images of a size, which some transformers can't.

    Parameters
    ----------
    network : nn.Module
    name : str
        For the message.
    size : (int, int)
        Height and width in pixels.

    Returns
    -------
    int
        Bytes that the largest operation takes for one image, as `count_activation_bytes` counts them.

    Raises
    ------
    UserError
    """
    with _size_reported(name, size):
        return count_activation_bytes(network, size)


@contextmanager
def _size_reported(name: str, size: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name} can't take images of {size[0]}x{size[1]} ({reason}); try `size=224x224`"
        ) from error


def random_state(
    name: str, *, seed: int, batches: Iterable[torch.Tensor], normalisation: Normalisation = IMAGENET
) -> State:
    """Draw untrained weights and estimate their batch-norm statistics on images.

    Without the estimate a deep untrained network answers nearly the same to every image. The statistics are averages
    over the batches, as when `momentum` is None in `torch.nn.BatchNorm2d`.

    Parameters
    ----------
    name, seed, normalisation
        The network, what its weights are drawn from, and what is done to pixels.
    batches : iterable of torch.Tensor
        uint8 pixels `(N, 3, H, W)`.

    Returns
    -------
    dict of str to torch.Tensor
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cut(name, normalisation)[0].eval().to(memory_format=torch.channels_last)
    return estimated(network, name, batches, normalisation)


def estimated(
    network: nn.Module, name: str, batches: Iterable[torch.Tensor], normalisation: Normalisation = IMAGENET
) -> State:
    """Estimate the batch-norm statistics of a network on batches of pixels, as `random_state` does."""
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
            with _size_reported(name, x_N3HW.shape[2:]), torch.no_grad():
                network(normalise(x_N3HW, normalisation))
    return {key: value.contiguous() for key, value in network.state_dict().items()}
