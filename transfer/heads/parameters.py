"""Checks of the parameters of heads and searches.

scikit-learn checks its own estimators in this way; its helper for that is private.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from transfer.system.errors import UserError

_COUNT = ("a whole number above 0", lambda value: isinstance(value, Integral) and int(value) > 0)
_WHOLE = ("a whole number from 0 up", lambda value: isinstance(value, Integral) and int(value) >= 0)
_ABOVE_0 = ("a number above 0", lambda value: 0 < value < math.inf)
_FROM_0 = ("a number from 0 up", lambda value: 0 <= value < math.inf)
# Text, such as `scale`, and None are left to the heads; a search has several values of a parameter.
RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("batch_size", "cosine_steps", "epochs", "k", "max_iter", "n_seeds"), _COUNT),
    **dict.fromkeys(("C", "alpha", "gamma", "lr"), _ABOVE_0),
    **dict.fromkeys(("min_steps", "n_landmarks", "steps"), _WHOLE),
    "memory_gb": ("a number above 0", lambda value: value > 0),
    **dict.fromkeys(("class_weight", "tol", "weight_decay"), _FROM_0),
    "kernels": ("names of kernels", lambda value: False),
}


def check_parameters(params: Mapping[str, Any]) -> None:
    """Check the values of parameters, by their names.

    Parameters
    ----------
    params : mapping
        As `get_params` returns them.

    Raises
    ------
    UserError
        For a value that no fit can use, and for a search's parameter without values.
    """
    for name, given in params.items():
        if name not in RULES:
            continue
        values = [given] if isinstance(given, str | Mapping) or not hasattr(given, "__len__") else given
        if not len(values):
            raise UserError(f"{name} is empty; give at least one value")
        wanted, allows = RULES[name]
        for value in values:
            numbers = value.values() if isinstance(value, Mapping) else [value]
            for number in numbers:
                if number is not None and not isinstance(number, str) and not _holds(allows, number):
                    raise UserError(f"{name} is {value!r}; give {wanted}")


def _holds(allows: Callable[[Any], bool], number: Any) -> bool:
    return isinstance(number, Real) and allows(number)
