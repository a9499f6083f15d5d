"""The examples of CONTRIBUTING.md: a head, an engine and a source of images, executed and used."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

import transfer
from tests.heads.test_contract import TestMethod as MethodContract
from tests.heads.test_contract import made_data
from transfer import engines
from transfer.cli import main
from transfer.config import RunConfig
from transfer.engines.options import list_options
from transfer.evaluation import experiment
from transfer.features import image_sets
from transfer.heads import registry, serialization

TEXT = Path(transfer.__file__).parents[1].joinpath("CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```python\n# (transfer/\S+\.py)\n(.*?)^```$", TEXT, re.M | re.S)
REGISTRIES = (
    registry.METHODS,
    registry.HEADS,
    engines.ENGINES,
    image_sets.SOURCES,
)


@pytest.fixture(scope="module", autouse=True)
def examples() -> Iterator[None]:
    """Execute every example in the module that it names; afterwards everything is as before."""
    registered = [dict(own) for own in REGISTRIES]
    names: list[tuple[ModuleType, set[str]]] = []
    new: list[str] = []
    for path, code in BLOCKS:
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            new.append(name)
            sys.modules[name] = ModuleType(name)
        module = import_module(name)
        names.append((module, set(vars(module))))
        exec(compile(code, path, "exec"), vars(module))
    yield
    for own, before in zip(REGISTRIES, registered, strict=True):
        own.clear()
        own.update(before)
    for module, before in reversed(names):
        for name in set(vars(module)) - before:
            delattr(module, name)
    for name in new:
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        vars(sys.modules[parent]).pop(child, None)


def test_every_python_block_is_an_example() -> None:
    assert len(BLOCKS) == TEXT.count("```python") == 6


def test_the_head_keeps_the_contract() -> None:
    data = made_data()
    assert "centroid" in registry.METHODS
    contract = MethodContract()
    checks = [
        check
        for name, check in inspect.getmembers(contract, inspect.ismethod)
        if name.startswith("test_") and list(inspect.signature(check).parameters) == ["name", "data"]
    ]
    assert len(checks) >= 8
    for check in checks:
        check("centroid", data)


def test_the_head_is_a_classifier_of_scikit_learn_that_can_be_saved(tmp_path: Path) -> None:
    from transfer import heads

    data = made_data()
    check_estimator(heads.Centroid(), on_skip=None)
    head = heads.Centroid(shrink=0.5).fit(*data["train"])
    loaded = serialization.load(serialization.save(head, tmp_path / "head"))
    np.testing.assert_array_equal(loaded.predict(data["test"][0]), head.predict(data["test"][0]))


def test_the_engine_can_be_chosen_and_computes_what_eager_computes() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    network = nn.Sequential(*layers).eval()
    x_NHW3 = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
    features = {}
    for name in ("eager", "plain"):
        (plan,) = list_options(name, "fp32", "cpu")
        engine = engines.build(network, plan, (32, 48))
        features[name] = engines.submit(engine, x_NHW3)()
        assert features[name].shape == (5, 8)
    np.testing.assert_allclose(features["plain"], features["eager"], rtol=1e-4, atol=1e-5)
    assert "plain" in {plan.engine for plan in list_options("auto", "fp32", "cpu")}


@pytest.mark.slow
@pytest.mark.usefixtures("slim_resnets", "timed_once")
def test_a_run_uses_all_three(tmp_path: Path) -> None:
    config = RunConfig(
        data="digits",
        methods=("centroid", "knn"),
        engine="plain",
        precision="fp32",
        device="cpu",
        backbone="resnet18",
        weights="random",
        repeats=0,
        store=tmp_path / "store",
    )
    result = experiment.run(config)
    assert result.data["name"] == "digits"
    assert len(result.data["classes"]) == 10
    assert result.engine["name"] == "plain"
    assert result.method("centroid")["test"]["accuracy"] > 0.3
    assert result.features["computed"] == 200


def test_the_command_line_lists_the_new_method(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "centroid" in capsys.readouterr().out
