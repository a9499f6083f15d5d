from __future__ import annotations

import time

import pytest
import torch

from transfer.system.timer import Stopwatch, now


def test_every_pass_through_a_phase_is_kept() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch("sleep"):
            time.sleep(0.02)
    with watch("nothing"):
        pass
    assert list(watch.seconds) == ["sleep", "nothing"]
    assert len(watch.seconds["sleep"]) == 2
    assert min(watch.seconds["sleep"]) >= 0.02
    assert watch.last("nothing") == watch.seconds["nothing"][-1]
    assert watch.total() >= sum(map(sum, watch.seconds.values()))


def test_seconds_of_before_count_as_if_they_had_been_timed() -> None:
    watch = Stopwatch()
    watch.add("read", 1000.0)
    assert watch.seconds == {"read": [1000.0]}
    assert watch.total() >= 1000


def test_a_phase_that_fails_is_not_recorded() -> None:
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch("fails"):
        _ = 1 / 0
    assert watch.seconds == {}


def test_the_clock_waits_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    now("cpu")
    assert waited == []
    watch = Stopwatch("cuda")
    waited.clear()
    with watch("fit"):
        assert waited == ["cuda"]
    assert waited == ["cuda", "cuda"]
