from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from transfer.data.copies import join_groups
from transfer.data.random_splits import SPLITS, Codes
from transfer.data.splits import (
    TEST,
    TRAIN,
    VALID,
    SplitIndices,
    draw_repeats,
    draw_split,
    groups_across_splits,
    leave_group_out,
    shared_groups,
    split_shares,
)

SHARES = {"valid": 0.1, "test": 0.2}


def labels_of(*counts: int) -> Codes:
    """Labels of classes with these counts, in a random order."""
    labels_N = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels_N)


def count_untrained(labels_N: Codes, split: SplitIndices) -> int:
    """Test images with a class that has no training image in the split."""
    return int((~np.isin(labels_N[split.test], labels_N[split.train])).sum())


def names_of(labels_N: Codes) -> list[str]:
    return [f"class{label}" for label in range(int(labels_N.max()) + 1)]


def many_groups(n: int = 600, groups: int = 60) -> tuple[Codes, Codes]:
    """Labels of three unequal classes in groups that have about as many of each."""
    rng = np.random.default_rng(1)
    return rng.choice(3, n, p=[0.6, 0.3, 0.1]), rng.integers(0, groups, n)


def per_class(labels_N: Codes, rows: Codes) -> list[int]:
    return np.bincount(labels_N[rows], minlength=int(labels_N.max()) + 1).tolist()


def assert_partition(split: SplitIndices, n: int) -> None:
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(n))


def assert_disjoint(groups_N: Codes, split: SplitIndices) -> None:
    for first, second in ((TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)):
        assert not len(shared_groups(groups_N, split[first], split[second]))


