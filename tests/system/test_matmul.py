from __future__ import annotations

import pytest

from transfer.system import matmul
from transfer.system.matmul import measure_matmul


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rate_is_positive(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "FIRST_SIZE", 64)
    rate = measure_matmul("cpu", precision, budget_s=0.0)
    assert rate is not None
    assert rate > 0


def test_the_fastest_product_of_all_sizes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "FIRST_SIZE", 16)
    monkeypatch.setattr(matmul, "LAST_SIZE", 32)
    clock = iter([0.0, 3.0, 3.0, 5.0, 5.0, 9.0, 10.0, 18.0, 18.0, 22.0, 22.0, 32.0])
    monkeypatch.setattr(matmul, "now", lambda device: next(clock))
    assert measure_matmul("cpu", "fp32", budget_s=1e9) == 2 * 32**3 / 4


def test_products_stop_before_they_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "FIRST_SIZE", 16)
    clock = iter([0.0, 1.0, 1.0, 2.0, 2.0, 3.0])
    monkeypatch.setattr(matmul, "now", lambda device: next(clock))
    assert measure_matmul("cpu", "fp32", budget_s=31.0) == 2 * 16**3


def test_int8_has_no_rate() -> None:
    assert measure_matmul("cpu", "int8") is None
