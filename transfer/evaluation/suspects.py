"""Labels to look at: images whose label a model fitted to other images contradicts most.

N: images. H: images held out. R: the others. D: features an image. C: classes. U: images or groups. K: the lesser of N
and D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import compute_sample_weight

from transfer.data.copies import copy_codes, join_groups
from transfer.data.random_splits import SPLITS
from transfer.features.extract import Features
from transfer.heads.linear import compute_moments

Array = npt.NDArray[Any]

FOLDS, NAMED = 5, 50
# More images, or more of images x features x (the lesser of the two + classes), are not looked at: it would take
# seconds and gigabytes.
MOST_IMAGES, MOST_WORK = 50_000, 6e10


def find_suspects(features: Features, *, seed: int) -> dict[str, Any]:
    """Find the images, of all splits, whose label ridge regression on the other folds contradicts most.

    Of 1,324 and 4,244 boats, 5 % of whose labels were changed, 80 to 89 % of the first 5 % were these, and 88 to 100 %
    of the first 24 (`bench.studies.suspects`).

    Parameters
    ----------
    features : Features
    seed : int
        Of the folds.

    Returns
    -------
    dict
        `comparison.suspects` of the result.
    """
    images, x_ND = features.images, features.x_ND
    y_N, names, classes = images.label_N.astype(np.int64), images.samples.names, features.classes
    work = x_ND.size * (min(x_ND.shape) + len(classes))
    if len(x_ND) > MOST_IMAGES or work > MOST_WORK:
        return {"images": 0, "of": len(images), "contradicted": 0, "first": []}
    copies_N = copy_codes(images.ids_N32)
    units_N = copies_N if images.group_N is None else join_groups(images.group_N, copies_N)
    scores_NC = score_out_of_fold(x_ND, y_N, draw_folds(y_N, units_N, seed=seed))
    margin_N, other_N = measure_margins(scores_NC, y_N)
    suspect_N = np.flatnonzero(margin_N > 0)
    order = suspect_N[np.argsort(-margin_N[suspect_N], kind="stable")][:NAMED]
    return {
        "images": int(np.isfinite(margin_N).sum()),
        "of": len(images),
        "contradicted": len(suspect_N),
        "first": [
            {
                "split": SPLITS[images.split_N[i]],
                "file": names[i],
                "label": classes[y_N[i]],
                "other": classes[other_N[i]],
                "margin": float(margin_N[i]),
            }
            for i in order
        ],
    }


def draw_folds(y_N: Array, units_N: Array, *, seed: int) -> Array:
    """Draw folds (N,) that are stratified by class and hold whole units.

    Parameters
    ----------
    y_N : (N,) int
        Class indices.
    units_N : (N,) int
        Equal for images that are in one fold: copies of one image, or the images of a group.
    seed : int
    """
    _, first_U, unit_N = np.unique(units_N, return_index=True, return_inverse=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(first_U)), y_N[first_U]))
    fold_U = np.empty(len(first_U), np.int64)
    fold_U[order] = np.arange(len(first_U)) % FOLDS
    fold_N: Array = fold_U[unit_N]
    return fold_N


def score_out_of_fold(x_ND: Array, y_N: Array, fold_N: Array) -> Array:
    """Return the outputs of ridge regression for every image, fitted without the images of its fold.

    As by `RidgeHead` with balanced classes and a penalty equal to the number of features, but rows are standardised by
    all images: their products are computed once, and a fold takes one factorisation.

    Parameters
    ----------
    x_ND : (N, D) float32
    y_N, fold_N : (N,) int

    Returns
    -------
    (N, C) float32
        Not a number for classes that are in no other fold.
    """
    rows_ND, right_NC, root_N1, bias_C = _weigh(x_ND, y_N)
    parts = [torch.from_numpy(np.flatnonzero(fold_N == fold)) for fold in np.unique(fold_N)]
    rests = [torch.from_numpy(np.flatnonzero(fold_N != fold)) for fold in np.unique(fold_N)]
    scores_NC = np.full(right_NC.shape, np.nan, np.float32)
    wide = x_ND.shape[0] < x_ND.shape[1]
    grams = [rows_ND @ rows_ND.T] if wide else [rows_ND[own].T @ rows_ND[own] for own in parts]
    whole_KK = torch.stack(grams).sum(0)
    for k, (held_H, rest_R) in enumerate(zip(parts, rests, strict=True)):
        if not len(rest_R):
            continue
        if wide:
            matrix, right = whole_KK[rest_R][:, rest_R], right_NC[rest_R]
            held_HK = whole_KK[held_H][:, rest_R]
        else:
            matrix, right = whole_KK - grams[k], rows_ND[rest_R].T @ right_NC[rest_R]
            held_HK = rows_ND[held_H]
        matrix.diagonal().add_(1)
        outputs_HC = held_HK @ torch.cholesky_solve(right, torch.linalg.cholesky(matrix))
        known_C = np.isin(np.arange(len(bias_C)), y_N[rest_R.numpy()])
        scores_NC[held_H] = np.where(known_C, (outputs_HC / root_N1[held_H] + bias_C).numpy(), np.nan)
    return scores_NC


def _weigh(x_ND: Array, y_N: Array) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows (N, D) and targets (N, C), centred and times the roots of their weights, these (N, 1), and biases."""
    weight_N1 = torch.from_numpy(compute_sample_weight("balanced", y_N))[:, None].float()
    share_N1, root_N1 = weight_N1 / weight_N1.sum(), weight_N1.sqrt()
    mean_D, deviation_D = (torch.from_numpy(values) for values in compute_moments(x_ND))
    # Divided by the root of D, rows of any number of features take a penalty of 1.
    rows_ND = (torch.from_numpy(x_ND) - mean_D) / (deviation_D * x_ND.shape[1] ** 0.5)
    rows_ND = rows_ND.sub_(share_N1.T @ rows_ND).mul_(root_N1)
    y_NC = torch.from_numpy(np.where(y_N[:, None] == np.arange(y_N.max() + 1), 1, -1)).float()
    bias_C = (share_N1.T @ y_NC)[0]
    return rows_ND, root_N1 * (y_NC - bias_C), root_N1, bias_C


def measure_margins(scores_NC: Array, y_N: Array) -> tuple[Array, Array]:
    """Return by how much the best other class is ahead of each image's label, and which class that is.

    Parameters
    ----------
    scores_NC : (N, C)
    y_N : (N,) int

    Returns
    -------
    margin_N : (N,)
        Not a number where the label or all other classes have no score.
    other_N : (N,) int
    """
    rows_N = np.arange(len(y_N))
    others_NC = np.where(np.isnan(scores_NC), -np.inf, scores_NC)
    others_NC[rows_N, y_N] = -np.inf
    other_N = others_NC.argmax(1)
    margin_N = others_NC[rows_N, other_N] - scores_NC[rows_N, y_N]
    return np.where(np.isfinite(margin_N), margin_N, np.nan), other_N
