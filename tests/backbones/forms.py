"""The forms in which people have one resnet18, and what is done with each: `python -m tests.backbones.forms`."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import models

from transfer.backbones import networks, weights
from transfer.system.errors import UserError

State = dict[str, torch.Tensor]


@cache
def network(number: int = 0, name: str = "resnet18") -> State:
    """The tensors of a network; those of another number differ. All are parts of one storage, for small files."""
    generator = torch.Generator().manual_seed(number)
    shapes = {key: value.shape for key, value in models.get_model(name).state_dict().items()}
    block = 0.03 * torch.randn(max(shape.numel() for shape in shapes.values()) + 1000, generator=generator)
    spread = 0.5 + torch.rand(1000, generator=generator)
    state: State = OrderedDict()
    for i, (key, shape) in enumerate(shapes.items()):
        positive = len(shape) == 1 and key.endswith(("weight", "running_var"))
        values = spread.repeat(3) if positive else block[i : i + shape.numel()]
        state[key] = values[: shape.numel()].view(shape)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
    return state


def body() -> State:
    return OrderedDict((key, value) for key, value in network().items() if not key.startswith("fc."))


def under(prefix: str, state: State | None = None) -> State:
    return OrderedDict((prefix + key, value) for key, value in (state or network()).items())


def cast(dtype: torch.dtype) -> State:
    return {key: v.to(dtype) if v.is_floating_point() else v for key, v in network().items()}


def hugging_face(prefix: str = "resnet.") -> State:
    """As transformers name them."""
    rules = [
        (r"^conv1\.", "embedder.embedder.convolution."),
        (r"^bn1\.", "embedder.embedder.normalization."),
        (r"^layer(\d)\.(\d)\.downsample\.0\.", r"encoder.stages.-\1.layers.\2.shortcut.convolution."),
        (r"^layer(\d)\.(\d)\.downsample\.1\.", r"encoder.stages.-\1.layers.\2.shortcut.normalization."),
        (r"^layer(\d)\.(\d)\.conv(\d)\.", r"encoder.stages.-\1.layers.\2.layer.-\3.convolution."),
        (r"^layer(\d)\.(\d)\.bn(\d)\.", r"encoder.stages.-\1.layers.\2.layer.-\3.normalization."),
    ]
    renamed: State = OrderedDict()
    for key, value in body().items():
        for pattern, theirs in rules:
            key = re.sub(pattern, theirs, key)
        renamed[prefix + re.sub(r"-(\d)", lambda found: str(int(found[1]) - 1), key)] = value
    return {**renamed, "classifier.1.weight": torch.zeros(9, 512), "classifier.1.bias": torch.zeros(9)}


def numbered(prefix: str) -> State:
    """As `nn.Sequential(*network.children())` names them."""
    parts = [part for part, _ in models.resnet18().named_children()]
    return OrderedDict(
        (f"{prefix}{parts.index(key.split('.')[0])}.{key.split('.', 1)[1]}", v) for key, v in body().items()
    )


class Settings:
    """Of a training script; the class is not there when the weights are used."""

    def __init__(self) -> None:
        self.lr, self.sizes = 0.1, [224, 224]


class Items(dict[str, Any]):
    """As Lightning's and others' dictionaries with attributes."""


class Trainer:
    """Unpickling this calls a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.cwd, ()


def adam() -> dict[str, Any]:
    """An optimizer's state, whose tensors are the network's in shape."""
    return {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(64, 3, 7, 7)}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0]}],
    }


