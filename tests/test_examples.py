"""The examples of every public function and class, executed."""

from __future__ import annotations

import doctest
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transfer
from tests.cli.words import words_for
from transfer import cli

API = Path(transfer.__file__).parents[1].joinpath("docs", "api.md").read_text()
DIRECTIVES = re.findall(r"^::: (\S+)(?:\n    options:\n      members: \[(.*)\])?", API, re.M)
DOCUMENTED = [f"{name}.{member}" for name, members in DIRECTIVES if members for member in members.split(", ")]
DOCUMENTED += [name for name, members in DIRECTIVES if not members]


def find(name: str) -> Any:
    module, _, own = name.rpartition(".")
    return getattr(import_module(module), own)


# By itself and not by its name: several names are of one object.
PUBLIC = {id(find(name)): name for name in [*(f"transfer.{own}" for own in transfer.__all__), *DOCUMENTED]}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def folder(
    slim_resnets: None,
    timed_once: None,
    make_images: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What examples name: features, an image, and a saved model."""
    root = tmp_path_factory.mktemp("examples")
    make_images(root / "images")
    words = ["--methods=ridge", "--repeats=0", "--engine=eager", "--precision=fp32", "--quiet"]
    assert cli.main(["run", *words_for(root), *words, f"--out={root / 'out/photos'}"]) == 0
    shutil.copy(root / "images/train/class0/0.jpg", root / "boat.jpg")
    rng, y = np.random.default_rng(0), np.repeat(np.arange(3), 40)
    np.savez(root / "features.npz", X=rng.normal(size=(120, 4)) + 2 * y[:, None], y=y)
    return root


def test_what_is_public_is_documented() -> None:
    documented = [find(name) for name in DOCUMENTED]
    assert [name for name in transfer.__all__ if getattr(transfer, name) not in documented] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLIC.values()))
def test_examples_say_what_happens(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    own = find(name)
    examples = doctest.DocTestParser().get_doctest(own.__doc__, {}, name, None, None)
    assert examples.examples, f"{name} has no example"
    assert "Examples\n" in own.__doc__
    lines: list[str] = []
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=lines.append).failed
    assert not failed, "".join(lines)
