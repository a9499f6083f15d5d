from __future__ import annotations

import numpy as np
import torch

from transfer.heads.checks import to_numpy


def test_tensors_become_arrays_and_the_rest_stays() -> None:
    assert isinstance(to_numpy(torch.ones(2, requires_grad=True)), np.ndarray)
    assert to_numpy("as it is") == "as it is"
