from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tools.pretrain import training as training_module
from tools.pretrain.__main__ import main
from tools.pretrain.scenes import BACKGROUNDS, FOREGROUNDS
from tools.pretrain.training import Recipe, Step, Training
from transfer.backbones import networks
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets")]
SMALL = {"backbone": "resnet18", "steps": 4, "batch": 4, "side": 32, "last_side": 48, "final_side": 40}


@pytest.fixture(autouse=True)
def few_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "STATISTICS_BATCHES", 2)


def recipe(**changed: Any) -> Recipe:
    return Recipe(**{**SMALL, **changed})


@pytest.mark.exhaustive
def test_training_learns_a_few_pictures_by_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "_mixed", lambda seed, step: seed)  # the same in every step
    met: list[Step] = []
    assert Training(recipe(steps=60, batch=16, lr=1e-2), tmp_path, "cpu").run(math.inf, met.append)
    assert [step.step for step in met] == list(range(1, 61))
    chance = math.log(FOREGROUNDS) + math.log(BACKGROUNDS)
    assert met[0].loss == pytest.approx(chance, rel=0.3)
    assert met[0].foreground < 0.2
    assert met[-1].loss < 0.6 * chance
    assert met[-1].foreground > 0.5
    assert met[-1].background > 0.5


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_a_network_begins_shallow(name: str) -> None:
    """At first a residual block hands on what it is given: the last maps are those of the few other layers."""
    body = training_module.Named(name, 0).body.eval()
    x_N3SS = torch.randn(2, 3, 32, 32)
    stages = [part for key, part in body.named_children() if key.startswith("layer")]
    met: list[bool] = []
    for stage in stages:
        for block in list(stage.children())[1:]:  # the first of a stage changes the shape
            block.register_forward_hook(lambda _, given, made: met.append(torch.equal(made, given[0])))
    body(x_N3SS)
    assert met == [True] * (sum(map(len, stages)) - len(stages))


def test_interrupted_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    def state(folder: Path, stops: int) -> dict[str, torch.Tensor]:
        for stop in range(1, stops + 1):
            training = Training(recipe(), folder, "cpu")
            assert training.step == 4 * (stop - 1) // stops
            count = 4 * stop // stops - training.step
            clock = iter(
                [0.0] + [0.0, 0.0] * count + [2.0]
            )  # once at the start, twice a step, and once too late
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(training_module, "now", clock.__next__)
                assert training.run(1.0, lambda _: None) is (stop == stops)
        return training.weights()

    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, parts = state(tmp_path / "whole", 1), state(tmp_path / "parts", 2)
    assert whole.keys() == parts.keys()
    for key in whole:
        assert torch.equal(whole[key], parts[key]), key


def test_what_was_kept_on_the_way_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(step: Step) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_module, "KEPT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        Training(recipe(), tmp_path, "cpu").run(math.inf, stopped)
    assert Training(recipe(), tmp_path, "cpu").step == 2


def test_pictures_grow_in_the_second_half() -> None:
    sides = [training_module._side(recipe(steps=100, side=48, last_side=192), step) for step in range(100)]
    assert set(sides[:50]) == {48}
    assert sides == sorted(sides)
    assert sorted(set(sides)) == list(range(48, 193, 16))


def test_another_recipe_does_not_go_on_in_the_folder(tmp_path: Path) -> None:
    Training(recipe(steps=1), tmp_path, "cpu").run(math.inf, lambda _: None)
    with pytest.raises(UserError, match="made by another recipe"):
        Training(recipe(steps=2), tmp_path, "cpu")


def test_the_learning_rate_rises_and_falls() -> None:
    shares = [training_module._share(step, 100) for step in range(100)]
    assert shares[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert shares[5:] == sorted(shares[5:], reverse=True)
    assert shares[-1] < 0.01


def test_no_two_steps_have_the_same_pictures() -> None:
    assert len({training_module._mixed(seed, step) for seed in range(3) for step in range(1000)}) == 3000


def test_a_stopped_command_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "run", stopped)
    assert main([str(tmp_path), "--backbone=resnet18"]) == 130
    assert (
        capsys.readouterr().err
        == "pretrain: interrupted; give the folder again to resume from its checkpoint\n"
    )


def test_the_command_goes_on_and_writes_weights_that_a_backbone_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        str(tmp_path / "made"),
        "--backbone=resnet18",
        "--steps=2",
        "--batch=4",
        "--side=32",
        "--last-side=32",
    ]
    assert main([*words, "--final-side=40", "--minutes=0"]) == 3
    assert not (tmp_path / "made/weights.safetensors").exists()
    assert main([*words, "--final-side=40"]) == 0
    assert "step 2 of 2: loss" in capsys.readouterr().out
    state = load_file(tmp_path / "made/weights.safetensors")
    assert state["conv1.weight"].dtype == torch.float16
    assert not any(key.startswith("fc") for key in state)
    network = networks.build("resnet18", state)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 64)
    assert main([*words, "--final-side=64"]) == 2
    assert "another recipe" in capsys.readouterr().err
