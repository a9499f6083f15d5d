"""Linear SVMs one against the rest, solved for the weights themselves: no Gram matrix, rows a chunk at a time.

N: training rows. B: rows of a chunk. D: features and, last, a one for the intercept. P: machines, solved together.

The objective is that of `sklearn.svm.LinearSVC`: half the squared weights (the intercept's among them), and for every
row what its class costs times its squared slack, `max(0, 1 - sign * score)`. The method is that of Keerthi and
DeCoste 2005, "A Modified Finite Newton Method for Fast Solution of Large Scale Linear SVMs": Newton steps found by
conjugate gradients, each as long as is best. Here they are preconditioned by the second moments of the rows, which
all machines have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import compute_class_weight

Array = npt.NDArray[Any]

CHUNK_BYTES = 1 << 24  # in which a chunk's two products find it in the processor's cache
SAMPLE_ROWS = 8192  # that second moments are taken from
TOLERANCE = 1e-4  # a machine is done when a step gains less than this part of its objective
FORCING = 0.01  # what may be left of a Newton step's squared residual
MAX_STEPS, MAX_PRODUCTS = 100, 50


def fit(
    X: Array, y: Array, settings: Sequence[tuple[float, Any]], standardize: bool, device: str
) -> list[tuple[Array, Array]]:
    """For every C and class weight the weights (C, D) and intercepts (C,), float32, for raw features.

    Two classes are one machine, (1, D), above zero for the first. `X` float32 may be a memory map: it is read in
    chunks, and never copied whole.
    """
    classes, codes_N = np.unique(y, return_inverse=True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    own, rest = [], []
    for C, class_weight in settings:
        cost_C = C * compute_class_weight(class_weight, classes=classes, y=y)
        # As liblinear has it: of many classes, only the one that is set apart is weighted.
        own.append(cost_C if len(classes) > 2 else cost_C[:1])
        rest.append(np.full(len(classes), C) if len(classes) > 2 else cost_C[1:])
    n_machines = len(own[0])
    rows = Rows.of(X, standardize, device)
    machines = Machines(
        torch.from_numpy(codes_N).to(device),
        torch.arange(n_machines, device=device).repeat(len(settings)),
        torch.tensor(np.concatenate(own), dtype=torch.float32, device=device),
        torch.tensor(np.concatenate(rest), dtype=torch.float32, device=device),
    )
    w_DP = solve(rows, machines)
    # w . (scale * x + shift) + b, written as weights for x itself.
    coef_PD = (w_DP[:-1] * rows.scale_D[:, None]).T
    intercept_P = w_DP[-1] + rows.shift_D.double() @ w_DP[:-1]
    layers = coef_PD.float().cpu().numpy(), intercept_P.float().cpu().numpy()
    return list(zip(*(np.split(part, len(settings)) for part in layers), strict=True))


@dataclass(frozen=True)
class Rows:
    """Training rows, standardised chunk by chunk on the device that does the work."""

    X: Array
    shift_D: torch.Tensor
    scale_D: torch.Tensor

    @classmethod
    def of(cls, X: Array, standardize: bool, device: str) -> Rows:
        width = X.shape[1]
        raw = cls(X, torch.zeros(width, device=device), torch.ones(width, device=device))
        if not standardize:
            return raw
        # Sums about a mean that is nearly right keep the digits that the deviation needs.
        about_D = torch.from_numpy(X[: raw.chunk_rows].mean(0, dtype=np.float32)).to(device)
        sums = torch.zeros(2, width, dtype=torch.float64, device=device)
        for _, x_BD in Rows(X, -about_D, raw.scale_D).chunks():
            sums += torch.stack([x_BD[:, :-1].sum(0), x_BD[:, :-1].square().sum(0)])
        mean_D, square_D = sums / len(X)
        deviation_D = (square_D - mean_D.square()).clamp(min=0).sqrt()
        mean_D += about_D
        deviation_D[deviation_D <= 1e-7 * mean_D.abs()] = 1
        deviation_D[deviation_D == 0] = 1
        return cls(X, (-mean_D / deviation_D).float(), (1 / deviation_D).float())

    @property
    def chunk_rows(self) -> int:
        return max(1, CHUNK_BYTES // (4 * self.X.shape[1] + 4))

    def parts(self):
        for start in range(0, len(self.X), self.chunk_rows): yield slice(start, start+self.chunk_rows)

    def chunks(self, every: int = 1) -> Iterator[tuple[slice, torch.Tensor]]:
        """Where a chunk lies, and its rows (B, D); the next one takes their place. Of `every` so many rows, one."""
        X, size = self.X[::every], self.chunk_rows
        buffer = torch.ones(min(size, len(X)), X.shape[1] + 1, device=self.shift_D.device)
        for start in range(0, len(X), size):
            rows = slice(start, min(start + size, len(X)))
            raw = X[rows] if X.flags.writeable else X[rows].copy()  # torch warns of what it may not write to
            x_BD = buffer[: len(raw)]
            torch.addcmul(
                self.shift_D, torch.from_numpy(raw).to(buffer.device), self.scale_D, out=x_BD[:, :-1]
            )
            yield rows, x_BD


@dataclass(frozen=True)
class Machines:
    """What each machine separates: the rows of one class (`y_N`) from the rest, and what slack costs there and here."""

    y_N: torch.Tensor
    class_P: torch.Tensor
    own_P: torch.Tensor
    rest_P: torch.Tensor

    def take(self, which: torch.Tensor) -> Machines:
        return Machines(self.y_N, self.class_P[which], self.own_P[which], self.rest_P[which])

    def targets(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Signs and costs (B, P)."""
        own_BP = self.y_N[rows, None] == self.class_P
        return own_BP.float().mul_(2).sub_(1), torch.where(own_BP, self.own_P, self.rest_P)


