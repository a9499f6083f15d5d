from __future__ import annotations

from pathlib import Path

import pytest

from transfer.cli.commands import find_early, prepare_early
from transfer.config import RunConfig
from transfer.system import remote
from transfer.system.remote import RemotePath, path_of


@pytest.mark.slow
def test_a_url_is_listed_as_often_as_it_takes_to_find_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = path_of("memory://test_commands/photos")
    assert isinstance(root, RemotePath)
    for name in ("boat/1.jpg", "boat/2.jpg", "boat/3.jpg", "water/1.jpg", "water/2.jpg", "water/3.jpg"):
        (root / name).write(b"image")
    listed: list[RemotePath] = []
    list_files = remote.list_files
    monkeypatch.setattr(remote, "list_files", lambda folder: listed.append(folder) or list_files(folder))
    config = RunConfig(data=str(root), store=tmp_path, backbone="resnet18", weights="random")
    find_early(config)
    once = len(listed)
    prepare_early(config)
    assert 0 < once == len(listed) - once
