from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from transfer.data.dataset import Samples
from transfer.data.loader import IndexedImages
from transfer.data.names import Names
from transfer.data.random_splits import SPLITS
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
        Samples(
            Path("x"),
            Names.of(f"{i}.jpg" for i in range(n)),
            np.array(labels_N, np.int32),
            None if groups_N is None else np.array(groups_N, np.int32),
        ),
        np.array(split_N, np.uint8),
        np.zeros((n, 32), np.uint8),
        np.zeros((n, 2), np.int32),
    )


def test_parts_grow_hold_their_share_of_every_class_and_no_test_image() -> None:
    split_N = [0] * 120 + [1] * 60 + [2] * 30
    labels_N = ([0] * 100 + [1] * 20) + ([0] * 50 + [1] * 10) + [0, 1] * 15
    found = images(labels_N, split_N)
    parts = draw_parts(found, seed=0)
    test_N = found.split_N == SPLITS.index("test")
    assert not any(part[test_N].any() for part in parts)
    assert np.array_equal(parts[-1], ~test_N)
    for smaller, larger in pairwise(parts):
        assert not (smaller & ~larger).any()
    for share, part in zip(SHARES, parts, strict=True):
        for split, label, count in ((0, 0, 100), (0, 1, 20), (1, 0, 50), (1, 1, 10)):
            own_N = (found.split_N == split) & (found.label_N == label)
            assert part[own_N].sum() == math.ceil(share * count)


def test_parts_follow_from_the_seed() -> None:
    found = images([0, 1] * 50, [0] * 60 + [1] * 40)
    first, again, other = (draw_parts(found, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_groups_stay_whole_and_every_class_is_in_every_part() -> None:
    rng = np.random.default_rng(0)
    groups_N = np.repeat(np.arange(40), 5)
    labels_N = rng.integers(0, 3, 40)[groups_N]  # each group is of one class
    found = images(labels_N.tolist(), [0] * 150 + [1] * 50, groups_N.tolist())
    for share, part in zip(SHARES, draw_parts(found, seed=0), strict=True):
        taken_G = np.bincount(groups_N, part) / 5
        assert set(taken_G) <= {0.0, 1.0}
        assert set(labels_N[:150][part[:150]]) == {0, 1, 2}
        assert part.sum() <= 200 * share + 2 * 3 * 5
