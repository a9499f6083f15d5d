from __future__ import annotations

import numpy as np

from transfer.heads.stopping import BestEpochs


def test_each_layer_keeps_its_best_epoch_and_stands_still_once_its_patience_is_out() -> None:
    scores = np.array(
        [
            [0.1, 0.5, 0.5],
            [0.2, 0.4, 0.5],  # an equal score is no better one
            [0.3, 0.4, 0.5],  # the second and third stand still from here
            [0.3, 0.9, 0.4],
            [0.3, 0.9, 0.9],
            [0.9, 0.9, 0.9],
        ]
    )
    epoch = iter(range(6))
    best = BestEpochs(lambda layers: scores[next(epoch)], patience=2)
    ended = []
    for e in range(1, 6):
        ended.append(best((np.full((3, 2, 4), e, np.float32), np.full((3, 2), e, np.float32))))
    assert ended == [False, False, False, False, True]
    assert best.epoch_L.tolist() == [3, 1, 1]
    weights_LCD, biases_LC = best.layers
    assert weights_LCD[:, 0, 0].tolist() == biases_LC[:, 1].tolist() == [3, 1, 1]
