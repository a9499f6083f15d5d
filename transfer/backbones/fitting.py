"""A checkpoint's tensors into a network that was cut before its last layer."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from transfer.backbones import checkpoint
from transfer.backbones.checkpoint import State
from transfer.system.errors import UserError
from transfer.system.text import list_first

# Branches that are for training alone: of GoogLeNet and Inception.
TRAINING_ONLY = re.compile(r"aux", re.IGNORECASE)
# What names of a family's tensors hold, and what names of its networks begin with.
_FAMILIES = {
    r"(layer1|4)\.0\.conv1\.weight|encoder\.stages\.0\.layers": ("resnet", "resnext", "wide_resnet"),
    r"denseblock1": ("densenet",),
    r"inception3a": ("googlenet",),
    r"Mixed_5b": ("inception",),
    r"conv_proj": ("vit",),
    r"trunk_output": ("regnet",),
    r"squeeze\.weight": ("squeezenet",),
    r"layer_scale": ("convnext",),
    r"relative_position_bias_table": ("swin", "maxvit"),
    r"stage2\.0\.branch2": ("shufflenet",),
    r"layers\.8\.0\.layers": ("mnasnet",),
    r"features\.\d+\.(\d+\.)?(conv|block)\.": ("mobilenet", "efficientnet"),
    r"features\.\d+\.weight": ("vgg", "alexnet"),
}


# Fewer missing tensors are a damaged checkpoint's, not another network's.
_FEW = 10


class Misfit(UserError):
    """Weights that do not fit a network.

    Attributes
    ----------
    of_another : bool
        Whether they may be another network's.
    """

    def __init__(self, message: str, *, of_another: bool) -> None:
        super().__init__(message)
        self.of_another = of_another


def family(state: State) -> tuple[str, ...]:
    """Return what the names of the networks begin with that a checkpoint may be of; empty where that is not known."""
    for pattern, names in _FAMILIES.items():
        if any(re.search(pattern, name) for name in state):
            return names
    return ()


def fit(build: Callable[[], tuple[nn.Module, str]], name: str, state: State) -> tuple[nn.Module, list[str]]:
    """Build a cut network and load a checkpoint into it.

    Parameters
    ----------
    build : callable
        Returns the network and the name of the layer that was cut off.
    name, state
        As for `fill`.

    Returns
    -------
    network : nn.Module
    remarks : list of str
        As `fill` returns them.
    """
    network, layer = outline(build)
    remarks = fill(network, layer, name, state)
    if any(part.is_meta for part in (*network.parameters(), *network.buffers())):
        # Counts of batches, which older files lack, and buffers that are kept in no file.
        filled = {key: value for key, value in network.state_dict().items() if not value.is_meta}
        network, _ = build()
        network.load_state_dict(filled, strict=False)
    return network, remarks


def outline(build: Callable[[], tuple[nn.Module, str]]) -> tuple[nn.Module, str]:
    """Build a cut network without weights: to draw initial ones takes longer than to read those that replace them."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # RegNets compute their widths by tensors
        return build()


def fill(network: nn.Module, layer: str, name: str, state: State) -> list[str]:
    """Load a checkpoint into a network.

    Parameters
    ----------
    network : nn.Module
        Without its last layer; on the meta device the tensors are taken as they are, else copied.
    layer : str
        The name of that layer. Its tensors may be absent or of any shape.
    name : str
        The network's name.
    state : dict
        All tensors of the checkpoint.

    Returns
    -------
    Lines on what was taken and what was left out; none where there was no choice.

    Raises
    ------
    Misfit
        Where tensors are missing, of another shape or kind, or where others show that it is another network.
    """
    own = network.state_dict()
    contradicts = _contradicts(own, layer)
    found = checkpoint.find(name, own, [part for part, _ in network.named_children()], state, contradicts)
    body: State = OrderedDict((k, v) for k, v in found.state.items() if not k.startswith(f"{layer}."))
    misshapen = [key for key in own if key in body and body[key].shape != own[key].shape]
    other_kind = [key for key in own if key in body and not checkpoint.fits(body[key], own[key])]
    other_kind = [key for key in other_kind if key not in misshapen]
    extra = [key for key in body if key not in own and not contradicts(key)]
    for key in (*misshapen, *other_kind, *extra):
        del body[key]
    missing, unexpected = _load(network, own, body, getattr(found.state, "_metadata", None))
    missing = [key for key in missing if key not in misshapen and key not in other_kind]
    faults = {
        "missing": missing,
        "unexpected": unexpected + extra if missing or misshapen else unexpected,
        "of another shape": misshapen,
        "not floating-point numbers, as after quantisation": other_kind,
    }
    if any(faults.values()):
        details = "; ".join(f"{kind}: {list_first(sorted(keys))}" for kind, keys in faults.items() if keys)
        raise Misfit(
            f"these weights do not fit {name}: {_where(found.prefix)}{details}",
            of_another=bool(misshapen or unexpected) or len(missing) > _FEW,
        )
    return _remarks(name, found, [key for key in extra if not TRAINING_ONLY.match(key)])


def _contradicts(own: State, layer: str) -> Callable[[str], bool]:
    """Whether a name that is not the network's own shows that the weights are another one's.

    Heads, losses and queues lie beside a network; a further block or parameter lies within one of its parts.
    """
    tops, head = {key.split(".")[0] for key in own}, layer.rpartition(".")[0] or layer

    def answer(key: str) -> bool:
        return key not in own and not key.startswith(f"{head}.") and key.split(".")[0] in tops

    return answer


def _load(network: nn.Module, own: State, body: State, versions: object) -> tuple[list[str], list[str]]:
    """Load tensors; the names that are missing and those that are not expected."""
    # Modules translate what older versions of themselves saved, by a version that files of plain tensors have
    # lost. Where all names are today's there is nothing to translate.
    # The attribute is PyTorch's own and not public: where a release has none, there are no versions to hand on.
    if versions is None and body.keys() <= own.keys():
        versions = getattr(own, "_metadata", None)
    if versions is not None:
        body._metadata = versions  # type: ignore[attr-defined]
    on_meta = all(value.is_meta for value in own.values())
    for key in body.keys() & own.keys() if on_meta else ():  # as numbers and in memory of the network's own
        body[key] = body[key].detach().to(own[key].dtype, memory_format=torch.contiguous_format, copy=True)
    found = network.load_state_dict(body, strict=False, assign=on_meta)
    # Counts of batches are of no use to a frozen network.
    missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    return missing, list(found.unexpected_keys)


def _where(prefix: str) -> str:
    return f"the nearest are under {prefix[:-1]!r}; " if prefix else ""


def _remarks(name: str, found: checkpoint.Found, extra: list[str]) -> list[str]:
    remarks = []
    if found.others:
        others = [repr(prefix[:-1] or "its top level") for prefix in found.others]
        taken = repr(found.prefix[:-1] or "its top level")
        remarks.append(f"several {name} are in it: the one under {taken} is used, not {list_first(others)}")
    if extra:
        remarks.append(f"{len(extra)} tensors that {name} does not have are left out: {list_first(extra)}")
    return remarks
