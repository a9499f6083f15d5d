"""Rows that are mapped from a file: every head answers to the last bit as on the same rows in memory."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transfer.config import RunConfig
from transfer.heads import linear_probe_classifier, mapped, multinomial
from transfer.heads.registry import METHODS
from transfer.heads.training import TrainingRows

LINEAR = ("fc-lab", "fc", "svm", "ridge", "logreg", "ncm")


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    monkeypatch.setattr(multinomial, "MOST_SAMPLED", 400)  # as if these were many
    rng = np.random.default_rng(0)
    y_N = rng.integers(0, 4, 900)
    x_ND = rng.normal(3, 2, (900, 24)).astype(np.float32) + rng.normal(0, 1, (4, 24)).astype(np.float32)[y_N]
    np.save(tmp_path / "x.npy", x_ND)
    return x_ND, np.load(tmp_path / "x.npy", mmap_mode="r"), y_N


def fit(name: str, x_ND: Any, y_N: Any) -> Any:
    search = METHODS[name].build(RunConfig(device="cpu", epochs=2))
    if name == "svm":
        search.set_params(kernels=("linear",), C=(0.01, 0.1), memory_gb=1e-6, extend=False)
    return search.fit(x_ND[:600], y_N[:600], x_ND[600:700], y_N[600:700])


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
def test_a_search_on_mapped_rows_ends_in_the_same_bits(name: str, rows: tuple[Any, Any, Any]) -> None:
    x_ND, mapped_ND, y_N = rows
    inside, outside = fit(name, x_ND, y_N), fit(name, mapped_ND, y_N)
    assert outside.best_params_ == inside.best_params_
    assert np.array_equal(outside.best_estimator_.coef_, inside.best_estimator_.coef_)
    assert np.array_equal(outside.best_estimator_.intercept_, inside.best_estimator_.intercept_)
    assert np.array_equal(outside.predict_each(mapped_ND[700:]), inside.predict_each(x_ND[700:]))
    assert np.array_equal(outside.predict(mapped_ND[700:]), inside.predict(x_ND[700:]))


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
def test_answers_do_not_depend_on_how_many_rows_are_read_at_a_time(
    name: str, rows: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x_ND, mapped_ND, y_N = rows
    inside = fit(name, x_ND, y_N)
    monkeypatch.setattr(mapped, "PART_BYTES", 4 * 24 * 50)
    outside = fit(name, mapped_ND, y_N)
    assert outside.best_params_ == inside.best_params_
    assert np.array_equal(outside.predict_each(mapped_ND[700:]), inside.predict_each(x_ND[700:]))


def test_mapped_rows_are_not_copied(rows: tuple[Any, Any, Any]) -> None:
    _, mapped_ND, y_N = rows
    prepared = TrainingRows.prepare(
        mapped_ND, y_N, np.arange(4), standardize=True, batch_size=8, device="cpu"
    )
    assert isinstance(prepared.x_ND, mapped.MappedRows)
    assert prepared.x_ND.x_ND is mapped_ND
    problem = multinomial.SpannedRows.of(mapped_ND, y_N, 1.0, standardize=True)
    assert isinstance(problem.z_NR, mapped.MappedRows)


def test_mapped_rows_stay_in_their_file_where_a_gpu_has_no_room_for_them_twice(
    rows: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, mapped_ND, y_N = rows
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (2 * mapped_ND.nbytes - 1, 10**12))
    prepared = TrainingRows.prepare(
        mapped_ND, y_N, np.arange(4), standardize=True, batch_size=8, device="cuda"
    )
    assert isinstance(prepared.x_ND, mapped.MappedRows)
    assert prepared.device == "cpu"


def test_more_features_than_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x_ND, y_N = rng.normal(size=(12, 40)).astype(np.float32), np.arange(12) % 3
    np.save(tmp_path / "x.npy", x_ND)
    mapped_ND = np.load(tmp_path / "x.npy", mmap_mode="r")
    for name in ("ridge", "logreg"):
        search = METHODS[name].build(RunConfig())
        inside = search.fit(x_ND, y_N, x_ND, y_N).best_estimator_.coef_.copy()
        assert np.array_equal(search.fit(mapped_ND, y_N, mapped_ND, y_N).best_estimator_.coef_, inside)


def test_rows_of_views_are_expected_where_they_lie(
    rows: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, mapped_ND, _ = rows
    asked = []

    class Mapping(mmap.mmap):
        def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
            asked.append((start, length))
            super().madvise(option, start, length)

    with Path(mapped_ND.filename).open("rb") as file:
        mapping = Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
    monkeypatch.setattr(mapped_ND, "_mmap", mapping)
    monkeypatch.setattr(mapped, "_address", lambda own: mapped_ND.ctypes.data - mapped_ND.offset)
    view = np.asarray(mapped_ND)[100:]
    mapped.MappedRows(view, view[0], view[0]).expect(np.array([0, 799]))
    starts = [mapped_ND.offset + 4 * 24 * row for row in (100, 899)]
    assert [start + length for start, length in asked] == [start + 4 * 24 for start in starts]
    assert all(
        start % mmap.PAGESIZE == 0 and start <= own for (start, _), own in zip(asked, starts, strict=True)
    )


def test_parts_cover_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "PART_BYTES", 4 * 10 * 7)
    assert [(part.start, part.stop) for part in mapped.parts(16, 10)] == [(0, 7), (7, 14), (14, 16)]
    assert len(list(mapped.parts(3, 10**9))) == 3


def test_a_layer_is_trained_on_mapped_rows(rows: tuple[Any, Any, Any]) -> None:
    x_ND, mapped_ND, y_N = rows
    head = linear_probe_classifier.FineTune(steps=30, device="cpu", class_weight="balanced")
    inside = head.fit(x_ND, y_N).coef_
    assert torch.equal(torch.from_numpy(inside), torch.from_numpy(head.fit(mapped_ND, y_N).coef_))


def test_batches_are_read_ahead_where_the_file_exceeds_memory(
    rows: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x_ND, mapped_ND, y_N = rows
    head = linear_probe_classifier.FineTune(epochs=2, batch_size=100, device="cpu")
    inside, expected = head.fit(x_ND, y_N).coef_, list[Any]()
    ask = mapped.MappedRows.expect
    monkeypatch.setattr(mapped, "available_bytes", lambda: 0)
    monkeypatch.setattr(
        mapped.MappedRows, "expect", lambda own, rows: (expected.append(rows), ask(own, rows))
    )
    assert np.array_equal(head.fit(mapped_ND, y_N).coef_, inside)
    for epoch in (expected[:9], expected[9:]):
        assert sorted(np.concatenate(epoch)) == list(range(900))
