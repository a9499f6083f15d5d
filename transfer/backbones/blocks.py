"""A network cut at one of its blocks: the part before it, which stays frozen, and the rest, which can be trained.

N: images. C: channels. H, W: height and width of a map or of images. D: numbers of all maps of an image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import fx, nn

from transfer.backbones.layers import check_layers, copy_sharing, own_network
from transfer.system.errors import UserError

Shape = tuple[int, ...]
Part = TypeVar("Part")


class CantCut(UserError):
    """A block that the network can't be cut at."""


@dataclass(frozen=True)
class CutNetwork:
    """The two parts of a network, which share its tensors.

    One after the other they compute what the network does: `rest(*unflatten(frozen(images), shapes))`.
    """

    frozen: nn.Module
    """Maps normalised images `(N, 3, H, W)` to rows `(N, D)`, whose numbers are the maps that the rest takes."""
    rest: nn.Module
    """Maps these to features. Its parameters are called as in the network."""
    shapes: tuple[Shape, ...]
    """Of the maps of one image."""


def check_blocks(network: nn.Module, name: str, blocks: Sequence[str]) -> None:
    """Raise `UserError` unless a network has these blocks and, as far as is known without values, a cut before them.

    Parameters
    ----------
    network : nn.Module
        Cut before its classifier; its tensors may lack values.
    name : str
        Of the network, for the message.
    blocks : sequence of str
        Names as in its `named_modules()`.
    """
    check_layers(network, name, blocks)
    try:
        traced = fx.symbolic_trace(network)
    except Exception:  # of whatever kind: `cut_at` has another tracer, which needs values
        return
    for block in blocks:
        _first_node(traced, network, name, block)


def cut_at(network: nn.Module, name: str, block: str, size: tuple[int, int]) -> CutNetwork:
    """Cut a network where one of its blocks begins.

    The graph is traced by `torch.fx`, and by `torch.export` where that can't. What crosses the cut is one tensor in
    most networks, and may be several.

    Parameters
    ----------
    network : nn.Module
        Cut before its classifier, in eval mode; it is left as it is, and its tensors are shared.
    name : str
        For messages.
    block : str
        Name as in its `named_modules()`.
    size : (int, int)
        Height and width of images in pixels.

    Returns
    -------
    CutNetwork

    Raises
    ------
    UserError
        For names that are not there, and blocks that the network can't be cut at.
    """
    return _trace(_cut, network, name, [block], size)


def freeze_before(network: nn.Module, name: str, blocks: Sequence[str], size: tuple[int, int]) -> nn.Module:
    """Return what lies before blocks, computed once for all of them.

    Parameters
    ----------
    network, name, size
        As for `cut_at`.
    blocks : sequence of str

    Returns
    -------
    nn.Module
        Maps normalised images to rows: those that the frozen parts of `cut_at` give, one block's after the other's.

    Raises
    ------
    UserError
        As `cut_at` does, for any of the blocks.
    """
    return _trace(_freeze, network, name, blocks, size)[0]


def _trace(
    cut: Callable[[fx.GraphModule, nn.Module, str, Sequence[str], tuple[int, int]], Part],
    network: nn.Module,
    name: str,
    blocks: Sequence[str],
    size: tuple[int, int],
) -> Part:
    """Cut a network as the first of the tracers lets it."""
    check_layers(network, name, blocks)
    network = copy_sharing(network)
    failure = ""
    for trace in (fx.symbolic_trace, lambda given: _export(given, size)):
        try:
            return cut(trace(network), network, name, blocks, size)
        except CantCut as error:
            failure = str(error)
        except Exception:  # tracers fail in every way
            continue
    where = ", ".join(blocks)
    raise CantCut(failure or f"{name} can't be traced, so it can't be cut at {where}; use another network")


