from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from transfer.heads import (
    KNN,
    SVM,
    FineTune,
    FineTuneSearch,
    KNNSearch,
    LogisticRegressionHead,
    LogisticRegressionSearch,
    RidgeHead,
    RidgeSearch,
    SVMSearch,
)
from transfer.heads.parameters import check_parameters
from transfer.system.errors import UserError

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
Y = np.arange(30) % 3


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (FineTune(lr=math.nan), "lr is nan; give a number above 0"),
        (FineTune(lr=math.inf), "lr is inf"),
        (FineTune(batch_size=0), "batch_size is 0; give a whole number above 0"),
        (FineTune(batch_size=2.5), "batch_size is 2.5"),
        (FineTune(epochs=-1), "epochs is -1"),
        (FineTune(steps=2.5), "steps is 2.5; give a whole number from 0 up"),
        (FineTune(steps=5, cosine_steps=0), "cosine_steps is 0; give a whole number above 0"),
        (FineTune(weight_decay=-0.1), "weight_decay is -0.1; give a number from 0 up"),
        (FineTune(class_weight={0: math.nan}), r"class_weight is \{0: nan\}"),
        (SVM(C=0), "C is 0; give a number above 0"),
        (SVM(kernel="rbf", gamma=-1), "gamma is -1"),
        (SVM(memory_gb=-1), "memory_gb is -1"),
        (SVM(class_weight={1: -1}), r"class_weight is \{1: -1\}"),
        (LogisticRegressionHead(C=-1), "C is -1"),
        (LogisticRegressionHead(max_iter=0), "max_iter is 0"),
        (LogisticRegressionHead(tol=math.nan), "tol is nan"),
        (RidgeHead(alpha=math.nan), "alpha is nan"),
        (KNN(k=0), "k is 0"),
    ],
)
def test_a_head_refuses_what_no_fit_can_use(head: BaseEstimator, message: str) -> None:
    with pytest.raises(UserError, match=message):
        head.fit(X, Y)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (FineTuneSearch(lr=()), "lr is empty; give at least one value"),
        (FineTuneSearch(lr=(0.1, math.nan)), "lr is nan"),
        (FineTuneSearch(n_seeds=0), "n_seeds is 0; give a whole number above 0"),
        (FineTuneSearch(min_steps=0.5), "min_steps is 0.5; give a whole number from 0 up"),
        (SVMSearch(kernels=()), "kernels is empty"),
        (SVMSearch(C=np.array([1.0, -1.0])), "C is .*-1.0"),
        (SVMSearch(class_weight=()), "class_weight is empty"),
        (RidgeSearch(alpha=[]), "alpha is empty"),
        (LogisticRegressionSearch(C=(0,)), "C is 0"),
        (KNNSearch(k=(1, 0)), "k is 0"),
    ],
)
def test_a_search_refuses_them_too(search: BaseEstimator, message: str) -> None:
    with pytest.raises(UserError, match=message):
        search.fit(X, Y, X, Y)


def test_what_heads_take_is_left_to_them() -> None:
    check_parameters({"gamma": "scale", "class_weight": "balanced", "memory_gb": None, "unknown": -1})
    check_parameters({"C": np.float32(0.5), "k": np.int64(3), "class_weight": {"a": 0, "b": 2.5}})
    check_parameters({"gamma": ("scale", 0.1), "class_weight": (None, "balanced", {0: 1})})
