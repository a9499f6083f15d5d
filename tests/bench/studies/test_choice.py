import numpy as np
from sklearn.datasets import make_classification

from bench.studies import choice


def test_both_methods_are_scored_on_the_same_splits() -> None:
    x_ND, y_N = make_classification(300, 20, n_informative=10, n_classes=3, random_state=0)
    splits = choice.draw_splits(y_N, n_valid=50, n_test=60, n=2)
    for split in splits:
        assert [len(part) for part in split] == [190, 50, 60]
        assert sorted(np.concatenate(split)) == list(range(300))
    for method in choice.COMPARED:
        scored = choice.score_choices(method, x_ND.astype(np.float32), y_N, splits)
        assert len(scored) == 2
        assert all(one["test"]["macro_f1"] > 0.4 for one in scored)
