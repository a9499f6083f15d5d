"""The memory that training takes for each image, and the part of a batch that fits into it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import nn

from transfer.backbones.blocks import Shape
from transfer.finetuning.recipe import Recipe
from transfer.system.errors import UserError
from transfer.system.hardware import available_bytes

# What is kept for the backward pass may take so much of the memory that is free; gradients and products need the rest.
SHARE = 0.4

log = logging.getLogger(__name__)


def fitting_part(rest: nn.Module, shapes: Sequence[Shape], recipe: Recipe) -> int:
    """Return how many images of a batch a forward and backward pass takes at once: all, half of them, and so on.

    Parameters
    ----------
    rest : nn.Module
        What is trained, on the device.
    shapes : sequence of tuple of int
        Of the maps of one image.
    recipe : Recipe

    Raises
    ------
    UserError
        Where not even one image fits.
    """
    needed = count_kept_bytes(rest, shapes, recipe.device)
    if recipe.device == "cuda":
        torch.cuda.empty_cache()  # PyTorch keeps what earlier work has freed
        free = torch.cuda.mem_get_info()[0]
    else:
        free = available_bytes()
    part = recipe.batch
    while part and part * needed > SHARE * free:
        part //= 2
    if not part:
        raise UserError(
            f"training on one image takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
            "name a later block, or a smaller `size`"
        )
    if part < recipe.batch:
        log.info("memory is short: gradients of %d images at a time are added up", part)
    return part


def count_kept_bytes(rest: nn.Module, shapes: Sequence[Shape], device: str = "cpu") -> int:
    """Count the bytes of one image that are kept for the backward pass, in fp32, by a forward pass of it."""
    weights = {id(one) for one in (*rest.parameters(), *rest.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in weights:
            kept[id(tensor)] = tensor
        return tensor

    maps = [torch.zeros(1, *shape, device=device) for shape in shapes]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        rest(*maps)
    return sum(one.numel() * one.element_size() for one in kept.values())