def unflatten(x_ND: torch.Tensor, shapes: Iterable[Shape]) -> list[torch.Tensor]:
    """Return the maps that rows hold; those of `(N, C, H, W)` lie in memory as channels_last.

    Parameters
    ----------
    x_ND : torch.Tensor
    shapes : iterable of tuple of int
        Of the maps of one image.
    """
    shapes = list(shapes)
    ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
    parts = torch.tensor_split(x_ND, ends[:-1], 1)
    return [
        part.view(-1, shape[1], shape[2], shape[0]).permute(0, 3, 1, 2)
        if len(shape) == 3
        else part.view(-1, *shape)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def _export(network: nn.Module, size: tuple[int, int]) -> fx.GraphModule:
    """Trace a network for any number of images of one size, without the checks that exported graphs begin with."""
    example = torch.zeros(2, 3, *size)
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    traced = program.module()
    assert isinstance(traced, fx.GraphModule)
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and not node.users:
            traced.graph.erase_node(node)
    return traced


def _first_node(traced: fx.GraphModule, network: nn.Module, name: str, block: str) -> int:
    """Return the place of the first node of a block in the graph."""
    whole = block if own_network(network) is network else f"network.{block}"
    for i, node in enumerate(traced.graph.nodes):
        inside = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        if node.op == "call_module":
            inside.append(str(node.target))
        if node.op != "get_attr" and any(path == whole or path.startswith(f"{whole}.") for path in inside):
            return i
    raise CantCut(f"{block} of {name} computes nothing; name another block")


def _cut(
    traced: fx.GraphModule, network: nn.Module, name: str, blocks: Sequence[str], size: tuple[int, int]
) -> CutNetwork:
    nodes = list(traced.graph.nodes)
    first = _first_node(traced, network, name, *blocks)
    before, after = nodes[:first], nodes[first:]
    frozen, shapes = _freeze(traced, network, name, blocks, size)
    counts = [node for node in nodes if _counts_images(node)]
    used = _used(after)
    crossing = _crossing(nodes, first)
    rest = fx.Graph()
    copies = {node: rest.placeholder(f"map_{i}") for i, node in enumerate(crossing)}
    for node in counts:
        copies[node] = rest.call_function(torch.ops.aten.sym_size.int, (copies[crossing[0]], 0))
    for node in reversed(before):  # constants, such as a mask, are made where they are used
        if node in used and node not in copies:
            used.update(node.all_input_nodes)
    _copy(rest, (node for node in before if node in used), copies)
    _copy(rest, after[:-1], copies)
    rest.output(copies[after[-1].all_input_nodes[0]])
    return CutNetwork(frozen=frozen, rest=_module(traced, rest), shapes=shapes)


def _freeze(
    traced: fx.GraphModule, network: nn.Module, name: str, blocks: Sequence[str], size: tuple[int, int]
) -> tuple[fx.GraphModule, tuple[Shape, ...]]:
    """Return what lies before all of the blocks, as rows, and the shapes of their maps of one image."""
    nodes = list(traced.graph.nodes)
    firsts = [_first_node(traced, network, name, block) for block in blocks]
    crossings = [_crossing(nodes, first) for first in firsts]
    frozen = _part(traced, nodes[: max(firsts)], list(itertools.chain(*crossings)))
    with torch.no_grad():
        made = frozen(torch.zeros(1, 3, *size))
    remaining = iter(made)
    for block, crossing in zip(blocks, crossings, strict=True):
        maps = list(itertools.islice(remaining, len(crossing)))
        if not maps or not all(isinstance(one, torch.Tensor) and one.is_floating_point() for one in maps):
            raise CantCut(
                f"{name} can't be cut at {block}, since more than feature maps passes that point; name another block"
            )
    _join_rows(frozen, [one.ndim for one in made])
    return frozen, tuple(tuple(one.shape[1:]) for one in made)


def _crossing(nodes: Sequence[fx.Node], first: int) -> list[fx.Node]:
    """Return the nodes before the first of a block, of images, that are used from there on."""
    of_images, used = _list_of_images(nodes), _used(nodes[first:])
    return [node for node in nodes[:first] if node in used and node in of_images]


def _used(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return what nodes take, but for those that are the number of images."""
    return {one for node in nodes if not _counts_images(node) for one in node.all_input_nodes}


def _list_of_images(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return the nodes whose values depend on those of the images, and not on their number alone."""
    found: set[fx.Node] = set()
    for node in nodes:
        if node.op == "placeholder" or (
            not _counts_images(node) and any(one in found for one in node.all_input_nodes)
        ):
            found.add(node)
    return found


def _counts_images(node: fx.Node) -> bool:
    """Return whether a node of an exported graph is the number of images."""
    of = node.args[0] if node.target is torch.ops.aten.sym_size.int else None
    return isinstance(of, fx.Node) and of.op == "placeholder" and node.args[1:] == (0,)


def _part(traced: fx.GraphModule, nodes: Iterable[fx.Node], outputs: Sequence[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    _copy(graph, nodes, copies)
    graph.output(tuple(copies[node] for node in outputs))
    return _module(traced, graph)


def _copy(graph: fx.Graph, nodes: Iterable[fx.Node], copies: dict[fx.Node, fx.Node]) -> None:
    for node in nodes:
        if node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)


def _module(traced: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    """Return a graph as a module, with what of the network's tensors it uses."""
    module = fx.GraphModule(traced, graph)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()


def _join_rows(frozen: fx.GraphModule, dimensions: Sequence[int]) -> None:
    """Make rows of a graph's outputs. Maps are flattened with the channels last, as they lie in memory."""
    graph = frozen.graph
    output = next(node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(output):
        rows = []
        for node, dimension in zip(output.args[0], dimensions, strict=True):
            if dimension == 4:
                node = graph.call_method("permute", (node, 0, 2, 3, 1))
            rows.append(graph.call_method("flatten", (node, 1)))
        joined = rows[0] if len(rows) == 1 else graph.call_function(torch.cat, (rows, 1))
    output.args = (joined,)
    frozen.recompile()
