"""What tests of several folders share: a recorded result, and the type of a fixture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

EXAMPLE = Path(__file__).parent / "recorded" / "result-v1.json"
"""A result of the first version of the schema."""
MakeImages = Callable[..., Path]
"""The fixture `make_images`."""
