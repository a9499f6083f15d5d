"""What lower precision changes in the answer: `python -m bench.agreement FOLDER`.

Every method is fitted on the features of each precision; told are the test images on which its predictions are those
of the same method fitted on fp32 features, with accuracy, and the cosine of the features themselves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from transfer.config import RunConfig
from transfer.extract import Features, extract
from transfer.heads import METHODS
from transfer.images import find
from transfer.metrics import Labels, cosines
from transfer.timing import Stopwatch

PRECISIONS = ("fp32", "bf16", "int8")


def main() -> None:
    """Extract in every precision, fit, compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    parser.add_argument("folder", type=Path, help="an image set")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="embedded")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    args = parser.parse_args()
    features = {}
    for precision in PRECISIONS:
        config = RunConfig(
            data=str(args.folder),
            backbone=args.backbone,
            weights=args.weights,
            store=args.store,
            engine="openvino",
            precision=precision,
        )
        features[precision] = extract(config, find(args.folder), Stopwatch(), lambda *_: None)
    exact = features["fp32"]
    for precision in PRECISIONS[1:]:
        pairs = zip(features[precision].splits.values(), exact.splits.values(), strict=True)
        cosine_N = np.concatenate([cosines(one.x_ND, other.x_ND) for one, other in pairs])
        print(
            f"{precision}: cosine with fp32 at least {cosine_N.min():.5f}, median {np.median(cosine_N):.5f}"
        )
    test = exact.splits["test"]
    for name in METHODS:
        expected, expected_each = predictions(name, exact)
        for precision in PRECISIONS:
            predicted_N, each = predictions(name, features[precision])
            same, right = (predicted_N == expected).mean(), (predicted_N == test.y_N).mean()
            settings = [(a == b).mean() for a, b in zip(each, expected_each, strict=True)]
            print(
                f"{name:8} {precision}: agrees on {same:.1%} of {len(test.y_N)} test images, accuracy {right:.3f}; "
                f"setting by setting {min(settings):.1%} at least, median {np.median(settings):.1%}"
            )


def predictions(name: str, features: Features) -> tuple[Labels, list[Labels]]:
    """What a method tells of the test images with the setting chosen on these features, and with each setting."""
    train, valid, test = (features.splits[split] for split in ("train", "valid", "test"))
    search = METHODS[name].build(RunConfig(data="given")).fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
    return np.asarray(search.predict(test.x_ND)), list(search.predict_each(test.x_ND))


if __name__ == "__main__":
    main()
