"""What a linear SVM in the primal is solved from: rows in chunks, their second moments, one machine for each class.

N: training rows. B: rows of a chunk. U: rows with slack. D: features and, but for `X`, `shift_D` and `scale_D`, a one
for the intercept. P: machines, solved together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import gen_batches

from transfer.heads.linear import compute_moments
from transfer.system.hardware import available_bytes

Array = npt.NDArray[Any]

CHUNK_BYTES = 1 << 25  # what is read of the features, and of slacks, at a time
SAMPLE_ROWS = 8192  # that second moments are taken from


@dataclass(frozen=True)
class PrimalRows:
    """Training rows, standardised chunk by chunk on the device that computes: `x * scale + shift`."""

    X: Array
    shift_D: torch.Tensor
    scale_D: torch.Tensor
    free_bytes: int
    """Memory that was free when they were prepared."""

    @classmethod
    def of(cls, X: Array, standardize: bool, device: str) -> PrimalRows:
        """Compute the shift and scale of the rows, and move them to the device."""
        zero_D, free_bytes = torch.zeros(X.shape[1], device=device), available_bytes()
        if not standardize:
            return cls(X, zero_D, zero_D + 1, free_bytes)
        mean_D, deviation_D = (torch.from_numpy(values).to(device) for values in compute_moments(X))
        return cls(X, -mean_D / deviation_D, 1 / deviation_D, free_bytes)

    def parts(self, width: int) -> Iterator[slice]:
        """Yield the slices of chunks of rows of `width` numbers."""
        slices: Iterator[slice] = gen_batches(len(self.X), max(1, CHUNK_BYTES // (4 * width)))
        return slices

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the slice of each chunk, and its rows (B, D), which the next chunk overwrites."""
        width = self.X.shape[1]
        buffer_BD = self.shift_D.new_ones(next(self.parts(width)).stop, width + 1)
        for part in self.parts(width):
            # torch warns of memory that it may not write to, such as a map of a file that is only read.
            raw = np.require(self.X[part], requirements=("C", "W"))
            x_BD = buffer_BD[: len(raw)]
            raw_BD = torch.from_numpy(raw).to(buffer_BD.device)
            torch.addcmul(self.shift_D, raw_BD, self.scale_D, out=x_BD[:, :-1])
            yield part, x_BD

    def gather(self, used_N: torch.Tensor) -> torch.Tensor:
        """Return copies (U, D) of the rows that are used."""
        x_UD, end = self.shift_D.new_empty(int(used_N.sum()), self.X.shape[1] + 1), 0
        for part, x_BD in self.chunks():
            own_BD = x_BD[used_N[part]]
            x_UD[end : end + len(own_BD)] = own_BD
            end += len(own_BD)
        return x_UD


@dataclass(frozen=True)
class PrimalMachines:
    """The task of each machine: one class (`y_N`) against the rest, with the costs of slack on both sides."""

    y_N: torch.Tensor
    class_P: torch.Tensor
    own_P: torch.Tensor
    rest_P: torch.Tensor

    def take(self, which_P: torch.Tensor) -> PrimalMachines:
        """Return the machines that a mask (P,) selects."""
        return PrimalMachines(self.y_N, self.class_P[which_P], self.own_P[which_P], self.rest_P[which_P])

    def signs(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Return 1 for rows of a machine's class and -1 for others (B, P)."""
        return (self.y_N[rows, None] == self.class_P).float().mul_(2).sub_(1)

    def costs(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Return the costs of squared slack (B, P)."""
        return torch.where(self.y_N[rows, None] == self.class_P, self.own_P, self.rest_P)


class SecondMoments:
    """The mean products of every two features, used to precondition `(1 + weight * it) z = r` for many weights."""

    def __init__(self, rows: PrimalRows) -> None:
        step = max(1, len(rows.X) // SAMPLE_ROWS)
        sample = replace(rows, X=rows.X[::step])
        products = [(x_BD.T @ x_BD).double() for _, x_BD in sample.chunks()]
        self.mean_DD = torch.stack(products).sum(0) / len(sample.X)
        self._factors: dict[float, torch.Tensor] = {}

    def solve(self, weight_P: torch.Tensor, r_DP: torch.Tensor) -> torch.Tensor:
        """Return approximate solutions (D, P); weights are rounded to powers of 16, so that few factors are needed."""
        solved_DP, power_P = torch.empty_like(r_DP), (weight_P.log2() / 4).round() * 4
        for power in set(power_P.tolist()):
            if power not in self._factors:
                # float32 products of the rows leave errors of this order.
                floor = 1e-6 * torch.linalg.matrix_norm(self.mean_DD)
                system_DD = self.mean_DD * 2**power
                system_DD.diagonal().add_(1 + floor * 2**power)
                self._factors[power] = torch.linalg.cholesky(system_DD).float()
            own_P = power_P == power
            solved_DP[:, own_P] = torch.cholesky_solve(r_DP[:, own_P].float(), self._factors[power]).double()
        return solved_DP


class Hessians:
    """The second derivatives of each machine's objective, used to solve `hessian z = r`.

    A machine with fewer rows than features is solved in terms of its rows (Woodbury's identity).
    """

    def __init__(self, x_UD: torch.Tensor, curve_UP: torch.Tensor) -> None:
        """Factor the Hessian of every machine.

        Parameters
        ----------
        x_UD : (U, D)
            Rows.
        curve_UP : (U, P)
            Twice what slack costs; zero for rows without.
        """
        self._parts: list[tuple[torch.Tensor | None, torch.Tensor]] = []
        for curve_U in curve_UP.T:
            own_V = curve_U.nonzero()[:, 0]
            x_VD = x_UD[own_V].double() * curve_U[own_V, None].double().sqrt()
            few = len(x_VD) < x_VD.shape[1]
            system = x_VD @ x_VD.T if few else x_VD.T @ x_VD
            system.diagonal().add_(1)
            self._parts.append((x_VD if few else None, torch.linalg.cholesky(system)))

    def solve(self, r_DP: torch.Tensor) -> torch.Tensor:
        """Return solutions (D, P)."""
        solved = []
        for r_D, (x_VD, factor) in zip(r_DP.T[..., None], self._parts, strict=True):
            if x_VD is None:
                solved.append(torch.cholesky_solve(r_D, factor))
            else:
                solved.append(r_D - x_VD.T @ torch.cholesky_solve(x_VD @ r_D, factor))
        return torch.cat(solved, 1)

    @staticmethod
    def operations(used_P: torch.Tensor, width: int) -> float:
        """Return about how many operations the factors take, for rows with slack (P,) of `width` features."""
        small_P = used_P.clamp(max=width).double()
        return float((2 * used_P * width * small_P + small_P**3 / 3).sum())

    @staticmethod
    def bytes(used_P: torch.Tensor, width: int) -> float:
        """Return at most how much memory they take."""
        small_P = used_P.clamp(max=width).double()
        return float((8 * small_P * (width + small_P)).sum())
