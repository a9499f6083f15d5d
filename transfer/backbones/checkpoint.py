"""A network's tensors in a checkpoint, whatever wraps them and whatever their names begin with.

Wrapping dictionaries and prefixes are the same to us: all tensors are listed by the names on the way to them, such as
`state_dict.module.encoder_q.conv1.weight`, and the network is where its own names follow one prefix.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

State = dict[str, torch.Tensor]

# Dictionaries within each other, and letters in a name: more are of no network.
MAX_DEPTH, MAX_NAME = 8, 500
MAX_PLACES = 20
# Names that others give to torchvision's layers: network, their pattern, ours.
_RENAMES = [
    # torchvision's own files from before its modules were renamed.
    ("densenet", r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2"),
    # Hugging Face's transformers.
    ("resnet", r"embedder\.embedder\.convolution\.", "conv1."),
    ("resnet", r"embedder\.embedder\.normalization\.", "bn1."),
    (
        "resnet",
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.",
        r"layer\1+.\2.downsample.0.",
    ),
    (
        "resnet",
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.",
        r"layer\1+.\2.downsample.1.",
    ),
    (
        "resnet",
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\.",
        r"layer\1+.\2.conv\3+.",
    ),
    (
        "resnet",
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\.",
        r"layer\1+.\2.bn\3+.",
    ),
]
# Words in the names of moving averages of a network that is there too.
_AVERAGES = {
    "ema",
    "average",
    "averaged",
    "avg",
    "swa",
    "shadow",
    "teacher",
    "momentum",
    "target",
    "key",
    "k",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a checkpoint holds a network."""

    prefix: str
    """What the names begin with, up to a dot; empty where nothing precedes them."""
    state: State
    """All tensors whose names begin so, without it."""
    others: tuple[str, ...]
    """Prefixes under which the same network lies with other numbers."""


def flatten(held: Any) -> State:
    """Return all tensors in nested dictionaries, named by the keys on the way to them.

    A dictionary that is there twice is taken once. What modules tell of their versions is kept.
    """
    state: State = OrderedDict()
    versions: dict[str, dict[str, int]] = {}
    seen: set[int] = set()

    def visit(part: Mapping[Any, Any], path: str, depth: int) -> None:
        seen.add(id(part))
        for key, value in part.items():
            name = f"{path}{key}" if isinstance(key, str) and len(path) + len(key) <= MAX_NAME else ""
            if name and isinstance(value, torch.Tensor) and not value.is_meta:
                state[name] = value
            elif name and isinstance(value, dict) and id(value) not in seen and depth < MAX_DEPTH:
                visit(value, f"{name}.", depth + 1)
        versions.update(_versions(part, path))

    if isinstance(held, dict):
        visit(held, "", 1)
    if versions:
        state._metadata = versions  # type: ignore[attr-defined]
    return state


def _versions(part: Mapping[Any, Any], path: str) -> dict[str, dict[str, int]]:
    """Versions of the modules that were saved, by the modules' names; torch's own attribute, which is not public."""
    found = getattr(part, "_metadata", None)
    if not isinstance(found, dict):
        return {}
    return {
        f"{path}{module}".rstrip("."): {"version": about["version"]}
        for module, about in found.items()
        if isinstance(module, str) and isinstance(about, dict) and isinstance(about.get("version"), int)
    }


def whole_network(held: Any) -> str | None:
    """Return the class of a network that was pickled whole, on its own or among a checkpoint's entries."""
    if not isinstance(held, dict):
        return None
    for one in (held, *held.values()):
        if "_modules" in getattr(one, "__dict__", {}):
            return str(getattr(one, "class_name", "unknown"))
    return None


