from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.searches import Centroids
from tests.reports import Reports
from transfer.evaluation import fitting
from transfer.evaluation.fitting import FittedSearch, fit_in_turn
from transfer.system.errors import UserError
from transfer.system.timer import Stopwatch


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "rest", lambda: None)


@pytest.fixture
def splits() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    y_N = np.tile(np.arange(3), 10)
    x_ND = (rng.normal(size=(30, 4)) + 4 * np.eye(3, 4)[y_N]).astype(np.float32)
    part = SimpleNamespace(x_ND=x_ND, y_N=y_N)
    return dict.fromkeys(("train", "valid", "test"), part)


def never(name: str, error: UserError) -> None:
    raise error


def seconds(*values: float, predict: float = 0.0) -> FittedSearch:
    return FittedSearch(
        search=None,
        predicted_N=np.zeros(0, np.int64),
        fit_seconds=list(values),
        predict_seconds=[predict] * len(values),
    )


def test_a_short_fit_is_repeated_until_its_times_agree() -> None:
    assert not seconds(0.1).settled
    assert not seconds(0.1, 0.1).settled
    assert seconds(0.1, 0.1, 0.1).settled
    assert not seconds(0.1, 0.2, 0.3).settled
    assert seconds(*np.geomspace(0.001, 0.1, fitting.MAX_ROUNDS)).settled


def test_a_long_fit_is_made_once() -> None:
    assert seconds(fitting.TIMED_ONCE_S + 0.01).settled
    assert seconds(0.1, predict=fitting.TIMED_ONCE_S).settled


def test_fits_whose_times_do_not_agree_are_not_repeated_without_end() -> None:
    assert not seconds(0.1, 0.4).settled
    assert seconds(0.1, 0.4, 0.6).settled
    assert seconds(0.1, 0.2, predict=0.4).settled


def test_the_first_fit_counts() -> None:
    """What users wait for is the first one, whatever the later ones take."""
    assert seconds(3, 1, 2).fit_s == 2
    assert seconds(0.9).fit_s == 0.9


def test_searches_take_turns(splits: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[float] = []
    real = Centroids.fit

    def fit(self: Centroids, *args: Any) -> Centroids:
        order.append(self.shift)
        return real(self, *args)

    monkeypatch.setattr(Centroids, "fit", fit)
    unfitted = {"a": Centroids(shift=1.0), "b": Centroids(shift=2.0)}
    fitted = fit_in_turn(unfitted, splits, Stopwatch(), never)
    assert order[:6] == [1.0, 2.0] * 3
    assert list(fitted) == ["a", "b"]
    for one in fitted.values():
        assert fitting.MIN_ROUNDS <= len(one.fit_seconds) == len(one.predict_seconds) <= fitting.MAX_ROUNDS
        np.testing.assert_array_equal(one.predicted_N, one.search.predict(splits["test"].x_ND))


def test_every_fit_is_in_the_stopwatch(splits: dict[str, Any]) -> None:
    watch = Stopwatch()
    fitted = fit_in_turn({"a": Centroids(), "b": Centroids()}, splits, watch, never)
    kept = [second for one in fitted.values() for second in one.fit_seconds]
    assert sorted(kept) == sorted(watch.seconds["fit"])


def test_a_search_that_refuses_is_left_out(splits: dict[str, Any]) -> None:
    refused: list[str] = []
    fitted = fit_in_turn(
        {"a": Centroids(refuse=True), "b": Centroids()},
        splits,
        Stopwatch(),
        lambda name, error: refused.append(f"{name}: {error}"),
    )
    assert list(fitted) == ["b"]
    assert refused == ["a: these images are refused"]


def test_first_fits_are_reported_and_further_rounds_apart(splits: dict[str, Any]) -> None:
    reports = Reports()
    unfitted = {"a": Centroids(), "b": Centroids(refuse=True), "c": Centroids()}
    fitted = fit_in_turn(unfitted, splits, Stopwatch(), lambda *_: None, reports)
    phases = reports.phases()
    rounds = max(len(one.fit_seconds) for one in fitted.values())
    assert phases == ["fit"] + ["fit again"] * (rounds - 1)
    assert reports.calls[:4] == [
        ("fit", 0, 3, "a"),
        ("fit", 1, 3, "b"),
        ("fit", 2, 3, "c"),
        ("fit", 3, 3, ""),
    ]
    assert reports.calls[4] == ("fit again", 0, 2, "a")


def test_the_searches_given_stay_unfitted(splits: dict[str, Any]) -> None:
    search = Centroids()
    fit_in_turn({"a": search}, splits, Stopwatch(), never)
    assert not hasattr(search, "classes_")


@pytest.mark.slow
def test_collections_leave_older_objects_alone_for_a_while() -> None:
    def fail() -> None:
        with fitting.older_objects_kept():
            assert gc.get_freeze_count()
            with fitting.older_objects_kept():
                pass
            assert gc.get_freeze_count()
            raise ValueError("stop")

    assert not gc.get_freeze_count()
    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not gc.get_freeze_count()
