from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest

from tests.refusals import refusal
from transfer.config import RunConfig
from transfer.system import remote
from transfer.system.errors import UserError, check_choice
from transfer.system.remote import expand
from transfer.system.user_folders import default_store


def test_the_defaults_are_valid() -> None:
    RunConfig()


def test_none_stands_for_the_default_of_a_list() -> None:
    assert RunConfig(methods=None, layers=None, lr=None) == RunConfig()  # type: ignore[arg-type]


def test_numbers_of_numpy_are_kept_as_those_of_python() -> None:
    config = RunConfig(
        seed=np.int64(3),
        repeats=np.int64(2),
        epochs=np.int32(4),
        lr=np.array([1e-3, 1e-2]),
        size=np.array([32, 64]),
    )  # type: ignore[arg-type]
    assert (
        json.dumps([config.seed, config.repeats, config.epochs, config.lr, config.size])
        == "[3, 2, 4, [0.001, 0.01], [32, 64]]"
    )


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"select": "f1"}, ["`select`", "'f1'", "macro_f1", "accuracy"]),
        ({"adapt": ("lora",), "unfreeze": ("a",)}, ["`adapt`", "'lora'", "lora:RANK"]),
        ({"adapt": ("lora:0",), "unfreeze": ("a",)}, ["`adapt`", "'lora:0'", "lora:8"]),
        ({"adapt": ("lora:4", "lora:8"), "unfreeze": ("a",)}, ["`adapt`", "'lora:4,lora:8'", "bitfit"]),
        ({"adapt": "bitfit", "unfreeze": ("a",)}, ["`adapt`", "give a list", "['bitfit']"]),
        ({"lr_blocks": (1e-4, 1e-4), "unfreeze": ("a",)}, ["`lr_blocks`", "0.0001", "once"]),
        ({"lr_blocks": (1e-4,)}, ["`lr_blocks`", "`unfreeze`"]),
        ({"max_cache": "20GB", "unfreeze": ("a",)}, ["`max_cache`", "'20GB'", "whole number"]),
        ({"max_cache": 0, "unfreeze": ("a",)}, ["`max_cache`", "0", "bytes"]),
        ({"adapt": ("bitfit",)}, ["`adapt`", "`unfreeze`", "layer4"]),
        ({"bn": "batch"}, ["`bn`", "'batch'", "eval", "train"]),
        ({"bn": "train", "on": "ray"}, ["`bn`", "leave out `on`"]),
        ({"device": "gpu"}, ["`device`", "'gpu'", "auto", "cpu", "cuda"]),
        ({"on_bad_image": "ignore"}, ["`on_bad_image`", "'ignore'", "error", "skip"]),
        ({"mean": (0.5,)}, ["`mean`", "0.5", "three numbers"]),
        ({"mean": (123.675, 116.28, 103.53)}, ["`mean`", "123.675,116.28,103.53", "divided by 255"]),
        ({"mean": (-0.1, 0.5, 0.5)}, ["`mean`", "-0.1", "0 to 1"]),
        ({"mean": (float("nan"), 0.5, 0.5)}, ["`mean`", "nan"]),
        ({"std": (0.0, 0.5, 0.5)}, ["`std`", "0,0.5", "0.229,0.224,0.225"]),
        ({"std": (58.4, 57.1, 57.4)}, ["`std`", "divided by 255"]),
        ({"channel_order": "rbg"}, ["`channel_order`", "rgb, bgr"]),
        ({"lr": 0.1}, ["`lr` is 0.1", "a list, such as [0.1]"]),
        ({"layers": "layer3,layer4"}, ["`layers`", "a list, such as ['layer3', 'layer4']"]),
        ({"methods": "fc"}, ["`methods`", "a list, such as ['fc']"]),
        ({"size": "240x800"}, ["`size` is '240x800'", "such as (240, 800)"]),
        ({"size": (240,)}, ["`size` is (240,)", "such as (240, 800)"]),
        ({"size": (0, 0)}, ["`size` is (0, 0)", "32 to 8192"]),
        ({"size": (31, 224)}, ["`size` is (31, 224)", "32 to 8192"]),
        ({"size": (224, 8193)}, ["`size` is (224, 8193)", "32 to 8192"]),
        ({"size": ()}, ["`size` is ()", "32 to 8192"]),
        ({"size": (240.0, 800)}, ["`size` is (240.0, 800)", "such as (240, 800)"]),
        ({"columns": None}, ["`columns` is None", "give names"]),
        ({"columns": "file=path"}, ["`columns` is 'file=path'", "give names"]),
        ({"columns": {"path": "file"}}, ["`columns`", "'path'", "file, label"]),
        ({"lr": ()}, ["`lr`", "()", "between 0 and 10"]),
        ({"lr": (0.0,)}, ["`lr`", "0.0", "between 0 and 10"]),
        ({"lr": (1e-3, -0.5)}, ["`lr`", "-0.5", "between 0 and 10"]),
        ({"lr": (10.0,)}, ["`lr`", "10.0", "between 0 and 10"]),
        ({"lr": (float("nan"),)}, ["`lr`", "nan", "between 0 and 10"]),
        ({"lr": (float("inf"),)}, ["`lr`", "inf", "between 0 and 10"]),
        ({"lr": (1e-3, 1e-4, 0.001)}, ["`lr`", "0.001", "once"]),
        ({"epochs": 0}, ["`epochs`", "0", "from 1 up"]),
        ({"epochs": -3}, ["`epochs`", "-3", "from 1 up"]),
        ({"batch_size": 0}, ["`batch_size`", "0", "from 1 up"]),
        ({"groups": "["}, ["`groups`", "'['", "unterminated character set", "'^\\d{8}'"]),
        ({"repeats": -1}, ["`repeats`", "-1", "from 0 up", "groups"]),
        ({"repeats": "days", "groups": "x"}, ["`repeats`", "'days'", "groups"]),
        ({"repeats": "groups"}, ["`repeats='groups'` needs `groups`", "'^\\d{8}'"]),
        ({"size": 224}, ["`size`", "224", "(240, 800)"]),
        ({"transform": "l2,pca:4"}, ["`transform`", "'l2,pca:4'", "['l2', 'pca:4']"]),
        ({"repeats": 2.5}, ["`repeats` is 2.5", "whole number"]),
        ({"batch_size": "many"}, ["`batch_size` is 'many'", "whole number"]),
        ({"lr": ("fast",)}, ["`lr`", "'fast'", "numbers"]),
        ({"seed": -1}, ["`seed`", "-1", "0 to 4294967295"]),
        ({"seed": 2**32}, ["`seed`", "4294967296", "0 to 4294967295"]),
    ],
)
def test_an_error_names_the_flag_the_value_and_what_is_allowed(
    values: dict[str, Any], parts: list[str]
) -> None:
    message = refusal(RunConfig, **values)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "values",
    [
        {"lr": (9.99, 1e-9)},
        {"epochs": 1, "batch_size": 1},
        {"seed": 0},
        {"size": (32, 8192)},
        {"lr": None, "mean": None},
        {"seed": 2**32 - 1},
        {"select": "accuracy", "device": "cuda", "on_bad_image": "skip"},
    ],
)
def test_values_at_the_edge_of_what_is_allowed_pass(values: dict[str, Any]) -> None:
    config = RunConfig(**values)
    for name, value in values.items():
        assert getattr(config, name) == value


