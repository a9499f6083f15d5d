"""Early stopping: each setting's layer as it was when it scored best on validation rows.

S: settings. C: classes. D: features. R: settings that are still trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transfer.heads.adam import LayerStack

Array = npt.NDArray[Any]

N_EVALUATIONS = 20  # in a training of full length


def train_to_best(
    stack: LayerStack,
    score: Callable[[torch.Tensor, torch.Tensor], Array],
    *,
    n_steps: int,
    patience: int,
    drop: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, Array]:
    """Train all settings, keep the best layer of each, and stop once none has gained for some evaluations.

    Parameters
    ----------
    stack : LayerStack
        Layers of S settings, not yet trained.
    score : callable
        From weights (R, C, D) and biases (R, C) to scores on validation rows (R,); more is better.
    n_steps : int
        Steps of the optimiser at most. Layers are scored `N_EVALUATIONS` times on the way, at the last step too.
    patience : int
        A setting has stopped after so many evaluations in a row without a better score.
    drop : bool
        Whether settings that have stopped are trained no further. The result is the same.

    Returns
    -------
    weights_SCD, biases_SC : torch.Tensor
        Each setting's layer at its best evaluation, the first of equal ones.
    step_S : ndarray of int
        The steps taken until then.
    """
    weights_SCD, biases_SC = (part.clone() for part in stack.layers())
    n_settings = len(weights_SCD)
    best_S, best_evaluation_S = np.full(n_settings, -np.inf), np.zeros(n_settings, int)
    step_S, running_R = np.zeros(n_settings, int), np.arange(n_settings)
    done = 0
    for evaluation, step in enumerate(evaluation_steps(n_steps)):
        stack.train(step - done)
        done = step
        layers = stack.layers()
        score_R = score(*layers)
        age_R = evaluation - best_evaluation_S[running_R]
        better_R = (score_R > best_S[running_R]) & (age_R <= patience)
        better = running_R[better_R]
        for kept, new in zip((weights_SCD, biases_SC), layers, strict=True):
            kept[better] = new[better_R]
        best_S[better], best_evaluation_S[better], step_S[better] = score_R[better_R], evaluation, step
        stopped_R = evaluation - best_evaluation_S[running_R] >= patience
        if stopped_R.all():
            break
        if drop and stopped_R.any():
            stack.keep(torch.from_numpy(~stopped_R))
            running_R = running_R[~stopped_R]
    return weights_SCD, biases_SC, step_S


def evaluation_steps(n_steps: int) -> list[int]:
    """The steps after which layers are scored: evenly spaced, the last one among them."""
    every = max(1, n_steps // N_EVALUATIONS)
    return [*range(every, n_steps, every), n_steps]
