from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transfer.data.dataset import SPLITS, Samples
from transfer.data.loader import IndexedImages
from transfer.evaluation.time_budget import FINALISTS, SHARES, Halving, Measured, draw_parts, halve
from transfer.system.errors import UserError

SIZES = (100, 200, 400, 800)


class Network:
    """Candidates of a letter each whose scores are set, on a clock that only they advance."""

    def __init__(self, scores: dict[str, float], images_per_s: float = 10.0) -> None:
        self.scores, self.images_per_s = scores, images_per_s
        self.spent_s, self.rounds = 0.0, list[tuple[str, int]]()

    def measure(self, name: str, number: int) -> Measured:
        if np.isnan(self.scores[name]):
            raise UserError("out of order")
        computed = SIZES[number] - (SIZES[number - 1] if number else 0)
        seconds = 1 + computed / self.images_per_s
        self.spent_s += seconds
        self.rounds.append((name, number))
        return Measured(
            score=self.scores[name],
            computed=computed,
            images_per_s=self.images_per_s,
            seconds=seconds,
            fixed_s=1,
        )

    def halve(self, budget_s: float) -> Halving:
        return halve(list(self.scores), SIZES, 1000, self.measure, lambda: self.spent_s, budget_s)


def test_the_worse_half_is_dropped_after_each_round() -> None:
    network = Network(dict(zip("abcdef", (0.1, 0.6, 0.3, 0.5, 0.2, 0.4), strict=True)))
    found = network.halve(1e9)
    assert [one.dropped for one in found.rounds] == [["c", "e", "a"], ["f"]]
    assert found.ranked == ["b", "d"]
    assert set(found.dropped) == set("caef")
    assert found.dropped["c"] == "0.300 in round 1, on 100 images; the least that was kept is 0.400"
    assert (found.stopped, found.not_reached, found.failed) == (None, [], {})
    assert found.missing("b") == 800


def test_two_candidates_are_ranked_by_one_round() -> None:
    network = Network({"a": 0.1, "b": 0.2})
    assert network.halve(1e9).ranked == ["b", "a"]
    assert network.rounds == [("a", 0), ("b", 0)]


def test_there_are_rounds_until_two_are_left() -> None:
    network = Network({chr(97 + i): i / 40 for i in range(26)})
    found = network.halve(1e9)
    assert [len(one.measured) for one in found.rounds] == [26, 13, 7, 4]
    assert len(found.ranked) == FINALISTS


def test_no_round_begins_that_the_time_does_not_suffice_for() -> None:
    # The first round takes 6 x 11 s, the second 3 x 11 s, and the best one's other 800 images 81 s.
    scores = dict(zip("abcdef", (0.1, 0.6, 0.3, 0.5, 0.2, 0.4), strict=True))
    assert Network(scores).halve(66 + 33 + 81).stopped is None
    found = Network(scores).halve(66 + 33 + 81 - 1)
    assert found.ranked == ["b", "d", "f"]
    assert found.stopped == (
        "a round on 200 images and the best candidate's other images would take 114 s more, and 66 of 179 s were used"
    )


def test_what_the_time_did_not_reach_in_the_first_round_is_named() -> None:
    found = Network({"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.9}).halve(30)
    assert found.ranked == ["b", "c"]
    assert found.not_reached == ["d"]
    assert list(found.dropped) == ["a"]
    assert found.stopped == "33 of 30 s were used within the round on 100 images"


def test_scores_of_a_round_that_was_not_finished_drop_nobody() -> None:
    network = Network({"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1, "e": 0.05, "f": 0.0})
    real, first = network.measure, 66

    def slower(name: str, number: int) -> Measured:
        found = real(name, number)
        if number:
            network.spent_s += 1000
        return replace(found, score=1 - found.score) if number else found

    found = halve(list("abcdef"), SIZES, 1000, slower, lambda: network.spent_s, first + 200)
    assert found.ranked == ["a", "b", "c"]
    assert [list(one.measured) for one in found.rounds] == [list("abcdef"), ["a"]]
    assert found.rounds[1].dropped == []
    assert found.stopped
    assert found.missing("a") == 800
    assert found.missing("b") == 900


def test_a_candidate_that_fails_is_no_candidate_any_more() -> None:
    found = Network({"a": float("nan"), "b": 0.3, "c": 0.2}).halve(1e9)
    assert found.failed == {"a": "out of order"}
    assert found.ranked == ["b", "c"]
    assert Network({"a": float("nan"), "b": float("nan")}).halve(1e9).ranked == []


def test_features_that_are_kept_cost_no_time() -> None:
    kept = Measured(score=0.5, computed=0, images_per_s=None, seconds=2.0, fixed_s=1.5)
    assert kept.predict(1_000_000) == 1.5


def images(labels_N: list[int], split_N: list[int], groups_N: list[int] | None = None) -> IndexedImages:
    n = len(labels_N)
    return IndexedImages(
        Samples.of(
            Path("x"),
            [f"{i}.jpg" for i in range(n)],
            np.array(labels_N, np.int32),
            None if groups_N is None else np.array(groups_N, np.int32),
        ),
        np.array(split_N, np.uint8),
        np.zeros((n, 32), np.uint8),
        np.zeros((n, 2), np.int32),
    )