def solve(rows: Rows, machines: Machines) -> torch.Tensor:
    """Weights (D, P) float64 of all machines, the last row their intercepts."""
    moments, n_machines = SecondMoments(rows), len(machines.class_P)
    w_DP = moments.second_DD.new_zeros(rows.X.shape[1] + 1, n_machines)
    slack_NP = torch.ones(len(rows.X), n_machines, device=w_DP.device)  # before it is cut at zero
    solution_DP, live_P = w_DP.clone(), torch.arange(n_machines, device=w_DP.device)
    for _ in range(MAX_STEPS):
        loss_P, slope_DP, weight_P = evaluate(rows, machines, w_DP, slack_NP)
        step_DP, change_NP = newton_step(rows, machines, slope_DP, slack_NP, weight_P, moments)
        search_line(machines, w_DP, step_DP, slack_NP, change_NP)
        solution_DP[:, live_P] = w_DP
        left = before_P - loss_P > TOLERANCE * loss_P if _ else loss_P > 0
        before_P = loss_P[left]
        if DEBUG: print(_, len(live_P), loss_P.sum().item(), (.5*slope_DP.square().sum(0)/loss_P).max().item(), 'gap median', (.5*slope_DP.square().sum(0)/loss_P).median().item())
        if not left.any():
            break
        live_P, machines = live_P[left], machines.take(left)
        w_DP, slack_NP = w_DP[:, left], slack_NP[:, left]
    return solution_DP

DEBUG = False

