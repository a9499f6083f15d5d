"""Image classification networks of transformers, cut before their classifier: features are what it would get.

For ViT and DeiT that is the class token, for DINOv2 the class token and the mean of the patches, for CLIP and SigLIP
the mean of the patches, for ResNet, ConvNeXt and Swin the pooled last map.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto import modeling_auto
from transformers.utils import logging as transformers_logging

from transfer.backbones import fitting, hf_configuration, hub
from transfer.backbones.checkpoint import State
from transfer.backbones.preprocessing import Normalisation, Preprocessing
from transfer.backbones.sources import Settings
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.files import HashedFile, hash_file
from transfer.system.text import first_line, list_first

check_name = hf_configuration.check_name
# Whose networks are another library's.
_OTHERS = ("timm_wrapper",)


class _Features(nn.Module):
    """A cut network that gives what its classifier would get."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._settings: dict[str, bool] = {}

    def set_input_size(self, size: tuple[int, int]) -> None:
        """Let the position embedding be interpolated, where the network offers that."""
        self._settings = {"interpolate_pos_encoding": True} if _interpolates(self.network) else {}

    def forward(self, x_N3HW: torch.Tensor) -> torch.Tensor:
        x_ND: torch.Tensor = self.network(x_N3HW, **self._settings).logits
        return x_ND.flatten(1)


def describe(name: str) -> tuple[Preprocessing, Settings]:
    """Return how images are prepared, as the image processor's file says, and the network's configuration."""
    settings = {"config": hf_configuration.read_configuration(name)}
    _kind(settings)
    own = hf_configuration.read_preprocessing(name, settings["config"])
    network: Any = fitting.outline(lambda: cut(name, own.normalisation, settings))[0].network
    is_fixed = any("position_embedding" in key for key, _ in network.named_parameters())
    if is_fixed and _interpolates(network):  # at any other size only on request
        side = network.config.image_size
        height, width = side if isinstance(side, list | tuple) else (side, side)
        own = replace(own, size=(height, width))
    return replace(own, is_fixed=is_fixed), settings


def find_pretrained(name: str) -> HashedFile:
    """Find the weights in a folder or in the hub's cache; download them where they are not there."""
    folder = hf_configuration.folder_of(name)
    if folder is None:
        return hash_file(hub.find_file(name, hub.WEIGHTS, hf_configuration.REMEDY))
    for file in hub.WEIGHTS:
        if (folder / file).is_file():
            return hash_file(folder / file)
    raise UserError(f"no {' or '.join(hub.WEIGHTS)} in {folder}; give `weights=FILE` or random")


def fit(
    name: str, state: State, normalisation: Normalisation, settings: Settings
) -> tuple[nn.Module, list[str]]:
    """Build a network with weights, as `networks.fit` does; names of older releases are translated by transformers."""
    kind, config = _kind(settings), _configuration(settings)
    saved = {
        key.removeprefix("network."): value for key, value in state.items()
    }  # `_Features` adds the prefix
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            whole, found = kind.from_pretrained(
                None,
                config=config,
                state_dict=saved,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # tensors of another kind fail in many ways
        if is_out_of_memory(error):
            raise MemoryError from error
        raise fitting.Misfit(
            f"these weights do not fit {name}: {first_line(error)}", of_another=True
        ) from error
    own = list(whole.state_dict())
    network, layer = _without_classifier(whole)
    return network, _list_remarks(name, own, f"{layer}.", found)


def _list_remarks(name: str, own: list[str], head: str, found: dict[str, Any]) -> list[str]:
    """Return remarks on tensors that were left out; raises `Misfit` where some do not fit."""
    missing = [
        key
        for key in found["missing_keys"]
        if not key.startswith(head) and not key.endswith("num_batches_tracked")
    ]
    misshapen = [key for key, *_ in found["mismatched_keys"] if not key.startswith(head)]
    extra = [key for key in found["unexpected_keys"] if not key.startswith(head)]
    # Of a deeper network: a further one of numbered blocks.
    blocks = {key[: part.start()] for key in own for part in re.finditer(r"(?<=\.)\d+\.", key)}
    deeper = [
        key for key in extra if any(key[: p.start()] in blocks for p in re.finditer(r"(?<=\.)\d+\.", key))
    ]
    faults = {"missing": missing, "of another shape": misshapen, "unexpected": deeper or (missing and extra)}
    if any(faults.values()):
        details = "; ".join(f"{kind}: {list_first(sorted(keys))}" for kind, keys in faults.items() if keys)
        raise fitting.Misfit(f"these weights do not fit {name}: {details}", of_another=True)
    return (
        [f"{len(extra)} tensors that {name} does not have are left out: {list_first(extra)}"] if extra else []
    )


def cut(name: str, normalisation: Normalisation, settings: Settings) -> tuple[nn.Module, str]:
    """Build a network with drawn weights and without its classifier, as `networks.cut` does."""
    with _quiet():
        return _without_classifier(_kind(settings)(_configuration(settings)))


def _without_classifier(network: nn.Module) -> tuple[nn.Module, str]:
    layers = [key for key, part in network.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    network.set_submodule(layers[-1], nn.Identity())
    return _Features(network), layers[-1]


def _kind(settings: Settings) -> Any:
    """Return the class of the network."""
    kind = settings.get("config", {}).get("model_type")
    known = [one for one in modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES if one not in _OTHERS]
    if kind not in known:
        raise UserError(
            f"{kind!r} is no image classification network of transformers; give one, such as hf:microsoft/resnet-50"
        )
    found = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[transformers.CONFIG_MAPPING[kind]]
    return found[0] if isinstance(found, tuple | list) else found


def _configuration(settings: Settings) -> Any:
    given = hf_configuration.clean(settings["config"])
    try:
        return transformers.CONFIG_MAPPING[given.pop("model_type")](**given)
    except Exception as error:  # it checks types by means of its own
        raise UserError(f"the network's configuration is not valid: {first_line(error)}") from error


def _interpolates(network: nn.Module) -> bool:
    return "interpolate_pos_encoding" in inspect.signature(network.forward).parameters


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and tables of tensors."""
    their_logging: Any = transformers_logging  # their functions have no types
    level, shown = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity(their_logging.CRITICAL)
    their_logging.disable_progress_bar()
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if shown:
            their_logging.enable_progress_bar()
