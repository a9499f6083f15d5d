"""Cases of which `make test` runs a few and `make test-exhaustive` the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def split_cases(cases: Iterable[Any], usual: Collection[Any]) -> list[Any]:
    """All cases as parameters of a test; those that are not in `usual` are marked as exhaustive."""
    return [one if one in usual else pytest.param(one, marks=pytest.mark.exhaustive) for one in cases]
