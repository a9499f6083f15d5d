"""Changes of predictions by engine and precision: `python -m bench.studies.agreement FOLDER --store DIR`.

Every method is fitted on the features of OpenVINO in each precision; shown is the share of test images on which it
predicts the same as fitted on features of plain fp32 in PyTorch, with accuracy, and the cosine of the features.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench.reporting.status import exit_status
from bench.ways import least_cosine
from transfer.config import RunConfig
from transfer.data.dataset import find
from transfer.features.extract import Features, extract
from transfer.features.plan import plan_extraction
from transfer.heads.registry import METHODS
from transfer.metrics import Labels, cosines
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

PLAIN = ("eager", "fp32")
OPTIONS = (PLAIN, ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))


def main() -> None:
    """Extract in every precision, fit, compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.agreement", description=__doc__)
    parser.add_argument("folder", type=Path, help="an image set")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="embedded")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    args = parser.parse_args()
    features = {}
    for engine, precision in OPTIONS:
        config = RunConfig(
            data=str(args.folder),
            backbone=args.backbone,
            weights=args.weights,
            store=args.store,
            engine=engine,
            precision=precision,
        )
        features[engine, precision] = extract(plan_extraction(config), find(args.folder), Stopwatch(), silent)
    exact = features[PLAIN]
    for engine, precision in OPTIONS[1:]:
        pairs = zip(features[engine, precision].splits.values(), exact.splits.values(), strict=True)
        cosine_N = np.concatenate([cosines(one.x_ND, other.x_ND) for one, other in pairs])
        print(
            f"{engine} {precision}: cosine with {' '.join(PLAIN)} at least {cosine_N.min():.6f}, "
            f"median {np.median(cosine_N):.6f}"
        )
        assert cosine_N.min() > least_cosine(precision), f"below {least_cosine(precision)}"
    test = exact.splits["test"]
    for name in METHODS:
        expected, expected_each = predictions(name, exact)
        for engine, precision in OPTIONS:
            predicted_N, each = predictions(name, features[engine, precision])
            same, right = (predicted_N == expected).mean(), (predicted_N == test.y_N).mean()
            settings = [(a == b).mean() for a, b in zip(each, expected_each, strict=True)]
            print(
                f"{name:8} {engine} {precision}: agrees on {same:.1%} of {len(test.y_N)} test images, "
                f"accuracy {right:.3f}; "
                f"setting by setting {min(settings):.1%} at least, median {np.median(settings):.1%}"
            )


def predictions(name: str, features: Features) -> tuple[Labels, list[Labels]]:
    """Return a method's predictions for the test images with the setting chosen on these features, and with each."""
    train, valid, test = (features.splits[split] for split in ("train", "valid", "test"))
    search = METHODS[name].build(RunConfig(data="given")).fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
    return np.asarray(search.predict(test.x_ND)), list(search.predict_each(test.x_ND))


if __name__ == "__main__":
    sys.exit(exit_status(main))
