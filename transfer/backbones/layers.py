"""Features of several layers: the outputs of named modules, each averaged over space, side by side.

N: images. C: channels. H, W: height and width of a map or of images. T: tokens. D: features an image.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from transfer.backbones.memory import without_values
from transfer.backbones.sources import suggest
from transfer.system.errors import UserError

Pool = Callable[[Any], Any]
# Names of layers that an error lists.
_SHOWN = 8


def check_layers(network: nn.Module, name: str, layers: Sequence[str]) -> None:
    """Raise `UserError` unless a cut network has modules of these names.

    Parameters
    ----------
    network : nn.Module
    name : str
        Of the network, for the message.
    layers : sequence of str
        Names as in its `named_modules()`.
    """
    known = {
        key: part
        for key, part in own_network(network).named_modules()
        if key and not isinstance(part, nn.ModuleList | nn.ModuleDict)
    }
    for layer in layers:
        if layer not in known:
            blocks = [key for key, part in known.items() if list(part.children())]
            some = sorted(blocks, key=lambda key: key.count("."))[:_SHOWN]  # outer ones first
            hint = suggest(layer, known, f"it has {', '.join(some)} and others")
            raise UserError(f"{name} has no layer {layer!r}; {hint}")


def join_layers(network: nn.Module, name: str, layers: Sequence[str], size: tuple[int, int]) -> nn.Module:
    """Return a network whose features are the outputs of several of its modules, from one forward pass.

    Maps are averaged over space. Of tokens the network's own pooling is taken where timm offers it, else the class
    token, else their mean. What comes after the last of the modules is left out where `torch.fx` can trace the network.

    Parameters
    ----------
    network : nn.Module
        Cut before its classifier; it is left as it is, and its tensors are shared.
    name : str
        For messages.
    layers : sequence of str
        Names as in its `named_modules()`.
    size : (int, int)
        Height and width of images in pixels.

    Returns
    -------
    nn.Module
        That maps normalised images `(N, 3, H, W)` to features `(N, D)`.

    Raises
    ------
    UserError
        For names that are not there, and modules whose output can't be pooled.
    """
    check_layers(network, name, layers)
    network = copy_sharing(network)
    outputs = _outputs(network, layers, size)
    pools = {layer: _pool(network, name, layer, outputs.get(layer), size) for layer in layers}
    joined = _Joined(network, pools).eval()
    try:
        traced = fx.symbolic_trace(joined)
        traced.graph.eliminate_dead_code()
        traced.delete_all_unused_submodules()
        traced.recompile()
    except Exception:  # of whatever kind: untraced it is as right, and computes all layers
        return joined
    return traced


class _Joined(nn.Module):
    """A network that gives what its modules gave."""

    def __init__(self, network: nn.Module, pools: Mapping[str, Pool]) -> None:
        super().__init__()
        self.network = network
        self.pools = dict(pools)
        self._found: dict[str, Any] = {}
        for layer in pools:
            # Not a closure: a copy of the network has to note in the copy.
            own_network(network).get_submodule(layer).register_forward_hook(partial(self._note, layer))

    def _note(self, layer: str, part: nn.Module, given: Any, made: Any) -> None:
        self._found[layer] = made

    def forward(self, x_N3HW: torch.Tensor) -> torch.Tensor:
        self._found.clear()
        self.network(x_N3HW)
        # Taken out: what is left in a module when it has been exported counts as a fault.
        return torch.cat([pool(self._found.pop(layer)) for layer, pool in self.pools.items()], 1)


def copy_sharing(network: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its parameters and buffers."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(one): one for one in tensors})


def own_network(network: nn.Module) -> nn.Module:
    """Return the library's own network, where a cut one is a module around that."""
    parts = dict(network.named_children())
    return parts["network"] if list(parts) == ["network"] else network


def _outputs(network: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
    """Return what the modules give for one image: tensors that have a shape and no values."""
    found: dict[str, Any] = {}

    def note(layer: str, part: nn.Module, given: Any, made: Any) -> None:
        found[layer] = made

    hooks = [
        own_network(network).get_submodule(layer).register_forward_hook(partial(note, layer))
        for layer in layers
    ]
    try:
        with without_values(network) as (_, forward):
            forward(size)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _pool(network: nn.Module, name: str, layer: str, output: Any, size: tuple[int, int]) -> Pool:
    """Return how a module's output becomes features `(N, D)`, decided from its shape."""
    if not isinstance(output, torch.Tensor):
        try:
            inner = _pool(network, name, layer, output[0], size)
        except (IndexError, KeyError, TypeError):
            raise UserError(f"{layer} of {name} gives no output for an image; name another layer") from None
        return partial(_first, inner)
    shape = tuple(output.shape)
    if len(shape) == 4:
        return partial(torch.mean, dim=(1, 2) if _ends_in_channels(shape, size) else (2, 3))
    if len(shape) == 3:
        own = own_network(network)
        if callable(getattr(own, "pool", None)):
            return own.pool  # type: ignore[return-value]
        names = {key.rpartition(".")[2] for key, _ in own.named_parameters()}
        return _class_token if names & {"class_token", "cls_token"} else partial(torch.mean, dim=1)
    if len(shape) == 2 and shape[0] == 1:
        return partial(torch.flatten, start_dim=1)
    raise UserError(
        f"{layer} of {name} gives {'x'.join(map(str, shape))} numbers, no map or tokens; name another layer"
    )


def _first(pool: Pool, output: Any) -> Any:
    return pool(output[0])


def _class_token(x_NTD: Any) -> Any:
    return x_NTD[:, 0]


def _ends_in_channels(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Return whether a map is `(N, H, W, C)`, as of Swin, and not `(N, C, H, W)`: by the ratio of its sides."""
    ratio = math.log(size[0] / size[1])
    first, last = (abs(math.log(high / wide) - ratio) for high, wide in (shape[1:3], shape[2:4]))
    return first < last
