"""What of blocks is trained: all parameters, low-rank updates of weights (LoRA), or biases alone (BitFit).

R: rank. O: outputs of a layer. I: numbers that one output is a sum over.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.nn.utils import parametrize

from transfer.system.errors import UserError

# Learning rates that are tried unless others are given: few parameters take larger steps than all of them do.
RATES = {"": (1e-4, 1e-3), "lora": (1e-3, 1e-2), "bitfit": (1e-3, 1e-2)}


class LowRank(nn.Module):
    """A weight and the product of two small matrices, which is zero at the beginning.

    LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685). In a convolution the product is one with the same kernel
    to `rank` channels, followed by one with a kernel of 1x1.

    Parameters
    ----------
    weight : torch.Tensor of shape (O, ...)
        Of a linear layer or a convolution.
    rank : int
        At most that of the weight is taken.
    generator : torch.Generator
        Draws the initial values, distributed as in `torch.nn.Linear`.
    """

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(rank, rows, columns)
        down_RI = torch.empty(rank, columns).uniform_(-(columns**-0.5), columns**-0.5, generator=generator)
        self.down_RI = nn.Parameter(down_RI.to(weight.device))
        self.up_OR = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the updated weight, in its own precision: rounded here, it would not be the one that is kept."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up_OR @ self.down_RI).view(weight.shape)


def list_weights(network: nn.Module) -> set[str]:
    """Return the names of the weights of a network's linear layers and convolutions."""
    found = set()
    for path, part in network.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            found.add(f"{path}.weight")
        elif isinstance(part, nn.MultiheadAttention):
            found.add(f"{path}.in_proj_weight")
    return found


def choose_trained(blocks: nn.Module, adapt: str, weights: Collection[str], seed: int) -> None:
    """Let the parameters of blocks require gradients that are to be trained, and no others.

    Parameters
    ----------
    blocks : nn.Module
        Changed in place.
    adapt : str
        `lora:RANK` or `bitfit`; all parameters if it is empty.
    weights : collection of str
        Of the network: those that `lora` updates.
    seed : int
        Draws what `lora` begins with.

    Raises
    ------
    UserError
        For blocks without such parameters.
    """
    if not adapt:
        return
    blocks.requires_grad_(False)
    kind, _, rank = adapt.partition(":")
    if kind == "bitfit":
        chosen = [value for name, value in blocks.named_parameters() if name.endswith("bias")]
        for value in chosen:
            value.requires_grad_(True)
        what = "biases"
    else:
        generator = torch.Generator().manual_seed(seed)
        chosen, what = [], "linear layers or convolutions"
        for name, value in list(blocks.named_parameters()):
            if name in weights:
                path, _, own = name.rpartition(".")
                low_rank = LowRank(value, int(rank), generator)
                parametrize.register_parametrization(blocks.get_submodule(path), own, low_rank)
                chosen.append(value)
    if not chosen:
        raise UserError(
            f"the blocks have no {what} to train; leave out `adapt='{adapt}'`, or name an earlier block"
        )


def trained_tensors(blocks: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that were trained as they are called in the network, low-rank updates added to weights."""
    found = {
        name: value.detach().contiguous()
        for name, value in blocks.named_parameters()
        if value.requires_grad and ".parametrizations." not in name
    }
    for path, part in blocks.named_modules():
        if parametrize.is_parametrized(part):
            for own in part.parametrizations:
                found[f"{path}.{own}"] = getattr(part, own).detach().contiguous()
    return found
