"""What is trained on features: heads and their searches, imported when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from transfer.heads.registry import HEADS


def __getattr__(name: str) -> Any:
    """The heads themselves, imported when they are asked for."""
    if name in HEADS:
        return getattr(import_module(f"{__name__}.{HEADS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