NAMESPACE = argparse.Namespace(lr=0.1, output=Path("out"), arch="resnet18")
# What is saved, and of what network it has the numbers.
LOADED: dict[str, Callable[[], Any]] = {
    "state dict": network,
    "without its last layer": body,
    "parameters": lambda: {k: torch.nn.Parameter(v, v.is_floating_point()) for k, v in network().items()},
    "state_dict": lambda: {"state_dict": network()},
    "model": lambda: {"model": network(), "epoch": 3},
    "model_state_dict": lambda: {"epoch": 3, "model_state_dict": network(), "loss": 0.3},
    "net": lambda: {"net": network(), "acc": 91.2},
    "weights": lambda: {"weights": network()},
    "two deep": lambda: {"checkpoint": {"network": network()}},
    "two deep, prefixed": lambda: {"ckpt": {"params": under("module.")}},
    "DDP": lambda: under("module."),
    "torch.compile": lambda: under("_orig_mod."),
    "compile and DDP": lambda: under("_orig_mod.module."),
    "DDP and compile": lambda: under("module._orig_mod."),
    "backbone.": lambda: under("backbone."),
    "encoder.": lambda: under("encoder."),
    "SimSiam": lambda: {"state_dict": under("module.encoder.")},
    "four prefixes": lambda: under("module.model.base.feature_extractor."),
    "Lightning": lambda: {
        "state_dict": under("model."),
        "hyper_parameters": Items(lr=0.1),
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_path": "x", "best": torch.tensor(0.3)}
        },
        "optimizer_states": [adam()],
    },
    "Lightning, backbone": lambda: {
        "state_dict": {**under("backbone.", body()), "head.weight": torch.zeros(9)}
    },
    "torchvision references": lambda: {"model": network(), "optimizer": adam(), "args": NAMESPACE},
    "timm": lambda: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": network(),
        "args": NAMESPACE,
        "metric": 70.1,
    },
    "NumPy number": lambda: {"state_dict": network(), "best_acc": np.float64(0.9), "n": np.int64(3)},
    "NumPy array": lambda: {"state_dict": network(), "confusion": np.eye(3), "type": np.dtype("float32")},
    "path": lambda: {"state_dict": network(), "file": Path("a/b")},
    "defaultdict": lambda: {"model": network(), "history": defaultdict(list, loss=[0.3, 0.2])},
    "class of the script": lambda: {"model": network(), "config": Settings()},
    "dictionary of the script": lambda: {"model": Items(network()), "config": Items(lr=0.1)},
    "loss pickled whole": lambda: {"model": network(), "criterion": torch.nn.CrossEntropyLoss()},
    "fastai": lambda: {"model": network(), "opt": adam()},
    "fastai's names": lambda: {"model": {**numbered("0."), "1.8.weight": torch.zeros(9, 512)}, "opt": adam()},
    "Sequential of the parts": lambda: numbered(""),
    "AveragedModel": lambda: {"n_averaged": torch.tensor(5), **under("module.")},
    "MoCo": lambda: {
        "state_dict": {
            **under("module.encoder_k.", network(1)),
            **under("module.encoder_q."),
            "module.queue": torch.zeros(8, 8),
        }
    },
    "BYOL": lambda: {**under("target_network.", network(1)), **under("online_network.")},
    "SwAV": lambda: {**under("module.", body()), "module.projection_head.0.weight": torch.zeros(4, 512)},
    "DINO": lambda: {
        "teacher": under("backbone.", network(1)),
        "student": {**under("module.backbone.", body()), "module.head.mlp.0.weight": torch.zeros(3, 512)},
    },
    "model and model_ema": lambda: {"model_ema": network(1), "model": network()},
    "state_dict_ema": lambda: {"state_dict": network(), "state_dict_ema": network(1)},
    "only an average": lambda: {"ema": network()},
    "VISSL": lambda: {
        "classy_state_dict": {
            "base_model": {"model": {"trunk": under("_feature_blocks.", body()), "heads": {}}}
        }
    },
    "other head": lambda: {**body(), "fc.weight": torch.zeros(3, 512), "fc.bias": torch.zeros(3)},
    "two layers for a head": lambda: {
        **body(),
        "fc.0.weight": torch.zeros(9, 512),
        "fc.2.weight": torch.zeros(3, 9),
    },
    "head. for fc.": lambda: {**body(), "head.weight": torch.zeros(9, 512), "head.bias": torch.zeros(9)},
    "loss with a buffer": lambda: {**network(), "criterion.pos_weight": torch.tensor(3.2)},
    "half": lambda: cast(torch.float16),
    "bfloat16": lambda: cast(torch.bfloat16),
    "double": lambda: cast(torch.float64),
    "Hugging Face": hugging_face,
    "Hugging Face, wrapped": lambda: {"state_dict": hugging_face("model.resnet.")},
    "float and int8": lambda: {
        "quantised": {k: (40 * v).to(torch.int8) for k, v in network().items()},
        "model": network(),
    },
}
# What is saved, and what the refusal says.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "int8": (lambda: {k: (40 * v).to(torch.int8) for k, v in network().items()}, "not floating-point"),
    "a tensor is missing": (
        lambda: {"model": {k: v for k, v in network().items() if k != "layer3.0.bn2.bias"}},
        "under 'model'; missing: layer3.0.bn2.bias",
    ),
    "resnet34": (lambda: network(0, "resnet34"), "they fit resnet34: give `backbone='resnet34'`"),
    "resnet50, wrapped": (lambda: {"net": under("module.", network(0, "resnet50"))}, "`backbone='resnet50'`"),
    "squeezenet": (lambda: network(0, "squeezenet1_1"), "`backbone='squeezenet1_1'`"),
    "SE blocks": (
        lambda: {**network(), "layer1.0.se.fc1.weight": torch.zeros(4)},
        "unexpected: layer1.0.se.fc1.weight",
    ),
    "optimizer alone": (adam, "state_dict()"),
    "whole network": (models.resnet18, "save model.state_dict() in place of model"),
    "whole network in a dictionary": (
        lambda: {"model": models.resnet18(), "epoch": 3},
        "save model.state_dict()",
    ),
    "function": (lambda: {"model": network(), "trainer": Trainer()}, "(builtins.getattr)"),
}


def outcome(held: Any, path: Path) -> tuple[torch.nn.Module | None, str]:
    """The network that a file of `held` gives, or why it gives none."""
    torch.save(held, path)
    try:
        return networks.build("resnet18", weights.load(path)), "loaded"
    except UserError as error:
        return None, str(error)
    finally:
        path.unlink()


def is_right(found: torch.nn.Module, tolerance: float = 0.0) -> bool:
    """Whether a network has the numbers of the right one of those in its file."""
    expected = network()
    return all(
        torch.allclose(value, expected[key], rtol=tolerance, atol=tolerance)
        for key, value in found.state_dict().items()
        if value.is_floating_point()
    )


def main() -> None:
    """Print what becomes of each form."""
    with tempfile.TemporaryDirectory() as folder:
        for name, make in [*LOADED.items(), *((name, make) for name, (make, _) in REFUSED.items())]:
            found, message = outcome(make(), Path(folder) / "w.pth")
            if found is not None:
                message = "loaded" if is_right(found, 1e-2) else "loaded, with other numbers"
            print(f"{name:30} {message.replace(folder, '')[:150]}")


if __name__ == "__main__":
    main()
