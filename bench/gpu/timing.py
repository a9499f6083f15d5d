"""Blocks of calls, timed by the clock and on the device itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from transfer.system.timer import now

WARM_UPS, ROUNDS = 2, 5
# Calls fill so much time between two looks at the clock, and no more rounds are made once these have passed.
BLOCK_S, ENOUGH_S = 0.1, 3.0


def time_blocks(call: Callable[[], Any], device: str) -> dict[str, Any]:
    """Time a call in blocks, synchronised at both edges of each: to wait after every call would slow short ones.

    Returns
    -------
    dict
        `seconds` of a call, a figure for each block, `calls` in a block, and on CUDA `device_seconds`, between events
        on the device's stream.
    """
    for _ in range(WARM_UPS):
        call()
    start = now(device)
    call()
    once_s = now(device) - start
    calls = max(1, math.ceil(BLOCK_S / once_s))
    seconds: list[float] = []
    on_device: list[float] = []
    begun = now(device)
    while len(seconds) < ROUNDS and (not seconds or now(device) - begun < ENOUGH_S):
        start = now(device)
        first, last = _event(device), _event(device)
        for event, count in ((first, calls), (last, 0)):
            if event is not None:
                event.record()
            for _ in range(count):
                call()
        seconds.append((now(device) - start) / calls)
        if first is not None:
            on_device.append(first.elapsed_time(last) / 1000 / calls)
    return {"seconds": seconds, "calls": calls, **({"device_seconds": on_device} if on_device else {})}


def _event(device: str) -> Any:
    return torch.cuda.Event(enable_timing=True) if device == "cuda" else None  # type: ignore[no-untyped-call]
