"""Blocks and the last layer, trained on maps: AdamW, half a cosine, the best epoch on validation images.

Batch norm normalises by the statistics that it came with, and dropout is off, so that a training is the same whenever
it is made: with the network's earlier blocks frozen, on the same batches, it ends in the same weights.

N: images. C: classes. D: features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import compute_class_weight
from torch import nn

from transfer.finetuning.head import Head
from transfer.finetuning.memory import fitting_part
from transfer.finetuning.recipe import AUTOCAST, Recipe, without_tf32
from transfer.finetuning.rows import MapRows
from transfer.heads.solutions import ranking, validation_scores
from transfer.system.progress import Progress, silent
from transfer.system.row_storage import MakeRows, in_memory
from transfer.system.timer import now

# Seconds between two checkpoints within an epoch.
CHECKPOINT_S = 60.0

Tensors = dict[str, torch.Tensor]


class Training:
    """A training, which can be stopped after any step and continued.

    Parameters
    ----------
    rest : nn.Module
        The blocks, which take the maps of a `MapRows`; they are copied.
    head : Head
        From their features to logits; it is copied.
    recipe : Recipe
    train, valid : MapRows
        Labels are indices of the head's classes.
    class_weight : None, "balanced" or dict
        As in scikit-learn, of the loss.
    choose : callable
        Given the copied blocks, lets those parameters require gradients that are trained; all of them do before.

    Attributes
    ----------
    epoch, step : int
        Epochs that are done, and steps of the one after them.
    history : list of dict
        Of the beginning and of each epoch: `loss`, and on validation images `valid_loss`, `accuracy` and `macro_f1`.
    best : int
        The epoch whose weights are kept; 0 is the beginning.
    """

    def __init__(
        self,
        rest: nn.Module,
        head: Head,
        recipe: Recipe,
        train: MapRows,
        valid: MapRows,
        class_weight: Any = None,
        choose: Callable[[nn.Module], None] = lambda blocks: None,
    ) -> None:
        self.recipe, self.train, self.valid = recipe, train, valid
        self.rest = copy.deepcopy(rest).eval().requires_grad_(True)
        self.head = copy.deepcopy(head)
        for part in (self.rest, self.head):
            part.to(recipe.device).to(memory_format=torch.channels_last)
        self._part = fitting_part(self.rest, train.shapes, recipe)
        choose(self.rest)
        self.parameters = {
            name: value
            for prefix, part in (("", self.rest), ("head.", self.head))
            for name, value in part.named_parameters(prefix=prefix.rstrip("."))
            if value.requires_grad
        }
        self._optimizer = torch.optim.AdamW(self._groups(), fused=recipe.device == "cpu")
        self._scaler = torch.amp.GradScaler(recipe.device, enabled=recipe.precision == "fp16")
        classes = np.arange(self.head.linear.out_features)
        weights = compute_class_weight(class_weight, classes=classes, y=train.y_N)
        self._weight_C = torch.tensor(weights, dtype=torch.float32, device=recipe.device)
        self.epoch = self.step = self.best = 0
        self._loss_sum = 0.0
        self.history: list[dict[str, Any]] = []
        self.best_tensors: Tensors = {}

    def _groups(self) -> list[dict[str, Any]]:
        groups = []
        for base, is_head in ((self.recipe.lr_blocks, False), (self.recipe.lr_head, True)):
            own = [one for name, one in self.parameters.items() if name.startswith("head.") == is_head]
            for decay, few in ((self.recipe.weight_decay, False), (0.0, True)):
                found = [one for one in own if (one.ndim < 2) == few]
                groups.append({"params": found, "lr": base, "base": base, "weight_decay": decay})
        return groups

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the last of which may have fewer images."""
        return -(-len(self.train) // self.recipe.batch)

    def run(self, save: Callable[[], None] = lambda: None, on_progress: Progress = silent) -> None:
        """Train to the end.

        Parameters
        ----------
        save : callable
            Called after each epoch, and now and then within one.
        on_progress : Progress
            Called in the phase `train`.
        """
        if not self.history:
            self._end_epoch(None)
        while self.epoch < self.recipe.epochs:
            self.train_epoch(save, on_progress)
            loss = self._loss_sum / self.steps_per_epoch
            self.epoch, self.step, self._loss_sum = self.epoch + 1, 0, 0.0
            self._end_epoch(loss)
            save()
        on_progress("train", self._steps, self._steps, "", "steps")

    def train_epoch(self, save: Callable[[], None] = lambda: None, on_progress: Progress = silent) -> None:
        """Take the steps of an epoch that are left; arguments are those of `run`."""
        saved = now()
        batches = self._batches()[self.step :]
        for maps, y_N in self.train.batches(batches, self.recipe.device, AUTOCAST[self.recipe.precision]):
            self._report(on_progress)
            self._loss_sum += self._step(maps, y_N)
            self.step += 1
            if now() - saved > CHECKPOINT_S and self.step < self.steps_per_epoch:
                save()
                saved = now()

    @property
    def _steps(self) -> int:
        return self.recipe.epochs * self.steps_per_epoch

    def _report(self, on_progress: Progress) -> None:
        if not self.history:  # nothing is known yet
            return
        last, score = self.history[-1], self.recipe.select
        loss = f", loss {last['loss']:.3f}" if last["loss"] is not None else ""
        detail = f"epoch {self.epoch + 1} of {self.recipe.epochs}{loss}, {score.replace('_', ' ')} {last[score]:.3f}"
        on_progress("train", self.epoch * self.steps_per_epoch + self.step, self._steps, detail, "steps")

    def _batches(self) -> list[npt.NDArray[np.int64]]:
        """Return the batches of the epoch: an order and views of its own, whatever came before."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch])
        order = rng.permutation(len(self.train))
        order += len(self.train) * rng.integers(self.train.views, size=len(order))
        return [order[i : i + self.recipe.batch] for i in range(0, len(order), self.recipe.batch)]

    def _step(self, maps: list[torch.Tensor], y_N: torch.Tensor) -> float:
        """Take one step; return the loss of the batch before it."""
        factor = self.recipe.factor(self.epoch * self.steps_per_epoch + self.step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = factor * group["base"]
        total = self._weight_C[y_N].sum()
        loss = torch.zeros((), device=total.device)
        for i in range(0, len(y_N), self._part):
            part = slice(i, i + self._part)
            with without_tf32():
                logits_NC = self.head(self._features([one[part] for one in maps]))
                own = nn.functional.cross_entropy(logits_NC, y_N[part], self._weight_C, reduction="sum")
                self._scaler.scale(own / total).backward()  # type: ignore[no-untyped-call]
            loss += own.detach() / total
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        return float(loss)

    def _features(self, maps: list[torch.Tensor]) -> torch.Tensor:
        dtype = AUTOCAST[self.recipe.precision]
        with torch.autocast(self.recipe.device, dtype, enabled=dtype is not None):
            features: torch.Tensor = self.rest(*maps)
        return features

    def features(self, rows: MapRows, make_rows: MakeRows = in_memory) -> npt.NDArray[np.float32]:
        """Return features `(N, D)` of the images, in an array that `make_rows` makes."""
        places = np.arange(len(rows))
        batches = [places[i : i + self._part] for i in range(0, len(places), self._part)]
        x_ND = make_rows((len(rows), self.head.linear.in_features))
        with torch.inference_mode(), without_tf32():
            ready = rows.batches(batches, self.recipe.device, AUTOCAST[self.recipe.precision])
            for batch, (maps, _) in zip(batches, ready, strict=True):
                x_ND[batch[0] : batch[-1] + 1] = self._features(maps).float().cpu().numpy()
        return x_ND

    def _end_epoch(self, loss: float | None) -> None:
        """Score the validation images, and keep the weights where none before reached as much."""
        with torch.inference_mode():
            logits_NC = self.head(torch.from_numpy(self.features(self.valid)).to(self.recipe.device)).cpu()
            valid_loss = nn.functional.cross_entropy(logits_NC, torch.from_numpy(self.valid.y_N))
        scores = validation_scores(self.valid.y_N, logits_NC.argmax(1).numpy())
        self.history.append({"loss": loss, "valid_loss": float(valid_loss), **scores})
        self.best = ranking(self.history, self.recipe.select)[0]
        if self.best == self.epoch:
            self.best_tensors = {name: value.detach().clone() for name, value in self.parameters.items()}

    def take_best(self) -> None:
        """Put the weights of the best epoch into the blocks and the last layer."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(self.best_tensors[name])

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return all that a training continues from: tensors, and numbers as JSON."""
        tensors: Tensors = {}
        for name, value in self.parameters.items():
            tensors[f"now/{name}"] = value.detach()
            tensors[f"best/{name}"] = self.best_tensors[name]
            tensors |= {f"{key}/{name}": one for key, one in self._optimizer.state[value].items()}
        numbers = {
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best,
            "loss_sum": self._loss_sum,
            "history": self.history,
            "scaler": self._scaler.state_dict(),
        }
        return tensors, numbers

    def result(self) -> tuple[Tensors, dict[str, Any]]:
        """Return the weights of the best epoch, and `best` and `history`."""
        return self.best_tensors, {"best": self.best, "history": self.history}

    def restore(self, tensors: Tensors, numbers: dict[str, Any]) -> None:
        """Continue where another training of the same recipe and images was."""
        self.epoch, self.step, self.best = numbers["epoch"], numbers["step"], numbers["best"]
        self._loss_sum, self.history = numbers["loss_sum"], numbers["history"]
        self._scaler.load_state_dict(numbers["scaler"])
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(tensors[f"now/{name}"])
                self.best_tensors[name] = tensors[f"best/{name}"].to(value.device)
                own = {
                    key: tensors[f"{key}/{name}"]
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{key}/{name}" in tensors
                }
                if own:
                    self._optimizer.state[value] = {
                        key: one.clone() if key == "step" else torch.empty_like(value).copy_(one)
                        for key, one in own.items()
                    }
