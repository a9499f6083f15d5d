"""Batch norms of a network."""

from __future__ import annotations

from torch import nn

from transfer.system.errors import UserError


def list_batch_norms(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the batch norms of a network that have running statistics, with their names."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [
        (path, part)
        for path, part in network.named_modules()
        if isinstance(part, kinds) and part.running_mean is not None
    ]


def check_batch_norm(network: nn.Module, name: str) -> None:
    """Raise `UserError` for a network without batch norm; its tensors may lack values."""
    if not list_batch_norms(network):
        raise UserError(f"{name} has no batch norm; leave out `bn='train'`")
