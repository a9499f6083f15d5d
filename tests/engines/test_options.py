from __future__ import annotations

import os

import pytest
import torch

from tests.refusals import refusal
from transfer import engines
from transfer.engines import eager, options
from transfer.engines.options import list_options, pick_device

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


def ways(engine: str, precision: str, device: str) -> set[tuple[str, str]]:
    found = list_options(engine, precision, device)
    assert len({plan.device for plan in found}) == 1
    return {(plan.engine, plan.precision) for plan in found}


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_leaves_every_engine_open_in_what_the_processor_multiplies(
    has_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(options, "has_bf16", lambda: has_bf16)
    precisions = ("fp32", "bf16") if has_bf16 else ("fp32",)
    names = ("eager", "openvino", "compile")
    assert ways("auto", "auto", "auto") == {(name, p) for name in names for p in precisions}
    first = list_options("auto", "auto", "auto")[0]
    assert (first.engine, first.precision, first.device) == ("eager", "fp32", "cpu")


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_takes_cuda_where_there_is_one(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return has_bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    half = "bf16" if has_bf16 else "fp16"
    assert ways("auto", "auto", "auto") == {
        (name, p) for name in ("eager", "compile") for p in ("fp32", half)
    }
    assert list_options("auto", "auto", "auto")[0].batch > list_options("auto", "auto", "cpu")[0].batch


@pytest.mark.parametrize("engine", ["eager", "openvino", "compile"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_is_kept(engine: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "has_bf16", lambda: False)
    assert ways(engine, precision, "cpu") == {(engine, precision)}


def test_int8_is_openvinos_and_only_when_asked_for() -> None:
    assert ways("auto", "int8", "cpu") == ways("openvino", "int8", "cpu") == {("openvino", "int8")}
    assert "int8" not in {precision for _, precision in ways("auto", "auto", "cpu")}


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [
        ("eager", "int8", "`engine='eager'` can't do `precision='int8'` on cpu; it can do fp32, bf16"),
        ("compile", "int8", "`engine='compile'` can't do `precision='int8'` on cpu; it can do fp32, bf16"),
        ("auto", "fp16", "`precision` is fp16, which processors only emulate; choose bf16 or fp32, or a GPU"),
        ("openvino", "fp16", "`precision` is fp16, which processors only emulate"),
    ],
)
def test_what_no_engine_can_do_is_reported(engine: str, precision: str, message: str) -> None:
    assert message in refusal(list_options, engine, precision, "cpu")


def test_what_is_for_processors_is_refused_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "`engine='openvino'` runs on processors only" in refusal(list_options, "openvino", "auto", "cuda")
    assert "`precision='int8'` runs on processors only" in refusal(list_options, "auto", "int8", "auto")
    assert ways("auto", "fp16", "auto") == {("eager", "fp16"), ("compile", "fp16")}


def test_without_openvino_the_others_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "installed_version", lambda name: None)
    assert {engine for engine, _ in ways("auto", "auto", "cpu")} == {"eager", "compile"}
    assert "pip install openvino" in refusal(list_options, "openvino", "auto", "cpu")
    assert "pip install openvino nncf" in refusal(list_options, "auto", "int8", "cpu")


def test_int8_needs_nncf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "installed_version", lambda name: "1" if name == "openvino" else None)
    assert "`precision='int8'` needs nncf: pip install nncf" in refusal(list_options, "auto", "int8", "cpu")
    assert ("openvino", "fp32") in ways("auto", "fp32", "cpu")


def test_a_plan_uses_no_more_threads_than_there_are_cores() -> None:
    for plan in list_options("auto", "auto", "cpu"):
        assert 1 <= plan.threads <= len(os.sched_getaffinity(0))
        assert plan.batch >= 1


@pytest.mark.parametrize(
    ("engine", "precision", "parts"),
    [
        ("warp", "auto", ["`engine`", "'warp'", "auto", "eager", "openvino", "compile"]),
        ("", "auto", ["`engine`", "''", "auto", "eager"]),
        ("auto", "fp64", ["`precision`", "'fp64'", "auto", "fp32", "bf16", "fp16", "int8"]),
        ("auto", "FP32", ["`precision`", "'FP32'", "auto", "fp32", "bf16", "fp16", "int8"]),
    ],
)
def test_an_unknown_choice_is_reported_with_the_allowed_ones(
    engine: str, precision: str, parts: list[str]
) -> None:
    message = refusal(list_options, engine, precision, "cpu")
    for part in parts:
        assert part in message


@without_cuda
@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_cuda_is_refused_where_there_is_none(precision: str) -> None:
    message = refusal(list_options, "auto", precision, "cuda")
    assert "`device` is cuda" in message
    assert "`device='cpu'`" in message


@pytest.mark.parametrize(
    ("asked", "available", "picked"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_devices_are_picked(
    asked: str, available: bool, picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device(asked) == picked


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "no compiler\nanywhere",
            r"eager fp32 fails here \(no compiler\); try `engine='eager', precision='fp32'`$",
        ),
        (
            "can't allocate memory: 12 bytes",
            r"eager fp32 fails here \(out of memory\); free memory, or use a ",
        ),
    ],
)
def test_an_engine_that_fails_is_reported_with_a_remedy(
    error: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError(error)

    monkeypatch.setattr(eager, "build", fails)
    with pytest.raises(engines.EngineError, match=message):
        engines.build(torch.nn.Identity(), list_options("eager", "fp32", "cpu")[0], (8, 8))
