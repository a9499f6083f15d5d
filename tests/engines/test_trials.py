"""Trials as they are kept and shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from transfer.engines.trials import Trial, describe_trials, parse_trials

TRIAL = Trial(
    engine="openvino",
    precision="bf16",
    setup_s=1.0,
    images_per_s=26.7,
    cosine=0.9999,
    made_at=0.0,
    contention=None,
    share=0.853,
)


def shown(record: dict[str, Any]) -> str:
    declared = {"backbone": "resnet50", "size": [240, 800], "machine": "a processor"}
    return "\n".join(describe_trials([{"declared": declared, "trials": [record]}]))


def test_trials_are_read_as_they_were_kept() -> None:
    assert parse_trials([asdict(TRIAL)]) == [TRIAL]


def test_the_share_that_an_extraction_reached_is_shown() -> None:
    assert "extraction at 85% of the rate of products" in shown(asdict(TRIAL))


def test_trials_kept_without_a_share() -> None:
    record = asdict(TRIAL)
    del record["share"]
    assert "extraction" not in shown(record)
    assert parse_trials([record])[0].share is None


@pytest.mark.parametrize("share", ["much", float("inf"), [1]])
def test_a_share_that_is_no_number_leaves_the_trial_out(share: object) -> None:
    assert parse_trials([{**asdict(TRIAL), "share": share}]) == []