def find(
    network: str, own: State, parts: list[str], state: State, is_foreign: Callable[[str], bool]
) -> Found:
    """Find where a checkpoint holds the tensors of a network, or most of them.

    Of several places the one with more of its tensors is taken, then the one with fewer names that contradict it, then
    the trained network rather than a moving average of it, then the first.

    Parameters
    ----------
    network : str
        The network's name.
    own : dict
        Its tensors.
    parts : list of str
        The names of its parts, in order; `nn.Sequential(*parts)` numbers them from 0.
    state : dict
        All tensors of the checkpoint.
    is_foreign : callable
        Whether a name contradicts that this is the network.

    Returns
    -------
    The place; where nothing fits, what is there without a prefix.
    """
    state = _rename(network, state)
    numbers = {part: str(number) for number, part in enumerate(parts)}
    numbered = {_with_top(name, numbers): name for name in own}
    counts, names = max(
        ((_count(own, names, state), names) for names in ({name: name for name in own}, numbered)),
        key=lambda found: max(found[0].values()),
    )
    most = max(counts.values())
    if most[1] < len(own) / 2:  # a few names that every second network has
        counts, names, most = {"": most}, {}, most
    equal = [prefix for prefix, count in counts.items() if count == most][:MAX_PLACES]
    places = {prefix: _below(prefix, names, state) for prefix in equal}
    order = sorted(places, key=lambda prefix: (sum(map(is_foreign, places[prefix])), is_average(prefix)))
    taken = places[order[0]]
    others = [prefix for prefix in order[1:] if not _equal(own, taken, places[prefix])]
    return Found(prefix=order[0], state=taken, others=tuple(others))


def is_average(prefix: str) -> bool:
    """Return whether a prefix names a moving average: `model_ema`, `teacher`, `encoder_k`, `modelEMA`."""
    return any(word.lower() in _AVERAGES for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", prefix))


def fits(value: torch.Tensor, own: torch.Tensor) -> bool:
    """Return whether a tensor can take the place of a network's own."""
    if value.is_meta:  # a shape without numbers
        return False
    return value.shape == own.shape and (is_plain(value) or not own.is_floating_point())


def is_plain(value: torch.Tensor) -> bool:
    """Return whether a tensor is of floating-point numbers, none of them left out."""
    return value.is_floating_point() and value.layout is torch.strided


def _rename(network: str, state: State) -> State:
    """Return the tensors under torchvision's names."""
    rules = [(pattern, ours) for family, pattern, ours in _RENAMES if network.startswith(family)]
    renamed: State = OrderedDict()
    for name, value in state.items():
        ours = name
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        if ours != name:  # n+ is a number that others count from 0 and torchvision from 1
            ours = re.sub(r"(\d+)\+", lambda found: str(int(found[1]) + 1), ours)
        renamed[ours] = value
    if hasattr(state, "_metadata"):
        renamed._metadata = state._metadata  # type: ignore[attr-defined]
    return renamed


def _with_top(name: str, tops: Mapping[str, str]) -> str:
    top, dot, rest = name.partition(".")
    return f"{tops.get(top, top)}{dot}{rest}"


def _count(own: State, names: Mapping[str, str], state: State) -> dict[str, tuple[int, int]]:
    """By prefix, how many of the network's tensors lie under it: that fit, and at all."""
    depth = 1 + max((name.count(".") for name in names), default=0)
    fitting: Counter[str] = Counter({"": 0})
    named: Counter[str] = Counter({"": 0})
    for name, value in state.items():
        end = len(name)
        for _ in range(depth):
            end = name.rfind(".", 0, end)
            ours = names.get(name[end + 1 :])
            if ours is not None:
                named[name[: end + 1]] += 1
                fitting[name[: end + 1]] += fits(value, own[ours])
            if end < 0:
                break
    return {prefix: (fitting[prefix], count) for prefix, count in named.items()}


def _below(prefix: str, names: Mapping[str, str], state: State) -> State:
    """Return the tensors under a prefix, by the network's own names where they are its."""
    below: State = OrderedDict()
    for name, value in state.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            below[names.get(rest, rest)] = value
    versions = getattr(state, "_metadata", None)
    if versions is not None:
        below._metadata = {  # type: ignore[attr-defined]
            f"{module}.".removeprefix(prefix).rstrip("."): version
            for module, version in versions.items()
            if f"{module}.".startswith(prefix)
        }
    return below


def _equal(own: State, one: State, other: State) -> bool:
    """Return whether two places hold the same numbers."""
    pairs = [(one[name], other[name]) for name in own if name in one and name in other]
    return all(
        a.dtype == b.dtype and torch.equal(a, b)
        for a, b in pairs
        if is_plain(a) and is_plain(b) and not a.is_meta and not b.is_meta
    )