class TestDrawSplit:
    def test_shares_hold_in_every_class(self) -> None:
        labels_N = labels_of(100, 40, 10)
        split = SplitIndices.from_codes(draw_split(labels_N, SHARES, classes=names_of(labels_N), seed=0))
        assert_partition(split, 150)
        assert per_class(labels_N, split.valid) == [10, 4, 1]
        assert per_class(labels_N, split.test) == [20, 8, 2]

    def test_a_class_is_drawn_from_its_name_wherever_it_stands(self) -> None:
        labels_N = labels_of(30, 20)
        first = draw_split(labels_N, SHARES, classes=["a", "b"], seed=4)
        swapped = draw_split(1 - labels_N, SHARES, classes=["b", "a"], seed=4)
        np.testing.assert_array_equal(first, swapped)
        assert (first != draw_split(labels_N, SHARES, classes=["a", "b"], seed=5)).any()

    @pytest.mark.parametrize("count", [3, 4, 5, 7])
    @pytest.mark.parametrize("shares", [SHARES, {"valid": 0.13, "test": 0.6}, {"valid": 0.45, "test": 0.45}])
    def test_a_class_of_three_is_in_all_splits(self, count: int, shares: Mapping[str, float]) -> None:
        labels_N = labels_of(50, count)
        split = SplitIndices.from_codes(draw_split(labels_N, shares, classes=["a", "b"], seed=0))
        assert min(per_class(labels_N, rows)[1] for rows in split) >= 1

    def test_groups_stay_together_and_classes_keep_their_shares(self) -> None:
        labels_N, groups_N = many_groups()
        split_N = draw_split(labels_N, SHARES, classes=names_of(labels_N), seed=0, groups_N=groups_N)
        split = SplitIndices.from_codes(split_N)
        assert_disjoint(groups_N, split)
        for rows, share in ((split.valid, 0.1), (split.test, 0.2)):
            drawn_C = np.array(per_class(labels_N, rows)) / np.bincount(labels_N)
            np.testing.assert_allclose(drawn_C, share, atol=0.05)

    def test_groups_are_drawn_by_the_seed_alone(self) -> None:
        labels_N, groups_N = many_groups()
        first, again, other = (
            draw_split(labels_N, SHARES, classes=names_of(labels_N), seed=seed, groups_N=groups_N)
            for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    @pytest.mark.slow
    def test_a_class_of_one_group_is_left_to_train(self) -> None:
        groups_N = np.repeat(np.arange(6), 20)
        labels_N = np.tile([0, 1], 60)
        labels_N[20:25] = 2  # in group 1 alone
        for seed in range(5):
            split_N = draw_split(labels_N, SHARES, classes=["a", "b", "c"], seed=seed, groups_N=groups_N)
            assert (split_N[groups_N == 1] == TRAIN).all()

    def test_of_two_groups_one_is_test_and_valid_is_drawn_by_image(self) -> None:
        groups_N = np.repeat([0, 1], [30, 70])
        labels_N = np.tile([0, 1], 50)
        split = SplitIndices.from_codes(
            draw_split(labels_N, SHARES, classes=["a", "b"], seed=0, groups_N=groups_N)
        )
        assert_partition(split, 100)
        np.testing.assert_array_equal(split.test, np.arange(30))  # closer to a fifth than the other group
        assert per_class(labels_N, split.valid) == [5, 5]

    def test_of_one_group_valid_is_drawn_by_image(self) -> None:
        labels_N = np.tile([0, 1], 50)
        split_N = draw_split(
            labels_N, {"valid": 0.1}, classes=["a", "b"], seed=0, groups_N=np.zeros(100, int)
        )
        assert per_class(labels_N, np.flatnonzero(split_N == VALID)) == [5, 5]
        assert not (split_N == TEST).any()

    def test_groups_need_not_be_counted_from_zero_without_gaps(self) -> None:
        labels_N, groups_N = many_groups()
        first, second = (
            draw_split(labels_N, SHARES, classes=names_of(labels_N), seed=0, groups_N=own_N)
            for own_N in (np.unique(groups_N, return_inverse=True)[1], groups_N * 7 + 3)
        )
        np.testing.assert_array_equal(first, second)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_the_folds_of_scikit_learn_are_the_same_for_every_seed() -> None:
    """Why groups are not drawn by `StratifiedGroupKFold`; should this fail, it may serve."""
    rng = np.random.default_rng(0)
    labels_N, groups_N = rng.choice(4, 900, p=[0.5, 0.3, 0.15, 0.05]), rng.choice(6, 900)
    folds = {
        frozenset(
            frozenset(groups_N[test].tolist())
            for _, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(
                labels_N, labels_N, groups_N
            )
        )
        for seed in range(10)
    }
    assert len(folds) == 1


class TestDrawRepeats:
    def test_repeats_are_stratified_and_differ(self) -> None:
        labels_N = labels_of(100, 40, 10, 3)
        repeats = draw_repeats(labels_N, 10, SHARES, seed=0)
        assert len({split.test.tobytes() for split in repeats}) == 10
        for split in repeats:
            assert_partition(split, 153)
            assert per_class(labels_N, split.valid) == [10, 4, 1, 1]
            assert per_class(labels_N, split.test) == [20, 8, 2, 1]

    def test_of_small_classes_train_is_served_first(self) -> None:
        labels_N = labels_of(20, 2, 1)
        for split in draw_repeats(labels_N, 5, SHARES, seed=0):
            assert [per_class(labels_N, rows)[1:] for rows in split] == [[1, 1], [0, 0], [1, 0]]

    def test_repeats_follow_from_the_seed_and_more_of_them_change_none(self) -> None:
        labels_N, groups_N = many_groups()
        for groups in (None, groups_N):
            few, more, other = (
                draw_repeats(labels_N, n, SHARES, seed=seed, groups_N=groups)
                for n, seed in ((3, 0), (5, 0), (3, 1))
            )
            assert [split.test.tolist() for split in few] == [split.test.tolist() for split in more[:3]]
            assert few[0].test.tolist() != other[0].test.tolist()

    def test_each_image_is_tested_about_as_often(self) -> None:
        labels_N = labels_of(50, 50)
        repeats = draw_repeats(labels_N, 200, SHARES, seed=0)
        tested_N = np.bincount(np.concatenate([split.test for split in repeats]), minlength=100)
        assert abs(tested_N - 40).max() < 25  # binomial: standard deviation 5.7

    def test_groups_stay_together_in_other_arrangements(self) -> None:
        labels_N, groups_N = many_groups(groups=6)
        repeats = draw_repeats(labels_N, 10, SHARES, seed=0, groups_N=groups_N)
        arranged = {tuple(frozenset(groups_N[rows].tolist()) for rows in split) for split in repeats}
        assert len(repeats) == len(arranged) == 10
        for split in repeats:
            assert_partition(split, len(labels_N))
            assert_disjoint(groups_N, split)
            assert count_untrained(labels_N, split) == 0

    @pytest.mark.slow
    def test_three_groups_have_six_arrangements(self) -> None:
        labels_N, groups_N = many_groups(groups=3)
        repeats = draw_repeats(labels_N, 10, SHARES, seed=0, groups_N=groups_N)
        assert sorted([int(groups_N[rows[0]]) for rows in split] for split in repeats) == [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ]

    def test_of_two_groups_each_is_test_once(self) -> None:
        labels_N, groups_N = many_groups(groups=2)
        repeats = draw_repeats(labels_N, 10, SHARES, seed=0, groups_N=groups_N)
        assert sorted(np.unique(groups_N[split.test]).tolist() for split in repeats) == [[0], [1]]
        for split in repeats:
            assert_partition(split, len(labels_N))
            assert len(split.valid) == pytest.approx(0.1 * len(labels_N), abs=3)

    def test_a_large_group_is_no_reason_to_have_empty_splits(self) -> None:
        groups_N = np.concatenate([np.zeros(900, int), np.arange(1, 11).repeat(10)])
        labels_N = np.tile([0, 1], 500)
        for split in draw_repeats(labels_N, 10, SHARES, seed=0, groups_N=groups_N):
            assert min(len(rows) for rows in split) >= 10
            assert_disjoint(groups_N, split)


class TestLeaveGroupOut:
    def test_each_group_is_test_once_and_valid_is_of_whole_groups(self) -> None:
        labels_N, groups_N = many_groups(groups=6)
        splits = leave_group_out(labels_N, groups_N, 0.2, seed=0)
        assert [np.unique(groups_N[split.test]).tolist() for split in splits] == [[g] for g in range(6)]
        for split in splits:
            assert_partition(split, len(labels_N))
            assert_disjoint(groups_N, split)
            assert len(np.unique(groups_N[split.valid])) == 1

    def test_with_few_groups_valid_is_drawn_by_image(self) -> None:
        labels_N, groups_N = many_groups(groups=3)
        for split in leave_group_out(labels_N, groups_N, 0.2, seed=0):
            assert not len(shared_groups(groups_N, split.train, split.test))
            assert len(np.unique(groups_N[split.valid])) == 2
            rest = np.concatenate([split.train, split.valid])
            shares = np.array(per_class(labels_N, split.valid)) / per_class(labels_N, rest)
            np.testing.assert_allclose(shares, 0.2, atol=0.03)

    def test_images_of_untrained_classes_stay_and_are_counted(self) -> None:
        groups_N = np.repeat(np.arange(5), 20)
        labels_N = np.tile([0, 1], 50)
        labels_N[:7] = 2  # in the first group alone
        splits = leave_group_out(labels_N, groups_N, 0.2, seed=0)
        assert [count_untrained(labels_N, split) for split in splits] == [7, 0, 0, 0, 0]
        assert [len(split.test) for split in splits] == [20] * 5


class TestCopies:
    """Copies of one image have one code."""

    LABELS_N = labels_of(60, 30, 8)
    DISTINCT_N = np.arange(98)
    # Pairs and triples of copies, most of them in two classes.
    COPIES_N = np.where(DISTINCT_N % 7 < 3, DISTINCT_N // 7, 100 + DISTINCT_N)

    @staticmethod
    def together(copies_N: Codes, split: SplitIndices) -> bool:
        return all(not np.intersect1d(copies_N[a], copies_N[b]).size for a, b in combinations(split, 2))

    def draw(self, copies_N: Codes | None, seed: int = 0) -> Codes:
        classes = names_of(self.LABELS_N)
        return draw_split(self.LABELS_N, SHARES, classes=classes, seed=seed, copies_N=copies_N)

    def test_without_copies_the_draws_are_the_same(self) -> None:
        np.testing.assert_array_equal(self.draw(None), self.draw(self.DISTINCT_N))
        np.testing.assert_array_equal(self.draw(None), self.draw(self.DISTINCT_N[::-1]))
        options = {"seed": 0, "copies_N": self.DISTINCT_N}
        for with_codes, without in zip(
            draw_repeats(self.LABELS_N, 3, SHARES, **options),
            draw_repeats(self.LABELS_N, 3, SHARES, seed=0),
            strict=True,
        ):
            for one, other in zip(with_codes, without, strict=True):
                np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("seed", range(5))
    def test_copies_are_in_one_split_and_shares_nearly_hold(self, seed: int) -> None:
        split = SplitIndices.from_codes(self.draw(self.COPIES_N, seed))
        assert_partition(split, 98)
        assert self.together(self.COPIES_N, split)
        assert [len(rows) / 98 for rows in split] == pytest.approx([0.7, 0.1, 0.2], abs=0.1)

    def test_a_class_without_copies_is_split_as_before(self) -> None:
        copies_N = self.DISTINCT_N.copy()
        first, second, third = np.flatnonzero(self.LABELS_N == 1)[:3]
        copies_N[second] = copies_N[third] = copies_N[first]
        others_N = self.LABELS_N != 1
        np.testing.assert_array_equal(self.draw(copies_N)[others_N], self.draw(None)[others_N])

    def test_repeats_keep_copies_together(self) -> None:
        for split in draw_repeats(self.LABELS_N, 6, SHARES, seed=0, copies_N=self.COPIES_N):
            assert_partition(split, 98)
            assert self.together(self.COPIES_N, split)

    @pytest.mark.parametrize("groups", [2, 3, 8])
    def test_repeats_keep_copies_and_their_groups_together(self, groups: int) -> None:
        labels_N, groups_N = many_groups(groups=groups)
        copies_N = np.arange(600)
        copies_N[[5, 50, 500]] = 5
        copies_N[10:20] = 10
        joined_N = join_groups(groups_N, copies_N)
        for split in draw_repeats(labels_N, 4, SHARES, seed=0, groups_N=joined_N, copies_N=copies_N):
            assert_partition(split, 600)
            assert self.together(copies_N, split)

    def test_groups_are_left_out_with_the_copies_of_their_images(self) -> None:
        labels_N, groups_N = many_groups(groups=4)
        copies_N = np.arange(600)
        one, other = np.flatnonzero(groups_N == 0)[0], np.flatnonzero(groups_N == 3)[0]
        copies_N[other] = copies_N[one]
        joined_N = join_groups(groups_N, copies_N)
        splits = leave_group_out(labels_N, joined_N, 0.1, seed=0, copies_N=copies_N)
        assert len(splits) == 3
        assert all(self.together(copies_N, split) for split in splits)


class TestGroupsAcrossSplits:
    def test_pairs_of_splits_that_share_groups_are_counted(self) -> None:
        split_N = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], np.uint8)
        groups_N = np.array([0, 1, 2, 1, 3, 1, 2, 2, 4])
        assert groups_across_splits(groups_N, split_N) == [
            ("train", "valid", 1, 1),
            ("train", "test", 2, 3),
            ("valid", "test", 1, 1),
        ]

    def test_nothing_is_said_of_groups_in_one_split(self) -> None:
        assert groups_across_splits(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 2], np.uint8)) == []


def test_shares_of_a_split_are_those_of_all_images() -> None:
    assert split_shares(np.array([0, 0, 0, 0, 0, 1, 2, 2], np.uint8)) == {"valid": 0.125, "test": 0.25}


def test_indices_of_a_split_are_ascending() -> None:
    split = SplitIndices.from_codes(np.array([2, 0, 1, 0], np.uint8))
    assert [rows.tolist() for rows in split] == [[1, 3], [2], [0]]
    assert SplitIndices._fields == SPLITS
