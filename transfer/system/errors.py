"""Mistakes in what the user gave, and checks that raise them."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: reported in one line that says how to correct it, exit status 2."""


def check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    """Raise `UserError` unless a value is one of those allowed.

    Parameters
    ----------
    what : str
        Name of the argument or flag, for the message.
    value : str
    allowed : iterable of str

    Raises
    ------
    UserError
        One line that names the value and all that are allowed.
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise UserError(f"{what} is {value!r}; choose one of {', '.join(allowed)}")
