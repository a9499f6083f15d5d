"""The memory that a forward pass takes, estimated before the first one.

N: images. H, W: height and width in pixels.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from transfer.system.errors import UserError
from transfer.system.hardware import available_bytes

# A pass took 0.8 times the inputs and outputs of its largest operation (resnet18 at 3000x4000, batches of 8 in eager
# fp32, which folds batch norm); networks with branches hold more than those, and engines have buffers of their own.
OVERHEAD = 1.5
# What to do where the memory does not suffice and the input size may be chosen.
SMALLER = "give a smaller `size`, such as 224x224"

Size = tuple[int, int]

log = logging.getLogger(__name__)


class _LargestOperation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the bytes of the inputs and outputs of the largest operation, weights apart."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        self.weights = {id(value) for value in weights}
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        # A set: what works in place returns its input.
        tensors = {id(value): value for value in (*_tensors(args), *_tensors([made]))}
        sizes = (one.numel() * one.element_size() for key, one in tensors.items() if key not in self.weights)
        self.bytes = max(self.bytes, sum(sizes))
        return made


def count_activation_bytes(network: nn.Module, size: tuple[int, int]) -> int:
    """Count the bytes that the inputs and outputs of a network's largest operation take for one image.

    Nothing is computed: the network is run on tensors that have a shape and no values. Whatever it raises for images
    of another size than it takes is passed on.

    Parameters
    ----------
    network
        Takes normalised images `(N, 3, H, W)`.
    size
        Height and width in pixels.
    """
    with without_values(network) as (state, forward):
        largest = _LargestOperation(state.values())
        with largest:
            forward(size)
        return largest.bytes


@contextlib.contextmanager
def without_values(network: nn.Module) -> Iterator[tuple[dict[str, torch.Tensor], Callable[[Size], object]]]:
    """Give the tensors of a network with shapes and no values, and a forward pass of one image on these."""
    named = itertools.chain(network.named_parameters(), network.named_buffers())
    state = {name: value.to("meta") for name, value in named}

    def forward(size: Size) -> object:
        return torch.func.functional_call(network, state, (torch.zeros(1, 3, *size, device="meta"),))

    training = [part for part in network.modules() if part.training]
    network.eval()  # batch norm in training asks for values
    try:
        with torch.no_grad():
            yield state, forward
    finally:
        for part in training:
            part.training = True


def fit_batch(image_bytes: int, batch: int, size: tuple[int, int], remedy: str = SMALLER) -> int:
    """Find the largest of `batch`, half of it, and so on, whose forward pass fits into the memory that is free.

    Parameters
    ----------
    image_bytes
        What `count_activation_bytes` found.
    batch
        The number of images that is wanted.
    size
        Height and width in pixels, for the message.
    remedy
        What the user can do, for the message.

    Raises
    ------
    UserError
        Where not even one image fits.
    """
    available = available_bytes()
    fitting = batch
    while fitting and fitting * image_bytes * OVERHEAD > available:
        fitting //= 2
    if not fitting:
        raise UserError(_too_large(1, image_bytes, size, available, remedy))
    if fitting < batch:
        log.warning("memory is short: forward passes take %d images at a time, not %d", fitting, batch)
    return fitting


def check_batch(image_bytes: int, batch: int, size: tuple[int, int]) -> None:
    """Raise `UserError` where a forward pass of so many images does not fit into the memory that is free."""
    available = available_bytes()
    if batch * image_bytes * OVERHEAD > available:
        raise UserError(_too_large(batch, image_bytes, size, available, SMALLER))


def _too_large(batch: int, image_bytes: int, size: tuple[int, int], available: int, remedy: str) -> str:
    images = "one image" if batch == 1 else f"{batch} images"
    return (
        f"a forward pass of {images} at {size[0]}x{size[1]} takes about {batch * image_bytes * OVERHEAD / 1e9:.1f} GB "
        f"of memory, and {available / 1e9:.1f} GB are free; {remedy}"
    )


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    """Yield the tensors among the values, and in lists and tuples among them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
