"""File systems of fsspec, by the protocol of a URL; a package is imported only where a URL of it is named."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from transfer.system.errors import ServerError, UserError
from transfer.system.text import first_line

# What may be named, and the package that reads it; every other protocol of fsspec, and chains of them, are refused.
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
# Seconds until a server has answered at all, and until more of an answer has come.
CONNECT_S, READ_S = 3, 60
# Times that S3 is asked again where it fails, each after a longer pause; as often again where an answer breaks off.
ATTEMPTS, ANSWERS = 3, 2
CONNECTIONS = 64
# In an address: a user, a password, a query; the host says which server was asked.
_SECRETS = re.compile(r"(https?://)(?:[^\s'\"/]*@)?([^\s'\"?#]*)(?:[?#][^\s'\"]*)?")


def file_system(scheme: str) -> Any:
    """Return fsspec's file system of a protocol, one for all threads of a process; `UserError` without its package."""
    return _open(scheme, os.getpid())


@contextmanager
def server_errors(shown: str, *, hide: bool) -> Iterator[None]:
    """Raise `FileNotFoundError` for what is not there, and `ServerError` for every other fault of a file system.

    Parameters
    ----------
    shown : str
        The URL, for messages.
    hide : bool
        Whether errors may hold more of the URL than may be shown: what caused them is then left out of tracebacks.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # each library has errors of its own
        fault: BaseException = error
        if isinstance(error, FileNotFoundError):
            if shown.startswith("http") and error.__cause__:  # fsspec says so of every fault of HTTP
                fault = error.__cause__
            if isinstance(fault, FileNotFoundError) or getattr(fault, "status", None) == 404:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown) from None
        reason = getattr(fault, "strerror", None) or getattr(fault, "message", None) or first_line(fault)
        reason = _SECRETS.sub(r"\1\2", str(reason))
        raise ServerError(
            f"can't reach {shown}: {reason} ({type(fault).__name__}); what was computed is kept, run again"
        ) from (None if hide else error)


@lru_cache
def _open(scheme: str, process: int) -> Any:
    """Open a file system that keeps no listings; a child process needs connections of its own."""
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        import fsspec

        if scheme == "s3":
            settings = {
                "connect_timeout": CONNECT_S,
                "read_timeout": READ_S,
                "max_pool_connections": CONNECTIONS,
                "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            }
            # With more than one connection a file s3fs asks for the length of each file before it reads it.
            options |= {"config_kwargs": settings, "max_concurrency": 1}
        elif scheme.startswith("http"):
            from aiohttp import ClientTimeout

            timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
            options["client_kwargs"] = {"timeout": timeout}
        opened = fsspec.filesystem(scheme, **options)
        opened.retries = ANSWERS
        return opened
    except ImportError as error:
        package = PACKAGES[scheme]
        raise UserError(f"{scheme}:// needs {package}; install it (pip install {package})") from error
