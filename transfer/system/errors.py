"""Mistakes in what the user gave, and checks that raise them."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: reported in one line that says how to correct it, exit status 2."""


def check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    """Raise `UserError` naming `value` and the `allowed` ones unless it is among them."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise UserError(f"{what} is {value!r}; choose one of {', '.join(allowed)}")
