"""Limits of a machine, and the shares of them that forward passes reach."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.studies import convolutions, limits, machine
from bench.studies.convolutions import REPEATED, RESNET50, Layers
from bench.studies.machine import FLOPS, IMAGES, Limit
from transfer.backbones import networks
from transfer.backbones.flops import count_flops


def row(operation: str, what: str, *per_s: float, precision: str = "bf16", **facts: Any) -> dict[str, Any]:
    return {"operation": operation, "what": what, "way": "a", "precision": precision, "per_s": per_s, **facts}


@pytest.mark.parametrize("kind", ["3x3", "1x1"])
def test_operations_of_layers_are_those_that_torch_counts(kind: str) -> None:
    layers = Layers(kind=kind, channels=8, shape=(5, 7), blocks=1)
    with FlopCounterMode(display=False) as counter:
        layers.network()(torch.zeros(2, layers.wide, 5, 7))
    assert counter.get_total_flops() == 2 * REPEATED * layers.flops


@pytest.mark.slow
def test_the_layers_are_most_of_the_network() -> None:
    whole = count_flops(networks.cut("resnet50")[0], (240, 800))
    assert 0.85 * whole < sum(layers.blocks * layers.flops for layers in RESNET50) < whole


def test_shares_are_of_the_better_library_and_the_fastest_rounds() -> None:
    rows = [row("convolution", str(layers), 1e12, 2e12) for layers in RESNET50]
    rows += [row("convolution", str(layers), 0.5e12) for layers in RESNET50]
    rows += [row("convolution", str(RESNET50[0]), 8e12, precision="int8")]
    rows += [row("product", "square matrices", 4e12, 3e12)]
    rows += [row("forward", "resnet50", 9.0, 10.0, batch=8, flops_per_image=10**11)]
    [share] = limits.shares(rows)
    assert share["flops_per_s"] == 1e12
    assert [share[name] for name in limits.COMPARED] == pytest.approx([0.5, 0.5, 0.25])


def test_a_forward_pass_without_limits_in_its_precision_has_no_shares() -> None:
    [share] = limits.shares([row("forward", "resnet50", 10.0, batch=8, flops_per_image=10**11)])
    assert [share[name] for name in limits.COMPARED] == [None] * 3


def test_what_fails_is_left_out_and_the_others_are_measured() -> None:
    def fail() -> Any:
        raise RuntimeError("no such product\nand more")

    seen: list[tuple[str, float]] = []
    common: dict[str, Any] = {"what": "w", "way": "a", "unit": FLOPS}
    found = limits.measured(
        [
            Limit(operation="bad", prepare=fail, **common),
            Limit(operation="late", prepare=lambda: fail, **common),
            Limit(operation="good", prepare=lambda: lambda: 2.0, **common),
        ],
        rounds=3,
        on_rate=lambda limit, rate: seen.append((limit.operation, rate)),
    )
    assert seen == [("good", 2.0)]  # of the first round
    assert [(one["operation"], one["per_s"]) for one in found["rates"]] == [("good", [2.0] * 3)]
    assert found["left_out"] == [{"what": what, "why": "no such product"} for what in ("bad w", "late w")]


def test_a_rate_is_an_amount_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.01, 1.0, 3.0])
    monkeypatch.setattr(machine, "now", lambda device: next(clock))
    monkeypatch.setattr(machine, "TIMED_S", 0.025)
    calls: list[int] = []
    rate = machine.timed(lambda: (lambda: calls.append(1), 10.0), "cpu")
    assert len(calls) == 2
    assert rate() == 3 * 10.0 / 2  # three calls of 0.01 s fill the time; they took two seconds
    assert len(calls) == 5


def test_layers_run_by_pytorch() -> None:
    layers = Layers(kind="1x1", channels=4, shape=(4, 4), blocks=1)
    call, operations = convolutions.by_pytorch(layers, "cpu", "fp32", batch=2)
    call()
    assert operations == 2 * REPEATED * layers.flops
    assert limits.UNITS[IMAGES][1] == "images/s"


def test_a_rate_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    limit = Limit(operation="product", what="rows", way="numpy", unit=FLOPS, precision="fp32", prepare=int)
    limits.print_rate(limit, 2.5e12)
    assert capsys.readouterr() == ("", "limits: product, rows fp32 numpy: 2.50 TFLOP/s\n")
