from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torchvision import models

from tests.backbones import forms
from transfer.backbones import checkpoint, networks, torchvision_files, weights
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets")]


@pytest.mark.parametrize("form", forms.LOADED)
def test_every_form_of_a_network_gives_its_numbers(tmp_path: Path, form: str) -> None:
    found, message = forms.outcome(forms.LOADED[form](), tmp_path / "w.pth")
    assert found is not None, message
    assert forms.is_right(found, {"half": 1e-3, "bfloat16": 1e-2}.get(form, 0))


@pytest.mark.parametrize("form", forms.REFUSED)
def test_what_holds_no_such_network_is_refused_with_the_nearest(tmp_path: Path, form: str) -> None:
    make, expected = forms.REFUSED[form]
    found, message = forms.outcome(make(), tmp_path / "w.pth")
    assert found is None
    assert expected in message
    assert "\n" not in message


def test_the_same_numbers_are_the_same_features(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = networks.build("resnet18", forms.network())
    nested, _ = forms.outcome(forms.LOADED["MoCo"](), tmp_path / "w.pth")
    assert nested is not None
    with torch.inference_mode():
        assert plain(x).std() > 0.01
        assert torch.equal(nested(x), plain(x))


@pytest.mark.parametrize(
    ("form", "patterns"),
    [
        ("state dict", []),
        ("Lightning", []),
        ("Sequential of the parts", []),
        ("torchvision references", []),
        ("MoCo", [r"'module.encoder_q' is used, not 'module.encoder_k'"]),
        ("model and model_ema", [r"'model' is used, not 'model_ema'"]),
        ("DINO", [r"'student.module.backbone' is used, not 'teacher.backbone'"]),
        ("SwAV", [r"^1 tensors that resnet18 does not have are left out: projection_head.0.weight"]),
        ("loss with a buffer", [r"left out: criterion.pos_weight"]),
        ("other head", []),
    ],
)
def test_a_choice_is_reported_in_one_line(form: str, patterns: list[str]) -> None:
    state = checkpoint.flatten(forms.LOADED[form]())
    state = {name.removeprefix("state_dict."): value for name, value in state.items()}
    found = networks.fit("resnet18", state)[1]
    assert len(found) == len(patterns)
    assert all(re.search(pattern, line) for pattern, line in zip(patterns, found, strict=True))


def test_copies_with_the_same_numbers_are_no_choice() -> None:
    copy = {key: value.clone() for key, value in forms.network().items()}
    state = checkpoint.flatten({"model": forms.network(), "model_ema": copy})
    assert networks.fit("resnet18", state)[1] == []


def test_branches_that_are_for_training_alone_may_be_absent() -> None:
    for name in ("googlenet", "inception_v3"):
        whole = models.get_model(name, weights=None, init_weights=False, aux_logits=True).state_dict()
        without = {key: value for key, value in whole.items() if not key.lower().startswith("aux")}
        assert len(without) < len(whole)
        assert networks.fit(name, whole)[1] == networks.fit(name, without)[1] == []
    network = networks.build("googlenet", without if name == "googlenet" else _googlenet())
    assert not any("aux" in key for key in network.state_dict())


def _googlenet() -> checkpoint.State:
    state = models.googlenet(weights=None, init_weights=False, aux_logits=False).state_dict()
    return dict(state)


def test_names_of_the_network_within_a_longer_word_are_not_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torchvision_files, "names", lambda: ["resnet18", "resnet34"]
    )  # spare the search among all
    with pytest.raises(UserError, match="missing"):
        networks.build("resnet18", {f"x{key}": value for key, value in forms.network().items()})


@pytest.mark.parametrize("larger", ["resnet34", "convnext_small", "swin_s"])
def test_a_larger_network_of_the_same_names_is_not_taken_for_a_smaller_one(larger: str) -> None:
    smaller = {"resnet34": "resnet18", "convnext_small": "convnext_tiny", "swin_s": "swin_t"}[larger]
    with torch.device("meta"):
        state = dict(models.get_model(larger).state_dict())
    state = {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}
    with pytest.raises(UserError, match=f"unexpected: .*; they fit {larger}: give `backbone='{larger}'`"):
        networks.fit(smaller, state)[1]


def test_dictionaries_within_themselves_are_followed_once() -> None:
    state: dict[str, object] = {"w": torch.ones(2)}
    state["self"] = state
    deep: dict[str, object] = {"w": torch.ones(3)}
    for _ in range(50):
        deep = {"a": deep}
    found = checkpoint.flatten({"first": state, "second": state, "deep": deep, 3: {"w": torch.ones(1)}})
    assert found.keys() == {"first.w"}


def test_versions_that_are_no_numbers_are_not_kept() -> None:
    state = forms.network().copy()
    state._metadata = {"bn1": {"version": "1"}, 3: {"version": 2}, "conv1": {"version": 1}, "fc": None}  # type: ignore[attr-defined]
    assert checkpoint.flatten({"m": state})._metadata == {"m.conv1": {"version": 1}}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("prefix", "average"),
    [("model_ema.", True), ("modelEMA.", True), ("encoder_k.", True), ("teacher.", True), ("schema.", False),
     ("encoder_q.", False), ("model.", False), ("", False), ("keypoint.", False)],
)  # fmt: skip
def test_moving_averages_are_known_by_words(prefix: str, average: bool) -> None:
    assert checkpoint.is_average(prefix) == average


def test_tensors_without_numbers_are_refused() -> None:
    state = {**forms.network(), "conv1.weight": torch.empty(64, 3, 7, 7, device="meta")}
    with pytest.raises(UserError, match="not floating-point numbers.*: conv1.weight"):
        networks.build("resnet18", state)


def test_a_file_with_several_objects_of_one_class_is_read(tmp_path: Path) -> None:
    held = {
        "a": [forms.Settings() for _ in range(3)],
        "w": torch.ones(2),
        "items": forms.Items(x=forms.Items()),
    }
    torch.save(held, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert weights.load(tmp_path / "w.pth").keys() == {"w"}
