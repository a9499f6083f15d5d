from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.samples import EXAMPLE
from transfer.config import RunConfig
from transfer.evaluation.earlier import expected_seconds
from transfer.heads.registry import default_methods

SAME: dict[str, Any] = {
    "data": "elsewhere/noise",
    "backbone": "resnet18",
    "methods": ("fc-lab", "fc", "svm-lab", "svm"),
    "lr": (1e-5, 1e-4, 1e-3, 1e-2),
    "epochs": 10,
}


def test_a_run_like_the_earlier_one_is_expected_to_take_as_long() -> None:
    found = expected_seconds(EXAMPLE, RunConfig(**SAME))
    seconds = json.loads(EXAMPLE.read_text())["seconds"]
    assert list(found) == [phase for phase in seconds if phase != "total"]
    assert sum(found.values()) == pytest.approx(seconds["total"])


@pytest.mark.parametrize(
    "other",
    [
        {"data": "elsewhere/photos"},
        {"backbone": "resnet50"},
        {"methods": ("fc", "svm")},
        {"lr": None},
        {"size": (32, 48)},
        {"transform": ("l2",)},
        {"epochs": None},
        {"repeats": 10},
        {"select": "accuracy"},
    ],
)
def test_nothing_is_expected_of_a_run_of_other_settings(other: dict[str, Any]) -> None:
    assert expected_seconds(EXAMPLE, RunConfig(**(SAME | other))) == {}


def test_nothing_is_expected_of_a_run_of_other_views_or_ranks(tmp_path: Path) -> None:
    file, example = tmp_path / "result.json", json.loads(EXAMPLE.read_text())
    example["config"]["methods"] += ["unfreeze:layer4", "lora:layer4"]
    example["config"] |= {"views": 2, "adapt": ["lora:8"], "lr_blocks": [1e-4]}
    file.write_text(json.dumps(example))
    same = SAME | {"unfreeze": ("layer4",), "adapt": ("lora:8",), "views": 2, "lr_blocks": (1e-4,)}
    assert expected_seconds(file, RunConfig(**same))
    for other in ({"views": 1}, {"adapt": ("lora:4",)}, {"lr_blocks": None}):
        assert expected_seconds(file, RunConfig(**(same | other))) == {}


def test_nothing_is_expected_where_no_result_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    assert expected_seconds(file, RunConfig(**SAME)) == {}
    file.write_text("{}")
    assert expected_seconds(file, RunConfig(**SAME)) == {}


def test_the_methods_of_a_run_that_names_none_are_the_default_ones(tmp_path: Path) -> None:
    file, example = tmp_path / "result.json", json.loads(EXAMPLE.read_text())
    example["config"]["methods"] = list(default_methods())
    file.write_text(json.dumps(example))
    assert expected_seconds(file, RunConfig(**(SAME | {"methods": ()})))
