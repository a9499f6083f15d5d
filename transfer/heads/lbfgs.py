"""L-BFGS with a preconditioner."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from scipy.linalg import get_blas_funcs

Array = npt.NDArray[Any]

# Steps that L-BFGS remembers.
HISTORY = 10
# Steps whose gain says whether to stop: single ones vary.
LAST_STEPS = 5
# Where no step gains anything, the share of the value that the slope promised and rounding does not explain.
UNREACHED = 1e-3


def minimise(
    objective: Callable[[Array], tuple[float, Array]],
    x: Array,
    precondition: Callable[[Array], Array] = lambda v: v,
    *,
    max_iter: int,
    tol: float,
) -> tuple[Array, int, bool]:
    """Minimise a smooth convex function by preconditioned L-BFGS.

    L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with steps halved until they descend enough (Armijo 1966); it ends
    when `LAST_STEPS` steps have gained less than `tol` of the value. SciPy's has no preconditioner, which saves most of
    the iterations.

    Parameters
    ----------
    objective : callable
        From a point to the value and the gradient.
    x : ndarray
        Starting point.
    precondition : callable
        A linear function that approximates the inverse second derivative.
    max_iter : int
    tol : float

    Returns
    -------
    x : ndarray
    n_iter : int
    converged : bool
    """
    value, slope = objective(x)
    (axpy,) = get_blas_funcs(("axpy",), (slope,))  # in place; NumPy makes an array of the product
    guessed = precondition(slope)  # of sums it is the sum, so that it is applied once an iteration
    steps: deque[tuple[Array, Array, Array, float]] = deque(maxlen=HISTORY)
    scale: Any = 1.0  # the guess is taken as it is until steps have shown better
    values = deque([value], maxlen=LAST_STEPS + 1)
    converged, n_iter = False, 0
    for n_iter in range(1, max_iter + 1):
        rest, direction = -slope, -guessed
        shares = []
        for moved, turned, guessed_turn, curvature in reversed(steps):
            shares.append(moved @ rest / curvature)
            rest = axpy(turned, rest, a=-shares[-1])
            direction = axpy(guessed_turn, direction, a=-shares[-1])
        direction *= scale
        for (moved, turned, _, curvature), share in zip(steps, reversed(shares), strict=True):
            direction = axpy(moved, direction, a=share - turned @ direction / curvature)
        descent, length = float(slope @ direction), 1.0
        if -descent <= tol / 100 * abs(value):  # no step could gain more
            return x, n_iter, True
        while True:
            new_value, new_slope = objective(x + length * direction)
            if new_value <= value + 1e-4 * length * descent or length < 1e-6:
                break
            length /= 2
        gain = value - new_value
        if gain <= 0:  # there is no better one in this precision
            return x, n_iter, bool(-descent <= UNREACHED * abs(value))
        moved, turned = length * direction, new_slope - slope
        new_guessed = precondition(new_slope)
        if moved @ turned > 0:
            steps.append((moved, turned, new_guessed - guessed, float(moved @ turned)))
            # As long as the last step shows to be right.
            scale = steps[-1][3] / (turned @ steps[-1][2])
        x, value, slope, guessed = x + moved, new_value, new_slope, new_guessed
        values.append(value)
        if len(values) > LAST_STEPS and values[0] - value <= tol * abs(value):
            converged = True
            break
    return x, n_iter, converged
