from __future__ import annotations

import numpy as np
import torch

from transfer.heads.checks import to_numpy, validate_training
from transfer.heads.ridge import RidgeHead


def test_tensors_become_arrays_and_the_rest_stays() -> None:
    assert isinstance(to_numpy(torch.ones(2, requires_grad=True)), np.ndarray)
    assert to_numpy("as it is") == "as it is"


def test_a_class_for_most_rows_is_no_reason_to_warn() -> None:
    x_ND = np.random.default_rng(0).normal(size=(30, 4))
    _, classes, codes_N = validate_training(RidgeHead(), x_ND, np.arange(30) % 16)
    assert classes[codes_N].tolist() == [row % 16 for row in range(30)]
