"""Mistakes in what the user gave, and checks that raise them."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: reported in one line that says how to correct it, exit status 2.

    Messages name arguments in backquotes, as in `` `device='cuda'` ``; the command line shows them as its options.
    """


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise `UserError` for a value of an argument that is not among the allowed ones."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise UserError(f"`{name}` is {value!r}; choose one of {', '.join(allowed)}")
