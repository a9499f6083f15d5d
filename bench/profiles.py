"""How much `make bench` times: the profiles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The amount of work that is timed."""

    rounds: int
    network_rounds: int
    """Rounds of what runs the network over images, where a round takes seconds."""
    more_s: float
    """Short operations get further rounds until all rounds have taken so many seconds."""
    images: int
    """Photographs of 240x800 that a processor extracts in a round."""
    images_cuda: int
    """Those that a GPU extracts: its batches have 128 images, and smaller ones are padded."""
    labelled: tuple[int, int, int]
    """Training, validation and test photographs of each of four classes, for whole runs."""
    rows: int
    """Training rows of the synthetic features; a tenth as many validate, three eighths are predicted."""
    backbone: str
    long_setups: bool
    """Whether to time engines that compile for half a minute, and runs with trials of engines."""
    emulated: bool = False
    """Whether bf16 is timed on a processor that only emulates it."""
    batches: tuple[int, ...] = ()
    """Batch sizes of forward passes, in addition to an engine's own."""


PROFILES = {
    # `quick` shows that every benchmark runs and is right; its times mean nothing.
    "quick": Profile(
        rounds=1,
        network_rounds=1,
        more_s=0,
        images=8,
        images_cuda=8,
        labelled=(4, 2, 4),
        rows=300,
        backbone="resnet18",
        long_setups=True,
    ),
    "fast": Profile(
        rounds=4,
        network_rounds=2,
        more_s=6,
        images=16,
        images_cuda=256,
        labelled=(3, 2, 3),
        rows=1024,
        backbone="resnet50",
        long_setups=False,
    ),
    "full": Profile(
        rounds=7,
        network_rounds=7,
        more_s=30,
        images=64,
        images_cuda=512,
        labelled=(20, 5, 10),
        rows=3474,
        backbone="resnet50",
        long_setups=True,
        emulated=True,
        batches=(1, 32),
    ),
}
