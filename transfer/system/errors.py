"""Mistakes in what the user gave, and checks that raise them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable

# What libraries say, in errors of their own, where they get no memory, Python where a thread gets
# no stack, and the loader where a library gets no room.
_NO_MEMORY = re.compile(
    r"can(no|')t allocate memory|bad_?alloc|can't start new thread|failed to map segment"
    r"|could not create a (primitive|memory object)$",  # oneDNN; of a shape it can't do it says "descriptor"
    re.IGNORECASE | re.MULTILINE,
)


class UserError(ValueError):
    """A mistake in what the user gave: reported in one line that says how to correct it, exit status 2.

    Messages name arguments in backquotes, as in `` `device='cuda'` ``; the command line shows them as its options.

    Examples
    --------
    >>> from transfer import RunConfig, UserError
    >>> try:
    ...     RunConfig(select="recall")
    ... except UserError as error:
    ...     print(error)
    `select` is 'recall'; choose one of accuracy, macro_f1
    """


class ServerError(UserError):
    """A server that can't be reached or fails, maybe from this machine alone."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the machine's memory, not that of a device, did not suffice."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def check_number(name: str, value: int, least: int, most: int) -> None:
    """Raise `UserError` unless a whole number lies between two others or is one of them.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value, least, most : int

    Raises
    ------
    UserError
        One line that names the value and what is allowed.
    """
    if not least <= value <= most:
        raise UserError(f"`{name}` is {value}; give a whole number from {least} to {most}")


def check_installed(package: str, what: str, requirement: str) -> None:
    """Raise `UserError` if a package is not installed; it is not imported.

    Parameters
    ----------
    package : str
        Name of its module.
    what : str
        What needs it, for the message.
    requirement : str
        What pip is to install.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs {package}; install it (pip install '{requirement}')")


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise `UserError` unless a value is one of those allowed.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : str
    allowed : iterable of str

    Raises
    ------
    UserError
        One line that names the value and all that are allowed.
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise UserError(f"`{name}` is {value!r}; choose one of {', '.join(allowed)}")
