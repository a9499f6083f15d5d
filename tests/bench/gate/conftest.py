"""A repository that revisions are taken from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.gate import worktrees


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits of one file."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@example.org")
    clone = tmp_path / "clone"
    git(tmp_path, "init", "--quiet", str(clone))
    for text in ("old", "new"):
        (clone / "file").write_text(text)
        git(clone, "add", "file")
        git(clone, "commit", "--quiet", "--message", text)
    monkeypatch.setattr(worktrees, "HERE", clone)
    return clone


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout
