"""Batch norm folded into the convolutions before it, by PyTorch's public tracer."""

from __future__ import annotations

import copy
from collections import Counter

from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold every batch norm of a network into the convolution before it.

    Parameters
    ----------
    network
        In eval mode; it is left as it is.

    Returns
    -------
    A copy that computes the same function in fewer steps.

    Raises
    ------
    Exception
        Of whatever kind `torch.fx` raises for a network that it can't trace.
    """
    traced = fx.symbolic_trace(copy.deepcopy(network))
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or type(modules[node.target]) is not nn.BatchNorm2d:
            continue
        before = node.args[0]
        if (
            before.op != "call_module"
            or type(modules[before.target]) is not nn.Conv2d
            or len(before.users) > 1
            or calls[before.target] > 1
        ):
            continue
        folded = fuse_conv_bn_eval(modules[before.target], modules[node.target])
        traced.set_submodule(before.target, folded)
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.recompile()
    return traced
