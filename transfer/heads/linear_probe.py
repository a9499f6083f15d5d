"""Search over settings of fine-tuning, trained together.

M: rows to predict. C: classes. S: settings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from transfer.heads.flushing import flushing_threads
from transfer.heads.grid import Setting
from transfer.heads.halving import RUNGS, Share, Trained, train_shares
from transfer.heads.linear import LinearSearch
from transfer.heads.linear_probe_classifier import FineTune
from transfer.heads.solutions import Solution, curve_columns, ranking
from transfer.heads.training import TrainingRows
from transfer.system.gpus import resolve_device
from transfer.system.timer import now

Array = npt.NDArray[Any]

# Points of a learning curve; the first number whose scoring takes no more than this share of the training is taken.
POINTS, POINTS_COST = (8, 4), 0.01


class FineTuneSearch(LinearSearch):
    """A search over settings of `FineTune`, trained together.

    A training takes `epochs` epochs or `min_steps` steps, whichever is more. With `halve`, half of the settings
    continue after a quarter of it and a quarter of them after half of it: those with the smallest cross entropy on the
    validation data, averaged over classes if `select` is `macro_f1`. Among the settings trained to the end, `select`
    decides.

    Parameters
    ----------
    lr, weight_decay, class_weight : sequence
        Values to try, as `FineTune` takes them.
    epochs, min_steps : int
        See above; `min_steps=0` trains exactly `epochs` epochs.
    cosine : bool
        Whether learning rates fall to zero along half a cosine in the course of a training.
    halve : bool
        See above; without it all settings are trained to the end.
    batch_size, standardize, device
        As in `FineTune`.
    select : {"macro_f1", "accuracy"}
        The score on the validation data by which a setting is chosen.
    extend : bool
        Whether learning rates and weight decays are added while the best one is an outermost one.
    seed, n_seeds : int
        Every setting is trained from `seed`, `seed + 1`, …, each with its own initial weights and order; the spread
        of its scores is due to chance. The setting with the best mean is chosen, and its best seed.

    Attributes
    ----------
    classes_, cv_results_, best_params_, best_estimator_, extended_, at_edge_
        As in `GridSearch`, with a row for each setting and seed. `params` are what `FineTune` needs to end in the
        same layer, apart from what all rows have in common: `lr`, `weight_decay`, `class_weight`; `steps`, unless all
        are trained for `epochs`; with a schedule `cosine_steps`; with several seeds `seed`. `fit_s` is a share of the
        time in which the row was trained together with others, proportional to its steps. `curve` holds lists of one
        length: `step`, and `loss` (None where it is not finite), `accuracy` and `macro_f1` on the validation data after
        these steps: where settings were dropped, and at four or eight points if that took 1 % of the training at most.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import FineTuneSearch
    >>> X, y = load_iris(return_X_y=True)
    >>> search = FineTuneSearch(lr=[1e-3, 1e-2]).fit(X[::2], y[::2], X[1::2], y[1::2])
    >>> search.best_estimator_
    FineTune(...)
    """

    HEAD = FineTune
    AXES: ClassVar = {"lr": "lr", "weight_decay": "weight_decay", "class_weight": "class_weight"}
    SCALES = ("lr", "weight_decay")
    LEAST_CLASSES = 1

    def __init__(
        self,
        *,
        lr: Sequence[float] = (1e-3, 1e-2, 1e-1),
        weight_decay: Sequence[float] = (0.0, 1.0),
        class_weight: Sequence[Any] = (None,),
        epochs: int = 10,
        min_steps: int = 500,
        cosine: bool = True,
        halve: bool = True,
        batch_size: int = 128,
        standardize: bool = True,
        select: str = "macro_f1",
        extend: bool = True,
        seed: int = 0,
        n_seeds: int = 1,
        device: str = "auto",
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.epochs = epochs
        self.min_steps = min_steps
        self.cosine = cosine
        self.halve = halve
        self.batch_size = batch_size
        self.standardize = standardize
        self.select = select
        self.extend = extend
        self.seed = seed
        self.n_seeds = n_seeds
        self.device = device

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Train every setting, and choose one by its score on the validation data.

        Parameters
        ----------
        X, X_valid : array or tensor of shape (n_samples, n_features)
            Rows that settings are trained on, and rows that they are scored on.
        y, y_valid : array of shape (n_samples,)
            Their labels.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used.
        """
        super().fit(X, y, X_valid, y_valid)
        self._rows = None  # layers are for raw features; the training rows need not be kept
        return self

    def _prepare(self, X: Array, codes_N: Array) -> TrainingRows:
        return TrainingRows.prepare(
            X,
            codes_N,
            self.classes_,
            standardize=self.standardize,
            batch_size=self.batch_size,
            device=self.device,
        )

    def _solve(
        self, rows: TrainingRows, settings: Sequence[Setting], valid: tuple[Array, Array]
    ) -> list[Solution]:
        start = now(rows.device)
        n_steps = max(self.min_steps, self.epochs * math.ceil(len(rows.x_ND) / self.batch_size))
        cosine_steps = n_steps if self.cosine else None
        # Scoring 130 rows took as long as 1.5 steps of 128 rows.
        affordable = POINTS_COST * n_steps * min(self.batch_size, len(rows.x_ND)) / (1.5 * len(valid[0]))
        scored = len(RUNGS) + 1 if self.halve else 0  # without extra points, and among them
        n_points = next((n for n in POINTS if n - scored <= affordable), 1)
        validate = None
        if self.halve or n_points > 1:
            validate = rows.validation(valid, balanced=self.select == "macro_f1")
        seeds = range(self.seed, self.seed + self.n_seeds)
        # A share of the settings for every core; a GPU takes all of them at once.
        n_threads = min(torch.get_num_threads() if rows.device == "cpu" else 1, len(settings) * len(seeds))
        own = [list(range(len(settings)))[k::n_threads] for k in range(min(n_threads, len(settings)))]

        def begin(job: tuple[int, list[int]]) -> Share:
            seed, share = job
            stack = rows.stack([settings[i] for i in share], seed=seed, cosine_steps=cosine_steps)
            return Share(seed, share, stack)

        with flushing_threads(n_threads) as pool:
            shares = list(pool.map(begin, itertools.product(seeds, own)))
            trained = train_shares(shares, n_steps, pool, validate, halve=self.halve, n_points=n_points)
        second_a_step = (now(rows.device) - start) / sum(one.steps for one in trained.values())
        return [
            self._solution(rows, setting, seed, trained[i, seed], n_steps, second_a_step)
            for i, setting in enumerate(settings)
            for seed in seeds
        ]

    def _solution(
        self,
        rows: TrainingRows,
        setting: Setting,
        seed: int,
        trained: Trained,
        n_steps: int,
        second_a_step: float,
    ) -> Solution:
        found: Setting = {"cosine_steps": n_steps} if self.cosine else {}
        if self.halve or self.min_steps:
            found["steps"] = trained.steps
        if self.n_seeds > 1:
            found["seed"] = seed
        layer = rows.fold(trained.weights_CD, trained.biases_C)
        return Solution(
            setting,
            layer,
            trained.steps * second_a_step,
            found,
            trained.steps == n_steps,
            curve_columns(trained.curve),
        )

    def _n_workers(self, n_rows: int) -> int:
        """Return 1 on a GPU: a process can capture one CUDA graph at a time."""
        return 1 if resolve_device(self.device) == "cuda" else super()._n_workers(n_rows)

    def _best(self, scored: Sequence[dict[str, float]], inside: Sequence[bool]) -> int:
        n = self.n_seeds
        groups = [scored[i : i + n] for i in range(0, len(scored), n)]
        means = [
            {name: float(np.mean([row[name] for row in group])) for name in group[0]} for group in groups
        ]
        first = super()._best(means, inside[::n])
        return first * n + ranking(groups[first], self.select)[0]
