"""What code under test reports of its progress, and whether it keeps to the protocol."""

from __future__ import annotations

import itertools
from typing import Any


class Reports:
    """A `Progress` that keeps every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int, str]] = []
        self.shares: list[float | None] = []

    def __call__(self, phase: str, done: int, total: int, *more: Any) -> None:
        """Keep a call."""
        detail, _, share = (*more, *("", "", None)[len(more) :])
        assert share is None or 0 <= share <= 1
        self.shares.append(share)
        self.calls.append((phase, done, total, detail))

    def phases(self) -> list[str]:
        """Return the phases in order; each must have begun at 0, never gone backward and come to its end."""
        passes: list[list[tuple[str, int, int, str]]] = []
        for before, call in itertools.pairwise([None, *self.calls]):
            assert call is not None
            if before is None or before[0] != call[0] or before[1] == before[2]:
                passes.append([])
            passes[-1].append(call)
        for own in passes:
            done = [call[1] for call in own]
            assert done == sorted(done), own
            assert len({call[2] for call in own}) == 1, own
            assert (done[0], done[-1]) == (0, own[-1][2]), own
        return [own[0][0] for own in passes]
