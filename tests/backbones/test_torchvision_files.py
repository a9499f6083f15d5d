"""What is read from torchvision's files is what torchvision says, and nothing of it is imported for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torchvision
from torchvision import models

from transfer.backbones import torchvision_files


@pytest.fixture(params=["read", "imported"])
def _way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as they are, and as another release might have written them."""
    for found in (torchvision_files.version, torchvision_files.imagenet_urls):
        found.cache_clear()
    if request.param == "imported":
        (tmp_path / "version.py").write_text("from torchvision.somewhere import __version__\n")
        monkeypatch.setattr(torchvision_files, "_folder", lambda: tmp_path)


@pytest.mark.usefixtures("_way")
def test_the_version_is_the_one_that_keys_of_features_have() -> None:
    assert torchvision_files.version() == torchvision.__version__


@pytest.mark.usefixtures("_way")
def test_names_are_those_that_torchvision_lists() -> None:
    assert torchvision_files.names() == models.list_models(module=models)


@pytest.mark.usefixtures("_way")
def test_weights_are_where_torchvision_has_them() -> None:
    expected = {name: models.get_model_weights(name).__members__ for name in torchvision_files.names()}
    assert torchvision_files.imagenet_urls() == {
        name: weights["IMAGENET1K_V1"].url if "IMAGENET1K_V1" in weights else None
        for name, weights in expected.items()
    }


def test_files_of_which_some_are_written_otherwise_are_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    text = "@register_model()\ndef {}(*, weights: {} = None) -> A:\n    pass\n"
    written = text.format("a", "A_Weights | None") + text.format("b", "Optional[B_Weights]")
    (tmp_path / "models" / "ab.py").write_text(written)
    monkeypatch.setattr(torchvision_files, "_folder", lambda: tmp_path)
    torchvision_files.imagenet_urls.cache_clear()
    assert torchvision_files.names() == models.list_models(module=models)


def test_nothing_is_imported() -> None:
    code = (
        "import sys\n"
        "from transfer.backbones import torchvision_files\n"
        "assert torchvision_files.version() and torchvision_files.names()\n"
        "print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
