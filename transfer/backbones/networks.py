"""A network, frozen and cut before its classifier, from any of the sources of networks.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from transfer.backbones.blocks import freeze_before
from transfer.backbones.checkpoint import State
from transfer.backbones.choice import Maps
from transfer.backbones.layers import join_layers
from transfer.backbones.memory import check_batch, count_activation_bytes
from transfer.backbones.pixels import normalise
from transfer.backbones.preprocessing import IMAGENET, Normalisation
from transfer.backbones.sources import Settings, source_of
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.text import first_line


def build(
    name: str, state: State, normalisation: Normalisation = IMAGENET, settings: Settings | None = None
) -> nn.Module:
    """Build the network `name` with the weights of a checkpoint, without its classifier, frozen, in eval mode.

    Parameters
    ----------
    name : str
        Name of a network of torchvision, or with the prefix of another source in `sources.SOURCES`.
    state : dict
        All tensors of the checkpoint, as `weights.load` lists them. Those of the layer that is cut off, and of
        branches that are for training alone, may be absent or of any shape.
    normalisation : Normalisation
        That the weights were trained with.
    settings : dict, optional
        What the network is built from beside its name, as its source described it.

    Returns
    -------
    nn.Module
        That maps normalised images `(N, 3, H, W)` to features `(N, D)`.

    Raises
    ------
    UserError
        Naming the keys where `state` does not fit, and the network that it does fit, if there is one.
    """
    return fit(name, state, normalisation, settings)[0]


def fit(
    name: str, state: State, normalisation: Normalisation = IMAGENET, settings: Settings | None = None
) -> tuple[nn.Module, list[str]]:
    """Build a network as `build` does, and describe what of the checkpoint was taken.

    Returns
    -------
    network : nn.Module
    remarks : list of str
        What was taken and what was left out; none where there was no choice.
    """
    source, own_name = source_of(name)
    network, remarks = source.fit(own_name, state, normalisation, settings or {})
    return network.requires_grad_(False).eval(), remarks


def cut(
    name: str, normalisation: Normalisation = IMAGENET, settings: Settings | None = None
) -> tuple[nn.Module, str]:
    """Build a network without weights that were trained, and cut its classifier off.

    Parameters
    ----------
    name : str
        As for `build`.
    normalisation : Normalisation
        That its weights will have been trained with.
    settings : dict, optional
        As for `build`.

    Returns
    -------
    network : nn.Module
    layer : str
        Name of the layer that was cut off.
    """
    source, own_name = source_of(name)
    return source.cut(own_name, normalisation, settings or {})


def at_size(
    network: nn.Module,
    name: str,
    size: tuple[int, int],
    own: tuple[int, int],
    layers: Sequence[str] = (),
    maps: Sequence[Maps] = (),
) -> nn.Module:
    """Return a network as it takes images of a size, and as features are taken from it.

    It is the network itself, or a copy whose position embedding is resampled, or whose features are those of layers.

    Parameters
    ----------
    network : nn.Module
    name : str
        For the message.
    size, own : (int, int)
        Height and width in pixels, and those that the network was built for.
    layers : sequence of str
        Modules whose outputs are joined to the features, as `layers.join_layers` does it; by default what the
        network gives.
    maps : sequence of Maps
        Instead of features: rows of what all of these blocks take.
    """
    with _size_reported(name, size, own):
        if size != own and hasattr(network, "set_input_size"):
            network = copy.deepcopy(network)
            network.set_input_size(size)  # type: ignore[operator]
        if maps:
            return freeze_before(network, name, [one.block for one in maps], size)
        return join_layers(network, name, layers, size) if layers else network


def measure_at_size(
    network: nn.Module, name: str, size: tuple[int, int], own: tuple[int, int] = (224, 224)
) -> int:
    """Measure a forward pass of one image of a size, which some transformers can't take.

    Parameters
    ----------
    network : nn.Module
    name : str
        For the message.
    size : (int, int)
        Height and width in pixels.
    own : (int, int)
        A size that it takes, for the message.

    Returns
    -------
    int
        Bytes that the largest operation takes for one image, as `count_activation_bytes` counts them.

    Raises
    ------
    UserError
    """
    with _size_reported(name, size, own):
        return count_activation_bytes(network, size)


@contextmanager
def _size_reported(name: str, size: Sequence[int], own: Sequence[int] = (224, 224)) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        raise UserError(
            f"{name} can't take images of {size[0]}x{size[1]} ({first_line(error)}); try `size={own[0]}x{own[1]}`"
        ) from error


def random_state(
    name: str,
    *,
    seed: int,
    batches: Iterable[torch.Tensor],
    normalisation: Normalisation = IMAGENET,
    settings: Settings | None = None,
) -> State:
    """Draw untrained weights and estimate their batch-norm statistics on images.

    Without the estimate a deep untrained network answers nearly the same to every image. The statistics are averages
    over the batches, as when `momentum` is None in `torch.nn.BatchNorm2d`.

    Parameters
    ----------
    name, seed, normalisation, settings
        The network, what its weights are drawn from, what is done to pixels, and what it is built from.
    batches : iterable of torch.Tensor
        uint8 pixels `(N, 3, H, W)`.

    Returns
    -------
    dict of str to torch.Tensor
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cut(name, normalisation, settings)[0].eval().to(memory_format=torch.channels_last)
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
            check_batch(measure_at_size(network, name, size), len(x_N3HW), size)
        if len(x_N3HW) > 1:  # of one image, a last map of 1x1 pixels has no spread
            with _size_reported(name, x_N3HW.shape[2:]), torch.no_grad():
                network(normalise(x_N3HW, normalisation))
    return {key: value.contiguous() for key, value in network.state_dict().items()}
