from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of checkpoints, empty, on a machine without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "home/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def hf_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that puts files into an empty cache of the Hugging Face hub; the network can't be reached."""
    hub = pytest.importorskip("huggingface_hub")
    cache = tmp_path / "hub"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache))

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)

    def put(repository: str, files: Iterable[Path] = (), absent: Iterable[str] = ()) -> Path:
        folder, commit = cache / f"models--{repository.replace('/', '--')}", "0" * 40
        for part in ("refs", f"snapshots/{commit}", f".no_exist/{commit}"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "refs/main").write_text(commit)
        for file in files:
            (folder / "snapshots" / commit / file.name).write_bytes(file.read_bytes())
        for name in absent:
            (folder / ".no_exist" / commit / name).touch()
        return folder

    return put
