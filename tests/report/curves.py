"""A learning curve with made scores, for tests of what shows one."""

from __future__ import annotations

from typing import Any

from transfer.evaluation.extrapolation import extrapolate


def make_curve(
    *,
    name: str = "boats",
    methods: tuple[str, ...] = ("fc", "svm"),
    sizes: tuple[int, ...] = (1, 2, 5, 10, 20, 50),
    grouped: bool = False,
) -> dict[str, Any]:
    """Make a record of 16 classes whose scores rise with the number of images."""
    images = [16 * size for size in sizes] + [16 * sizes[-1] + 100]

    def score(n: int, above: float) -> list[float]:
        mean = 0.9 - 2 * n**-0.5 + above
        return [mean - 0.04, mean, mean + 0.02] if n != images[-1] else [mean]

    def measured(above: float) -> dict[str, Any]:
        points = [
            {
                "accuracy": score(n, above + 0.05),
                "macro_f1": score(n, above),
                "best_params": [{"C": 1.0}] * (3 if n != images[-1] else 1),
                "fit_s": 0.5,
            }
            for n in images
        ]
        return {
            "points": points,
            "extrapolation": {
                one: extrapolate(images, [point[one] for point in points]) for one in ("accuracy", "macro_f1")
            },
        }

    return {
        "schema_version": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "config": {
            "methods": list(methods),
            "draws": 3,
            "select": "macro_f1",
            "seed": 0,
            "lr": None,
            "epochs": None,
            "batch_size": 128,
            "groups": "^a" if grouped else None,
        },
        "data": {
            "name": name,
            "classes": [f"class {i}" for i in range(16)],
            "fingerprint": "0" * 64,
            "splits": {"train": [images[-1] // 16] * 16, "valid": [8] * 16, "test": [16] * 16},
            "grouped": grouped,
            "skipped_count": 0,
        },
        "backbone": {
            "name": "resnet50",
            "weights": "embedded",
            "weights_sha256": "0" * 64,
            "input_size": [120, 400],
            "feature_dim": 2048,
            "features_key": "0" * 64,
        },
        "environment": {},
        "points": [
            *(
                {"per_class": size, "images": n, "smaller_classes": size // 10}
                for size, n in zip(sizes, images[:-1], strict=True)
            ),
            {"per_class": None, "images": images[-1], "smaller_classes": 0},
        ],
        "methods": [
            {"name": method, "kind": method, "summary": method, **measured(0.02 * i)}
            for i, method in enumerate(methods)
        ],
        "left_out": {},
        "seconds": {"fit": [0.5] * len(images) * len(methods), "total": 9.0},
    }
