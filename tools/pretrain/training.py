"""Training on drawn pictures: a network that classifies foreground and background.

N: pictures. D: features a picture. S: side in pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from tools.pretrain.fields import Chance
from tools.pretrain.scenes import BACKGROUNDS, FACTS, FOREGROUNDS, Scenes
from transfer.backbones import networks
from transfer.backbones.pixels import normalise
from transfer.engines.options import multiplies_bf16
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.timer import now

# Of the steps, those in which the learning rate rises.
WARM_UP = 0.05
SMOOTHING = 0.1
# What facts are to the loss, against the two classes: about a tenth of it at first, and soon less.
FACTS_WEIGHT = 2.0
KEPT_EVERY_S = 300.0
# Pictures that batch-norm's statistics are taken from in the end, a batch at a time.
STATISTICS_BATCHES, STATISTICS_BATCH = 64, 16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the weights, apart from the device, its matrix formats and PyTorch's version."""

    backbone: str = "resnet50"
    seed: int = 0
    steps: int = 3700
    batch: int = 512
    side: int = 96
    """Side of a picture in pixels in the first half of training."""
    last_side: int = 224
    """Side at the end, in steps of 16: small pictures are cheap to learn from, large ones are what users have."""
    final_side: int = 224
    """Side of those for the final batch-norm statistics: images of users are larger."""
    lr: float = 2e-3
    weight_decay: float = 0.05


class Named(nn.Module):
    """A network cut before its last layer, with two layers that classify what a picture shows."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = networks.cut(name)[0]
            # Each residual block begins as doing nothing (Goyal et al. 2017, arXiv:1706.02677, section 5.1): a deep
            # network learns from the first steps on, where it was at chance for hundreds.
            for part in self.body.modules():
                if isinstance(part, (BasicBlock, Bottleneck)):
                    last = [norm for norm in part.children() if isinstance(norm, nn.BatchNorm2d)][-1]
                    nn.init.zeros_(last.weight)
            with torch.no_grad():
                features = self.body.eval()(torch.zeros(1, 3, 64, 64)).flatten(1).shape[1]
            self.foreground = nn.Linear(features, FOREGROUNDS)
            self.background = nn.Linear(features, BACKGROUNDS)
            self.facts = nn.Linear(features, FACTS)

    def forward(self, x_N3SS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of the foreground, of the background, and the further facts."""
        x_ND = self.body(normalise(255 * x_N3SS)).flatten(1)
        return self.foreground(x_ND), self.background(x_ND), self.facts(x_ND)


@dataclass(frozen=True, kw_only=True)
class Step:
    """The outcome of a training step: numbers on the device; reading one waits for it."""

    step: int
    loss: Tensor
    foreground: Tensor
    """Share of pictures with a correctly classified foreground."""
    background: Tensor
    """The same for the background."""


class Training:
    """Training by a recipe, in a folder: started there, or resumed from its checkpoint."""

    def __init__(self, recipe: Recipe, folder: Path, device: str) -> None:
        self.recipe, self.device = recipe, torch.device(device)
        self.checkpoint = folder / "checkpoint.pt"
        self.scenes = Scenes(recipe.seed, device)
        self.network = (
            Named(recipe.backbone, recipe.seed).to(memory_format=torch.channels_last).to(self.device)
        )
        # Batch-norm and biases are left free: decay would only rescale them.
        decayed = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        free = [parameter for parameter in self.network.parameters() if parameter.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": free},
        ]
        # Ahead of SGD with momentum (0.05) in the first 300 steps, all that were tried.
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=0.0, fused=True)
        self.bf16 = multiplies_bf16(self.device.type)
        self.step = 0
        if self.checkpoint.exists():
            self._load()

    def run(self, until: float, on_step: Callable[[Step], None]) -> bool:
        """Train to the end, or until `timer.now()` is past `until`; return whether it has reached the end.

        A checkpoint is written every few minutes, and when it stops.
        """
        self.network.train()
        kept = now()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):  # pictures have few sizes
            while self.step < self.recipe.steps and now() < until:
                on_step(self._one())
                if now() - kept > KEPT_EVERY_S:
                    files.write(self.checkpoint, self._serialised())
                    kept = now()
        files.write(self.checkpoint, self._serialised())
        return self.step == self.recipe.steps

    def weights(self) -> dict[str, Tensor]:
        """Return the state of the network before its last layer, with batch-norm statistics from larger pictures."""
        recipe = self.recipe
        chance = Chance(_mixed(recipe.seed, recipe.steps), self.device)
        pictures = (
            (255 * self.scenes.draw(STATISTICS_BATCH, recipe.final_side, chance).x_N3SS).round().byte()
            for _ in range(STATISTICS_BATCHES)
        )
        return networks.estimated(self.network.body, recipe.backbone, pictures)

    def _one(self) -> Step:
        recipe = self.recipe
        # A step's pictures follow from its number, so that an interrupted training ends in the same weights.
        chance = Chance(_mixed(recipe.seed, self.step), self.device)
        pictures = self.scenes.draw(recipe.batch, _side(recipe, self.step), chance)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.lr * _share(self.step, recipe.steps)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            ahead, behind, facts = self.network(pictures.x_N3SS.contiguous(memory_format=torch.channels_last))
        losses = [
            F.cross_entropy(logits_NC.float(), label_N, label_smoothing=SMOOTHING)
            for logits_NC, label_N in ((ahead, pictures.foreground_N), (behind, pictures.background_N))
        ]
        loss = losses[0] + losses[1] + FACTS_WEIGHT * F.smooth_l1_loss(facts.float(), pictures.facts_NF)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return Step(
            step=self.step,
            loss=loss.detach(),
            foreground=(ahead.argmax(1) == pictures.foreground_N).float().mean(),
            background=(behind.argmax(1) == pictures.background_N).float().mean(),
        )

    def _serialised(self) -> bytes:
        file = io.BytesIO()
        held = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({"recipe": asdict(self.recipe), "step": self.step, **held}, file)
        return file.getvalue()

    def _load(self) -> None:
        held: dict[str, Any] = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if held["recipe"] != asdict(self.recipe):
            raise UserError(f"{self.checkpoint} was made by another recipe; give another folder")
        self.network.load_state_dict(held["network"])
        self.optimizer.load_state_dict(held["optimizer"])
        self.step = held["step"]


def _share(step: int, steps: int) -> float:
    """Return the factor of the learning rate at a step: a linear increase, then half a cosine down."""
    rise = max(round(WARM_UP * steps), 1)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1))) / 2


def _side(recipe: Recipe, step: int) -> int:
    """Return the side of the pictures of a step: constant for the first half, then growing in equal shares."""
    late = max(2 * step / recipe.steps - 1, 0)
    grown: float = recipe.side * (recipe.last_side / recipe.side) ** late
    return round(grown / 16) * 16


def _mixed(seed: int, step: int) -> int:
    """Return a distinct seed for each step."""
    return seed * 1_000_003 + step
