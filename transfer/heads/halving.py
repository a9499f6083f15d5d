"""Successive halving: settings are trained together, and training of the worst ones stops early.

Jamieson and Talwalkar 2016, https://proceedings.mlr.press/v51/jamieson16.html.

S: settings. C: classes. D: features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch

from transfer.heads.batched_adam import LayerStack, redistribute

# After this part of the steps, this part of the settings continues.
RUNGS = ((0.25, 0.5), (0.5, 0.25))

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From weights (S, C, D) and biases (S, C) to losses (S,)."""


@dataclass
class Share:
    """The layers of some settings, trained from one seed in one thread."""

    seed: int
    settings: list[int]
    """Indices of the settings, in the order of the stack's layers."""
    stack: LayerStack


@dataclass(frozen=True)
class Trained:
    """A layer, and the number of steps that it was trained for."""

    weights_CD: torch.Tensor
    biases_C: torch.Tensor
    steps: int


def train_shares(
    shares: Sequence[Share], n_steps: int, pool: Executor, loss: Loss | None
) -> dict[tuple[int, int], Trained]:
    """Train all settings to the last step, or only the best of them by halving.

    Parameters
    ----------
    shares : sequence of Share
        Every setting once for each seed, not yet trained.
    n_steps : int
        Steps of the optimiser in a whole training.
    pool : Executor
        Its threads train the shares.
    loss : callable, optional
        The loss on validation rows by which settings are dropped, averaged over seeds. None trains all settings to the
        end.

    Returns
    -------
    dict of (int, int) to Trained
        The layers by setting and seed, as they were when they were last trained.
    """
    trained: dict[tuple[int, int], Trained] = {}
    on, done = list(dict.fromkeys(i for share in shares for i in share.settings)), 0
    for step, n_kept in rungs(n_steps, len(on), halve=loss is not None):
        losses: dict[int, list[float]] = {i: [] for i in on}

        def train(share: Share, n_more: int = step - done) -> list[float]:
            share.stack.train(n_more)
            return loss(*share.stack.layers()).tolist() if loss else [0.0] * len(share.settings)

        for share, loss_S in zip(shares, list(pool.map(train, shares)), strict=True):
            layers = zip(share.settings, loss_S, *share.stack.layers(), strict=True)
            for i, own, weights_CD, biases_C in layers:
                if i in losses:
                    trained[i, share.seed] = Trained(weights_CD.clone(), biases_C.clone(), step)
                    losses[i].append(own)
        done = step
        if n_kept < len(on):
            # A setting that diverged has no number as its loss, and comes last.
            order = np.argsort([np.mean(losses[i]) for i in on], kind="stable")
            on = sorted(on[i] for i in order[:n_kept])
            shares = _keep(shares, on)
    return trained


def rungs(n_steps: int, n_settings: int, *, halve: bool) -> Iterator[tuple[int, int]]:
    """Yield the steps until which settings are trained, and how many of them continue from there."""
    for part, kept in RUNGS if halve else ():
        if step := int(part * n_steps):
            yield step, math.ceil(kept * n_settings)
    yield n_steps, n_settings


def _keep(shares: Sequence[Share], on: Sequence[int]) -> list[Share]:
    """Distribute the settings that continue among the stacks; on a GPU the stacks stay as they are, at no cost."""
    if any(share.stack.is_cuda for share in shares):
        return list(shares)
    kept = []
    for seed in dict.fromkeys(share.seed for share in shares):
        own = [share for share in shares if share.seed == seed]
        before = [i for share in own for i in share.settings]
        redistribute([share.stack for share in own], [before.index(i) for i in on])
        kept += [Share(seed, list(on[k :: len(own)]), share.stack) for k, share in enumerate(own[: len(on)])]
    return kept
