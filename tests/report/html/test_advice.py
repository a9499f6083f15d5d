from __future__ import annotations

from typing import Any

import pytest

from tests.report.html.conftest import Make
from transfer.evaluation.results import Result
from transfer.report.html.advice import advise
from transfer.system.errors import UserError


def set_rates(method: dict[str, Any], tried: list[float], best: float) -> None:
    method["at_edge"] = ["lr"]
    method["best_params"] = {"lr": best}
    method["sweep"] = [{"params": {"lr": lr}} for lr in tried]


@pytest.mark.parametrize(
    ("tried", "best", "option"),
    [
        ([1e-3, 1e-2], 1e-2, "--lr 0.001,0.01,0.1"),
        ([1e-3, 1e-2], 1e-3, "--lr 0.0001,0.001,0.01"),
        ([0.1, 1.0], 1.0, None),  # 10 is refused
    ],
)
def test_rates_at_the_end_of_a_range_are_tried_beyond_it(
    make: Make, tried: list[float], best: float, option: str | None
) -> None:
    result, _ = make(["a", "b"], [5, 5])
    set_rates(result.method("fc-lab"), tried, best)
    ((reason, found),) = (one for one in advise(result) if one[0].startswith("fc-lab chose"))
    assert found == option
    assert ("(--lr sets the rates of fc too)" in reason) == (option is not None)


def test_rates_of_blocks_have_an_option_of_their_own(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    method = result.method("fc-lab")
    method["name"] = "unfreeze:layer4"
    set_rates(method, [1e-4, 1e-3, 1e-2], 1e-2)
    assert "--lr-blocks 0.0001,0.001,0.01,0.1" in [option for _, option in advise(result)]


def test_labels_wanted_come_with_the_command_that_shows_what_they_give(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    for row in result.method("svm")["test"]["per_class"]:
        row["recall"] = 0.2
    result.backbone.update(weights="embedded", name="resnet50")
    result.config.update(size=[96, 160], groups=r"^\d{8}", seed=0, select="macro_f1", epochs=None, lr=None)
    result.data["name"] = "photos"
    assert curve_command(result) == r"transfer curve DATA --weights embedded --size 96x160 --groups '^\d{8}'"
    result.backbone.update(weights="imagenet", name="resnet18", layers=["layer3", "layer4"])
    result.config.update(epochs=5, lr=[1e-4, 0.1], batch_size=64)
    assert (curve_command(result) or "").endswith("--epochs 5 --batch-size 64 --lr 0.0001,0.1")
    result.config.update(epochs=None, lr=None, batch_size=128)
    result.config.update(size=None, groups=None, transform=["l2", "pca:8"], columns={"label": "a b"})
    assert curve_command(result) == (
        "transfer curve DATA --backbone resnet18 --layers layer3,layer4 --transform l2,pca:8 --columns 'label=a b'"
    )
    result.features["given"] = True
    result.data["name"] = "lagoon"
    assert curve_command(result) == "transfer curve lagoon --transform l2,pca:8 --columns 'label=a b'"


def test_the_command_needs_no_home_folder(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UserError("no home folder is known")

    monkeypatch.delenv("TRANSFER_STORE", raising=False)
    monkeypatch.setattr("transfer.system.user_folders.user_cache", fail)
    result, _ = make(["a", "b"], [5, 5])
    for row in result.method("svm")["test"]["per_class"]:
        row["recall"] = 0.2
    assert (curve_command(result) or "").startswith("transfer curve ")


def curve_command(result: Result) -> str | None:
    (command,) = (option for reason, option in advise(result) if reason.startswith("Label more"))
    return command


def test_groups_are_left_out_in_turn_where_the_splits_are_the_datas_own(make: Make) -> None:
    groups = {"count": 0, "across_splits": [], "suggestion": {"pattern": r"^\d{8}", "count": 6}}
    for drawn, option in ((["test"], ""), ([], " --repeats groups")):
        result, _ = make(["a", "b"], [5, 5], data={"groups": groups, "drawn": drawn})
        assert advise(result)[0][1] == rf"--groups '^\d{{8}}'{option}"
