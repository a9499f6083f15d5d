"""The parts of the measurement, the most valuable first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A part: the module of `bench.gpu` whose `measure` does it, and its share of the time."""

    name: str
    share: float


PARTS = (
    Spec(name="limits", share=0.10),
    Spec(name="forward", share=0.22),
    Spec(name="decoding", share=0.10),
    Spec(name="runs", share=0.20),
    Spec(name="searches", share=0.08),
    Spec(name="latency", share=0.06),
    Spec(name="suite", share=0.12),
    Spec(name="blocks", share=0.12),
)