def evaluate(
    rows: Rows, machines: Machines, w_DP: torch.Tensor, slack_NP: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The objective (P,), its slope (D, P), and the summed costs of rows that have slack (P,)."""
    loss_P, slope_DP, weight_P = w_DP.square().sum(0) / 2, w_DP.clone(), torch.zeros_like(w_DP[0])
    for part, x_BD in rows.chunks():
        sign_BP, cost_BP = machines.targets(part)
        slack_BP = slack_NP[part].clamp(min=0)
        pull_BP = cost_BP * slack_BP
        loss_P += (pull_BP * slack_BP).sum(0)
        weight_P += (cost_BP * (slack_BP > 0)).sum(0)
        slope_DP -= 2 * (x_BD.T @ pull_BP.mul_(sign_BP))
    return loss_P, slope_DP, weight_P


def newton_step(
    rows: Rows,
    machines: Machines,
    slope_DP: torch.Tensor,
    slack_NP: torch.Tensor,
    weight_P: torch.Tensor,
    moments: SecondMoments,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A step (D, P) to where the slope would be zero if no row gained or lost slack, and how it changes slacks (N, P)."""
    step_DP, change_NP, rest_DP = torch.zeros_like(slope_DP), torch.zeros_like(slack_NP), -slope_DP
    toward_DP = near_DP = moments.solve(2 * weight_P, rest_DP)
    size_P = start_P = (rest_DP * near_DP).sum(0)
    product_NP = torch.empty_like(slack_NP)
    for _ in range(MAX_PRODUCTS):
        going_P = size_P > FORCING * start_P
        if not going_P.any():
            break
        curved_DP, toward32_DP = toward_DP.clone(), toward_DP.float()
        for part, x_BD in rows.chunks():
            cost_BP = machines.targets(part)[1]
            product_NP[part] = x_BD @ toward32_DP
            curved_DP += 2 * (x_BD.T @ (cost_BP * (slack_NP[part] > 0)).mul_(product_NP[part]))
        rate_P = torch.where(going_P, size_P / (toward_DP * curved_DP).sum(0), 0)
        step_DP += rate_P * toward_DP
        change_NP.addcmul_(product_NP, rate_P.float())
        rest_DP = rest_DP - rate_P * curved_DP
        near_DP = moments.solve(2 * weight_P, rest_DP)
        before_P, size_P = size_P, (rest_DP * near_DP).sum(0)
        toward_DP = near_DP + size_P / before_P * toward_DP
    if DEBUG: print('  cg', _)
    for part in rows.parts():
        change_NP[part] *= -machines.targets(part)[0]
    return step_DP, change_NP


def search_line(
    machines: Machines, w_DP: torch.Tensor, step_DP: torch.Tensor, slack_NP: torch.Tensor, change_NP: torch.Tensor
) -> torch.Tensor:
    """Go along each step as far as is best, changing `w_DP` and `slack_NP`; what that gains (P,).

    Along a step the objective is convex and made of pieces of parabolas: Newton's method on its derivative, kept
    between bounds.
    """
    first_P, second_P = (w_DP * step_DP).sum(0), step_DP.square().sum(0)
    low_P, high_P = torch.zeros_like(first_P), torch.full_like(first_P, torch.inf)
    length_P = torch.ones_like(first_P)
    for _ in range(30):
        slope_P, curve_P = first_P + length_P * second_P, second_P.clone()
        for start in range(0, len(slack_NP), PART):
            part = slice(start, start + PART)
            cost_BP = machines.targets(part)[1]
            along_BP = torch.addcmul(slack_NP[part], change_NP[part], length_P.float()).clamp_(min=0)
            pull_BP = cost_BP * change_NP[part]
            slope_P += 2 * (pull_BP * along_BP).sum(0)
            curve_P += 2 * (pull_BP * change_NP[part] * (along_BP > 0)).sum(0)
        low_P, high_P = torch.where(slope_P < 0, length_P, low_P), torch.where(slope_P < 0, high_P, length_P)
        if _ == 0: pass
        new_P = length_P - slope_P / curve_P
        mid = torch.where(high_P.isinf(), 2 * length_P, (low_P + high_P) / 2)
        new_P = torch.where((new_P > low_P) & (new_P < high_P), new_P, mid)
        if ((new_P - length_P).abs() <= 1e-3 * length_P).all(): break
        length_P = new_P
    gain_P = length_P
    w_DP += length_P * step_DP
    slack_NP.addcmul_(change_NP, length_P.float())
    return gain_P
PART=8192

class SecondMoments:
    """The mean product of every two features, and solutions of `(1 + weight * it) z = r` for many weights."""

    def __init__(self, rows: Rows) -> None:
        total_DD, count = torch.zeros(()), 0
        for _, x_BD in rows.chunks(every=max(1, len(rows.X) // SAMPLE_ROWS)):
            total_DD, count = total_DD + x_BD.T @ x_BD, count + len(x_BD)
        self.second_DD = total_DD.double() / count
        self._factors: dict[float, torch.Tensor] = {}

    def solve(self, weight_P: torch.Tensor, r_DP: torch.Tensor) -> torch.Tensor:
        """Solutions (D, P), roughly: weights are rounded to powers of sixteen, that few factors are needed."""
        solved_DP, power_P = torch.empty_like(r_DP), (weight_P.log2() / ROUND).round() * ROUND
        for power in power_P.unique().tolist():
            if power not in self._factors:
                system_DD = self.second_DD * 2**power
                system_DD.diagonal().add_(1)
                self._factors[power] = torch.linalg.cholesky(system_DD).float()
            own = power_P == power
            solved_DP[:, own] = torch.cholesky_solve(r_DP[:, own].float(), self._factors[power]).double()
        return solved_DP
ROUND=4.0
