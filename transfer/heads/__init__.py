"""Heads, which are trained on features, and their searches."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from transfer.heads.registry import HEADS


def __getattr__(name: str) -> Any:
    """Import a head or a search when it is first used."""
    if name in HEADS:
        return getattr(import_module(f"{__name__}.{HEADS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
