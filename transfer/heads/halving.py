"""Successive halving: settings are trained together, and training of the worst ones stops early.

Jamieson and Talwalkar 2016, https://proceedings.mlr.press/v51/jamieson16.html.

S: settings. C: classes. D: features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import torch

from transfer.heads.batched_adam import LayerStack, redistribute

# After this part of the steps, this part of the settings continues.
RUNGS = ((0.25, 0.5), (0.5, 0.25))

Point = dict[str, float]
"""What a layer reaches on validation rows: `loss` and scores."""
Validate = Callable[[torch.Tensor, torch.Tensor], Sequence[Point]]
"""From weights (S, C, D) and biases (S, C) to a point for each setting."""


@dataclass
class Share:
    """The layers of some settings, trained from one seed in one thread."""

    seed: int
    settings: list[int]
    """Indices of the settings, in the order of the stack's layers."""
    stack: LayerStack


@dataclass(frozen=True)
class Trained:
    """A layer, the number of steps that it was trained for, and what it reached on the way."""

    weights_CD: torch.Tensor
    biases_C: torch.Tensor
    steps: int
    curve: list[Point] = field(default_factory=list)
    """Points with their `step`."""


def train_shares(
    shares: Sequence[Share],
    n_steps: int,
    pool: Executor,
    validate: Validate | None,
    *,
    halve: bool = True,
    n_points: int = 1,
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
    validate : callable, optional
        Scores layers on validation rows. None trains all settings to the end, without a curve.
    halve : bool
        Whether settings are dropped on the way by the `loss` of `validate`, averaged over seeds.
    n_points : int
        Number of equal parts of the steps after each of which settings are scored.

    Returns
    -------
    dict of (int, int) to Trained
        The layers by setting and seed, as they were when they were last trained.
    """
    trained: dict[tuple[int, int], Trained] = {}
    curves: dict[tuple[int, int], list[Point]] = {}
    on, done = list(dict.fromkeys(i for share in shares for i in share.settings)), 0
    halve, n_points = halve and validate is not None, n_points if validate else 1
    for step, n_kept in rungs(n_steps, len(on), halve=halve, n_points=n_points):
        losses: dict[int, list[float]] = {i: [] for i in on}
        some_stop = step == n_steps or n_kept < len(on)

        def train(share: Share, n_more: int = step - done) -> Sequence[Point]:
            share.stack.train(n_more)
            return validate(*share.stack.layers()) if validate else [{}] * len(share.settings)

        for share, point_S in zip(shares, list(pool.map(train, shares)), strict=True):
            layers = zip(share.settings, point_S, *share.stack.layers(), strict=True)
            for i, point, weights_CD, biases_C in layers:
                if i in losses:
                    curve = curves.setdefault((i, share.seed), [])
                    curve += [{"step": step, **point}] if point else []
                    losses[i].append(point.get("loss", 0.0))
                    if some_stop:
                        trained[i, share.seed] = Trained(weights_CD.clone(), biases_C.clone(), step, curve)
        done = step
        if n_kept < len(on):
            # A setting that diverged has no number as its loss, and comes last.
            order = np.argsort([np.mean(losses[i]) for i in on], kind="stable")
            on = sorted(on[i] for i in order[:n_kept])
            shares = _keep(shares, on)
    return trained


def rungs(n_steps: int, n_settings: int, *, halve: bool, n_points: int = 1) -> Iterator[tuple[int, int]]:
    """Yield the steps at which settings are scored, and how many of them continue from there."""
    kept = {int(part * n_steps): math.ceil(share * n_settings) for part, share in RUNGS if halve}
    points = {n_steps * k // n_points for k in range(1, n_points)}
    n_kept = n_settings
    for step in sorted((kept.keys() | points) - {0, n_steps}):
        n_kept = kept.get(step, n_kept)
        yield step, n_kept
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
