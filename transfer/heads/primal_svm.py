"""Linear SVMs one against the rest, solved for the weights themselves: no Gram matrix, rows a chunk at a time.

N: training rows. B: rows of a chunk. U: rows with slack. D: features and, but for `X`, `coef`, `shift_D` and `scale_D`,
a one for the intercept. C: classes. P: machines, solved together.

The objective is that of `sklearn.svm.LinearSVC`: half the squared weights (the intercept's among them), and for every
row what its class costs times its squared slack, `max(0, 1 - sign * score)`. The method is that of Keerthi and
DeCoste 2005, "A Modified Finite Newton Method for Fast Solution of Large Scale Linear SVMs": Newton steps found by
conjugate gradients, each as long as is best. Here they are preconditioned by the second moments of the rows, which
all machines have in common, or by each machine's own Hessian where few of its rows have slack.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight

from transfer.heads.primal_problem import Hessians, PrimalMachines, PrimalRows, SecondMoments
from transfer.heads.products import multiply_few
from transfer.system.gpus import resolve_device

Array = npt.NDArray[Any]

GATHER_BYTES = 1 << 29  # up to which rows with slack are copied, so that products go through them alone
MACHINE_BYTES = 1 << 30  # for slacks, of every row and machine: more machines are solved group after group
TOLERANCE = 2e-5  # a machine is done when a whole Newton step gains less than this part of its objective
# It is not done where the slope promised more than this part: rows that gain slack on the way cut the step short, and
# the next one differs. Gains below what float32 resolves end it all the same.
PROMISED, RESOLVED = 1e-3, 1e-7
ENOUGH = 1e-3  # a Newton step is whole when this part of its squared residual is left
# Which rows have slack changes with every step, so the first ones are rough: measured, ten products were twice as
# fast as fifty. Where a machine gains less than SLOW they are no longer enough.
FEW_PRODUCTS, MORE_PRODUCTS, MAX_PRODUCTS, MAX_STEPS, SLOW = 10, 30, 320, 300, 0.02
# Machines are factored one by one where that takes no more operations than so many products with the rows, each at
# least as long as that of so many machines. Few rows have slack near the optimum; with large C, hundreds of products
# would be needed there.
FACTORED_PRODUCTS, FEWEST_MACHINES = 20, 16


def fit(
    X: Array, y: Array, settings: Sequence[tuple[float, Any]], standardize: bool, device: str
) -> list[tuple[Array, Array]]:
    """Fit linear SVMs, one class against the rest, for several C and class weights.

    Parameters
    ----------
    X : (N, D) float32
        May be a memory map: it is read in chunks, and never copied as a whole.
    y : (N,)
        Labels.
    settings : sequence of (C, class_weight)
        As in `sklearn.svm.LinearSVC`.
    standardize : bool
        Fit on features of mean 0 and deviation 1.
    device : {"auto", "cpu", "cuda"}

    Returns
    -------
    list of (coef, intercept)
        (C, D) and (C,) float32 for raw features. Two classes are one machine, (1, D), above zero for the first.
    """
    classes, codes_N = np.unique(y, return_inverse=True)
    device = resolve_device(device)
    own, rest = [], []
    for C, class_weight in settings:
        cost_C = C * compute_class_weight(class_weight, classes=classes, y=y)
        # As liblinear has it: of many classes, only the one that is set apart is weighted.
        own.append(cost_C if len(classes) > 2 else cost_C[:1])
        rest.append(np.full(len(classes), C) if len(classes) > 2 else cost_C[1:])
    n_machines = len(own[0])
    rows = PrimalRows.of(X, standardize, device)
    machines = PrimalMachines(
        torch.from_numpy(codes_N).to(device),
        torch.arange(n_machines, device=device).repeat(len(settings)),
        torch.tensor(np.concatenate(own), dtype=torch.float32, device=device),
        torch.tensor(np.concatenate(rest), dtype=torch.float32, device=device),
    )
    second = SecondMoments(rows)
    together = max(1, min(MACHINE_BYTES, rows.free_bytes // 2) // (20 * len(X)))
    w_DP = second.mean_DD.new_zeros(X.shape[1] + 1, len(machines.class_P))
    column_SC = torch.arange(len(machines.class_P), device=device).reshape(len(settings), n_machines)
    # The larger C, the more steps a solution takes from zero: each begins at that of the next smaller C.
    for C in sorted({C for C, _ in settings}):
        same = [s for s, setting in enumerate(settings) if setting[0] == C]
        for s in same:
            smaller = [
                (own, i) for i, (own, weight) in enumerate(settings) if own < C and weight == settings[s][1]
            ]
            if smaller:
                w_DP[:, column_SC[s]] = w_DP[:, column_SC[max(smaller)[1]]]
        for which_P in torch.split(column_SC[same].flatten(), together):
            w_DP[:, which_P] = solve(rows, machines.take(which_P), second, w_DP[:, which_P])
    # w . (scale * x + shift) + b, written as weights for x itself.
    coef_PD = (w_DP[:-1] * rows.scale_D[:, None]).T
    intercept_P = w_DP[-1] + rows.shift_D.double() @ w_DP[:-1]
    layers = coef_PD.float().cpu().numpy(), intercept_P.float().cpu().numpy()
    return list(zip(*(np.split(part, len(settings)) for part in layers), strict=True))


def solve(
    rows: PrimalRows, machines: PrimalMachines, second: SecondMoments, w_DP: torch.Tensor
) -> torch.Tensor:
    """Return weights (D, P) float64 of all machines, from those to begin at; the last row is intercepts."""
    n_machines = len(machines.class_P)
    slack_NP = torch.empty(len(rows.X), n_machines, device=w_DP.device)  # below zero where a row has none
    w_PD = w_DP.T.float()
    for part, x_BD in rows.chunks():
        slack_NP[part] = 1 - machines.signs(part) * multiply_few(x_BD, w_PD)
    solution_DP, live_P = w_DP.clone(), torch.arange(n_machines, device=w_DP.device)
    before_P, n_products = torch.full_like(w_DP[0], torch.inf), FEW_PRODUCTS
    found_P = cut_P = live_P < 0
    for _ in range(MAX_STEPS):
        loss_P, slope_DP = evaluate(rows, machines, w_DP, slack_NP)
        slow_P = before_P - loss_P <= TOLERANCE * loss_P
        left_P = ~(slow_P & found_P & ~(cut_P & (before_P - loss_P > RESOLVED * loss_P)))
        if not left_P.any():
            break
        if slow_P[left_P].any():
            n_products = min(2 * n_products, MAX_PRODUCTS)
        elif (before_P - loss_P < SLOW * loss_P).any():
            n_products = max(n_products, MORE_PRODUCTS)
        live_P, before_P, machines = live_P[left_P], loss_P[left_P], machines.take(left_P)
        w_DP, slope_DP, slack_NP = w_DP[:, left_P], slope_DP[:, left_P], slack_NP[:, left_P]
        step_DP, found_P = newton_step(rows, machines, slope_DP, slack_NP, second, n_products)
        cut_P = -(slope_DP * step_DP).sum(0) / 2 > PROMISED * before_P
        change_NP, step_PD = torch.empty_like(slack_NP), step_DP.T.float()
        for part, x_BD in rows.chunks():
            change_NP[part] = -machines.signs(part) * multiply_few(x_BD, step_PD)
        length_P = best_length(rows, machines, w_DP, step_DP, slack_NP, change_NP)
        w_DP = w_DP + length_P * step_DP
        slack_NP = slack_NP.addcmul_(change_NP, length_P.float())
        solution_DP[:, live_P] = w_DP
    else:
        warnings.warn(f"linear SVMs stopped after {MAX_STEPS} steps", ConvergenceWarning, stacklevel=2)
    return solution_DP


def evaluate(
    rows: PrimalRows, machines: PrimalMachines, w_DP: torch.Tensor, slack_NP: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Evaluate the objective and its gradient.

    Parameters
    ----------
    rows : PrimalRows
    machines : PrimalMachines
    w_DP : (D, P)
        Weights.
    slack_NP : (N, P)
        Slack of each row, below zero for rows without.

    Returns
    -------
    objective : (P,)
    gradient : (D, P)
    """
    loss_P, slope_DP = w_DP.square().sum(0) / 2, w_DP.clone()
    for part, x_BD in rows.chunks():
        slack_BP = slack_NP[part].clamp(min=0)
        pull_BP = machines.costs(part) * slack_BP
        loss_P += (pull_BP * slack_BP).sum(0)
        slope_DP -= 2 * (x_BD.T @ pull_BP.mul_(machines.signs(part)))
    return loss_P, slope_DP


