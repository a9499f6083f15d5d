from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits

from transfer.data.near_duplicates import SHARE_OF_FIFTH, NearDuplicates, find_near_duplicates

Features = npt.NDArray[np.float32]
COUNTS = (120, 30, 50)
SPLIT = np.repeat(np.arange(3, dtype=np.uint8), COUNTS)
TRAIN, VALID, TEST = np.split(np.arange(sum(COUNTS)), np.cumsum(COUNTS)[:-1])
# Of what the rows of `features` are.
LABELS = np.random.default_rng(5).integers(0, 4, sum(COUNTS))


def features(spread: float = 0.2, d: int = 32) -> Features:
    """Positive features in a cluster for each class."""
    rng = np.random.default_rng(0)
    x_ND = rng.uniform(0, 1, (4, d))[LABELS] + spread * rng.standard_normal((len(LABELS), d))
    return np.abs(x_ND).astype(np.float32)


def perturbed(x_ND: Features, scale: float = 0.01) -> Features:
    noise = np.random.default_rng(9).standard_normal(x_ND.shape)
    return (x_ND + scale * noise).astype(np.float32)


def counts(found: list[NearDuplicates]) -> dict[tuple[str, str], int]:
    return {(pair.first, pair.second): pair.found for pair in found}


def test_images_of_one_class_are_no_near_duplicates() -> None:
    found = find_near_duplicates(features(), LABELS, SPLIT)
    assert counts(found) == {("train", "valid"): 0, ("train", "test"): 0, ("valid", "test"): 0}
    assert [pair.compared for pair in found] == [30, 50, 50]
    assert all(pair.pairs == () for pair in found)


def test_perturbed_copies_are_found_and_named() -> None:
    x_ND = features()
    x_ND[VALID[:4]] = perturbed(x_ND[TRAIN[10:14]])
    x_ND[TEST[:7]] = perturbed(x_ND[TRAIN[20:27]])
    x_ND[TEST[10:12]] = perturbed(x_ND[VALID[8:10]])
    found = find_near_duplicates(x_ND, LABELS, SPLIT, pairs=10)
    assert counts(found) == {("train", "valid"): 4, ("train", "test"): 7, ("valid", "test"): 2}
    assert set(found[0].pairs) == set(zip(TRAIN[10:14], VALID[:4], strict=True))
    assert set(found[1].pairs) == set(zip(TRAIN[20:27], TEST[:7], strict=True))
    assert set(found[2].pairs) == set(zip(VALID[8:10], TEST[10:12], strict=True))


def test_the_nearest_pairs_are_named_first() -> None:
    x_ND = features()
    x_ND[TEST[:3]] = np.concatenate(
        [perturbed(x_ND[TRAIN[i : i + 1]], scale) for i, scale in enumerate((0.02, 0.001, 0.01))]
    )
    pairs = find_near_duplicates(x_ND, LABELS, SPLIT, pairs=2)[1].pairs
    assert pairs == ((TRAIN[1], TEST[1]), (TRAIN[2], TEST[2]))


def test_scale_of_an_image_plays_no_part() -> None:
    x_ND = features()
    x_ND[TEST[0]] = 7 * x_ND[TRAIN[0]]
    assert find_near_duplicates(x_ND, LABELS, SPLIT)[1].pairs == ((TRAIN[0], TEST[0]),)


def test_frames_of_which_many_are_alike_are_found() -> None:
    x_ND = features()
    frames = np.concatenate([TRAIN[:20], TEST[:20]])
    x_ND[frames] = perturbed(np.repeat(x_ND[:1], len(frames), axis=0), 0.005)
    assert counts(find_near_duplicates(x_ND, LABELS, SPLIT))["train", "test"] == 20