def test_a_choice_may_come_from_any_iterable() -> None:
    check_choice("x", "b", iter("abc"))
    with pytest.raises(UserError, match="`x` is 'd'; choose one of a, b, c"):
        check_choice("x", "d", iter("abc"))


@pytest.mark.parametrize(
    ("data", "weights", "expected"),
    [
        ("lagoon", None, "embedded"),
        ("photos", None, "imagenet"),
        ("lagoon", "imagenet", "imagenet"),
        ("photos", "random", "random"),
        ("photos", "mine.pth", "mine.pth"),
    ],
)
def test_default_weights_hang_on_the_images(data: str, weights: str | None, expected: str) -> None:
    assert RunConfig(data=data, weights=weights).weights_or_default == expected


def test_a_backbone_without_embedded_weights_is_untrained_on_the_built_in_images() -> None:
    assert RunConfig(backbone="resnet18").weights_or_default == "random"
    assert RunConfig(backbone="resnet18", data="photos").weights_or_default == "imagenet"


def test_the_store_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFER_STORE", str(tmp_path))
    assert default_store() == tmp_path
    assert RunConfig().store == tmp_path


@pytest.mark.parametrize("value", [None, ""])
def test_without_that_the_store_is_in_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("TRANSFER_STORE", raising=False)
    else:
        monkeypatch.setenv("TRANSFER_STORE", value)
    assert default_store() == Path(platformdirs.user_cache_dir("transfer", appauthor=False))


def test_a_named_store_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFER_STORE", str(tmp_path / "environment"))
    assert RunConfig(store=tmp_path / "named").store == tmp_path / "named"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No home folder: no variable names one, and the user is in no list of users."""
    for name in ("HOME", "XDG_CACHE_HOME", "TRANSFER_STORE", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(*_: object) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("pwd.getpwnam", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_the_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no home folder is known; name a store by `store` or TRANSFER_STORE"):
        default_store()
    monkeypatch.setenv("TRANSFER_STORE", "/tmp/store")
    assert default_store() == Path("/tmp/store")
    monkeypatch.setenv("TRANSFER_STORE", "~/store")
    with pytest.raises(UserError, match="no home folder is known that ~/store could stand for"):
        default_store()


def test_the_home_folder_is_expanded_in_variables_and_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRANSFER_STORE", "~/cache")
    assert default_store() == tmp_path / "cache"
    assert expand("~/results") == tmp_path / "results"
    assert expand("a~b/~") == Path("a~b/~")
    for given, message in (("", "is empty"), ("~nobody-of-that-name/x", "no home folder")):
        with pytest.raises(UserError, match=message):
            expand(given)


@pytest.mark.parametrize(
    "steps", [(), ("l2",), ("pca:1",), ("l2", "pca:256", "whiten"), ("pca:9", "pca:4", "whiten", "l2")]
)
def test_steps_of_a_transform(steps: tuple[str, ...]) -> None:
    assert RunConfig(transform=steps).transform == steps


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (("",), "`transform` has ''; give l2, pca:N or whiten"),
        (("l1",), "'l1'"),
        (("pca",), "'pca'"),
        (("pca:0",), "'pca:0'"),
        (("pca:0.95",), "'pca:0.95'"),
        (("pca:-1",), "'pca:-1'"),
        (("whiten",), "whiten, which follows pca:N"),
        (("pca:4", "l2", "whiten"), "whiten, which follows pca:N"),
        (("pca:4", "whiten", "whiten"), "whiten, which follows pca:N"),
    ],
)
def test_other_steps_are_refused(steps: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        RunConfig(transform=steps)


def test_a_store_may_be_text() -> None:
    assert RunConfig(store="kept").store == Path("kept")  # type: ignore[arg-type]


def test_passwords_and_queries_of_urls_are_not_shown() -> None:
    given = "https://someone:secret@host/test_config.tar?token=secret"
    config = RunConfig(data=given)
    assert config.data == "https://host/test_config.tar"
    assert "secret" not in repr(config)
    assert remote._address(remote.path_of(config.data)) == given