def newton_step(
    rows: PrimalRows,
    machines: PrimalMachines,
    slope_DP: torch.Tensor,
    slack_NP: torch.Tensor,
    second: SecondMoments,
    n_products: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Newton steps, found by preconditioned conjugate gradients.

    They lead to where the gradient would be zero if no row gained or lost slack.

    Parameters
    ----------
    rows : PrimalRows
    machines : PrimalMachines
    slope_DP : (D, P)
        Gradients.
    slack_NP : (N, P)
    second : SecondMoments
        The preconditioner.
    n_products : int
        Largest number of products with the rows; after them the step found so far is taken.

    Returns
    -------
    step : (D, P)
    converged : (P,) bool
    """
    used_N = (slack_NP > 0).any(1)
    few = int(used_N.sum()) * len(slope_DP) * 4 <= min(GATHER_BYTES, rows.free_bytes // 4)
    used_N |= not few
    gathered = [(slice(None), rows.gather(used_N))] if few else None
    curve_UP = 2 * machines.costs(used_N) * (slack_NP[used_N] > 0)
    used_P, (n_used, n_machines), width = (curve_UP > 0).sum(0), curve_UP.shape, len(slope_DP)
    product = 4 * n_used * max(n_machines, FEWEST_MACHINES) * width
    if (
        gathered
        and Hessians.operations(used_P, width) <= FACTORED_PRODUCTS * product
        and Hessians.bytes(used_P, width) <= min(MACHINE_BYTES, rows.free_bytes // 4)
    ):
        precondition = Hessians(gathered[0][1], curve_UP).solve
    else:
        precondition = partial(second.solve, curve_UP.sum(0, dtype=torch.float64))
    step_DP, rest_DP = torch.zeros_like(slope_DP), -slope_DP
    toward_DP = near_DP = precondition(rest_DP)
    size_P = start_P = (rest_DP * near_DP).sum(0)
    for _ in range(n_products):
        going_P = size_P > ENOUGH * start_P
        if not going_P.any():
            break
        curved_DP, toward_PD = toward_DP.clone(), toward_DP.T.float()
        for part, x_BD in gathered or rows.chunks():
            curved_DP += x_BD.T @ multiply_few(x_BD, toward_PD).mul_(curve_UP[part])
        rate_P = torch.where(going_P, size_P / (toward_DP * curved_DP).sum(0), 0)
        step_DP += rate_P * toward_DP
        rest_DP = rest_DP - rate_P * curved_DP
        near_DP, before_P = precondition(rest_DP), size_P
        size_P = (rest_DP * near_DP).sum(0)
        toward_DP = near_DP + torch.where(going_P, size_P / before_P, 0) * toward_DP
    return step_DP, size_P <= ENOUGH * start_P


def best_length(
    rows: PrimalRows,
    machines: PrimalMachines,
    w_DP: torch.Tensor,
    step_DP: torch.Tensor,
    slack_NP: torch.Tensor,
    change_NP: torch.Tensor,
) -> torch.Tensor:
    """Return the length of each step that minimises the objective.

    Along a step the objective is convex and piecewise quadratic: Newton's method finds the zero of its slope, within an
    interval that is known to contain it.

    Parameters
    ----------
    rows : PrimalRows
    machines : PrimalMachines
    w_DP, step_DP : (D, P)
        Weights and steps.
    slack_NP, change_NP : (N, P)
        Slacks, and their changes by a step of length 1.

    Returns
    -------
    (P,)
    """
    along_P, square_P = (w_DP * step_DP).sum(0), step_DP.square().sum(0)
    low_P, high_P = torch.zeros_like(along_P), torch.full_like(along_P, torch.inf)
    length_P = torch.ones_like(along_P)
    for _ in range(30):
        slope_P, curve_P = along_P + length_P * square_P, square_P.clone()
        for part in rows.parts(len(along_P)):
            change_BP = change_NP[part]
            slack_BP = torch.addcmul(slack_NP[part], change_BP, length_P.float()).clamp_(min=0)
            pull_BP = 2 * machines.costs(part) * change_BP
            slope_P += (pull_BP * slack_BP).sum(0)
            curve_P += (pull_BP * change_BP * (slack_BP > 0)).sum(0)
        low_P = torch.where(slope_P < 0, length_P, low_P)
        high_P = torch.where(slope_P < 0, high_P, length_P)
        next_P = length_P - slope_P / curve_P.clamp(min=torch.finfo(curve_P.dtype).tiny)
        middle_P = torch.where(high_P.isinf(), 2 * length_P, (low_P + high_P) / 2)
        next_P = torch.where((next_P > low_P) & (next_P < high_P), next_P, middle_P)
        if ((next_P - length_P).abs() <= 1e-3 * length_P).all():
            break
        length_P = next_P
    return length_P