def test_the_answer_is_that_of_all_distances() -> None:
    x_ND = features()
    x_ND[TEST[:20]] = perturbed(x_ND[TRAIN[:20]], 0.15)
    unit_ND = (x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)).astype(np.float64)
    distance_MN = np.linalg.norm(unit_ND[TEST][:, None] - unit_ND[TRAIN][None], axis=2)
    nearest_MN = np.sort(distance_MN, axis=1)
    same_NN = (LABELS[:, None] == LABELS[None]) & ~np.eye(len(LABELS), dtype=bool)
    median = np.median(np.linalg.norm(unit_ND[:, None] - unit_ND[None], axis=2)[same_NN])
    near_M = (nearest_MN[:, 0] < SHARE_OF_FIFTH * nearest_MN[:, 4]) & (nearest_MN[:, 0] < 0.5 * median)
    expected = int(near_M.sum())
    assert 0 < expected < 20
    assert counts(find_near_duplicates(x_ND, LABELS, SPLIT))["train", "test"] == expected


def test_of_many_images_a_sample_is_compared() -> None:
    x_ND = features()
    x_ND[TEST] = perturbed(x_ND[TRAIN[: len(TEST)]])
    found = find_near_duplicates(x_ND, LABELS, SPLIT, most_compared=10)
    assert [(pair.compared, pair.found) for pair in found[:2]] == [(10, 0), (10, 10)]
    assert len({second for _, second in found[1].pairs}) == 5
    assert all(first == second - TEST[0] for first, second in found[1].pairs)


@pytest.mark.parametrize("n_train", [1, 2, 4])
def test_few_images_are_compared_too(n_train: int) -> None:
    x_ND, labels_N = features()[: n_train + 2], np.zeros(n_train + 2, int)
    split_N = np.array([0] * n_train + [2, 2], np.uint8)
    x_ND[-1] = x_ND[0]
    (pair,) = find_near_duplicates(x_ND, labels_N, split_N)
    assert (pair.first, pair.second, pair.found) == ("train", "test", 1)
    assert pair.pairs == ((0, n_train + 1),)


def test_images_without_features_are_alike_and_no_error() -> None:
    found = find_near_duplicates(np.zeros((200, 32), np.float32), LABELS, SPLIT)
    assert sum(counts(found).values()) == 0


def test_few_handwritten_digits_are_called_near_duplicates() -> None:
    x_ND, y_N = load_digits(return_X_y=True)
    split_N = np.random.default_rng(0).choice(3, len(x_ND), p=[0.7, 0.1, 0.2]).astype(np.uint8)
    for pair in find_near_duplicates(x_ND.astype(np.float32), y_N, split_N):
        assert pair.found <= 0.05 * pair.compared


@pytest.mark.slow
def test_photographs_of_another_day_are_no_near_duplicates(boat_features: dict[str, np.ndarray]) -> None:
    parts = [boat_features[f"x_{split}"].astype(np.float32) for split in ("train", "valid", "test")]
    split_N = np.repeat(np.arange(3, dtype=np.uint8), [len(part) for part in parts])
    x_ND = np.concatenate(parts)
    y_N = np.concatenate([boat_features[f"y_{split}"] for split in ("train", "valid", "test")])
    rng = np.random.default_rng(0)
    assert counts(find_near_duplicates(x_ND, y_N, split_N))["train", "test"] == 0
    spread_D = x_ND.std(axis=0)
    first = rng.choice(len(parts[0]), 20, replace=False)
    second = rng.choice(np.flatnonzero(split_N == 2), 20, replace=False)
    x_ND[second] = x_ND[first] + 0.1 * spread_D * rng.standard_normal((20, x_ND.shape[1]))
    assert counts(find_near_duplicates(x_ND, y_N, split_N))["train", "test"] == 20


def test_images_of_small_and_tight_classes_are_no_near_duplicates() -> None:
    labels_N = np.arange(60) % 20  # three of each class, one in each split
    split_N = np.repeat(np.arange(3, dtype=np.uint8), 20)
    rng = np.random.default_rng(0)
    x_ND = (rng.uniform(0, 1, (20, 32))[labels_N] + 0.02 * rng.standard_normal((60, 32))).astype(np.float32)
    assert sum(counts(find_near_duplicates(x_ND, labels_N, split_N)).values()) == 0
