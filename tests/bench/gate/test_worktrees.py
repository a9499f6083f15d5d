"""Revisions as folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate import worktrees
from tests.bench.gate.conftest import git
from transfer.system.errors import UserError


def test_trees_hold_their_revisions_and_leave_nothing(clone: Path, tmp_path: Path) -> None:
    old, new = worktrees.commit("HEAD~1"), worktrees.commit("HEAD")
    with worktrees.tree(old, tmp_path / "a") as a, worktrees.tree(new, tmp_path / "b") as b:
        assert (a / "file").read_text() == "old"
        assert (b / "file").read_text() == "new"
    assert not a.exists()
    assert len(git(clone, "worktree", "list").splitlines()) == 1


def test_a_tree_goes_when_its_user_fails(clone: Path, tmp_path: Path) -> None:
    def interrupted() -> None:
        with worktrees.tree("HEAD", tmp_path / "a") as a:
            (a / "left").write_text("behind")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "a").exists()
    assert len(git(clone, "worktree", "list").splitlines()) == 1


def test_the_tree_as_it_is_has_what_was_changed(clone: Path, tmp_path: Path) -> None:
    assert worktrees.as_it_is() == worktrees.commit("HEAD")
    (clone / "file").write_text("changed")
    with worktrees.tree(worktrees.as_it_is(), tmp_path / "a") as a:
        assert (a / "file").read_text() == "changed"
    assert (clone / "file").read_text() == "changed"
    assert git(clone, "stash", "list") == ""


@pytest.mark.parametrize("revision", ["nowhere", "--help", "HEAD~7", ""])
def test_a_revision_that_is_not_there(clone: Path, revision: str) -> None:
    with pytest.raises(UserError, match="give a revision that git knows"):
        worktrees.commit(revision)


def test_no_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worktrees, "HERE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="not a git repository"):
        worktrees.commit("HEAD")


def test_no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="can't run git"):
        worktrees.commit("HEAD")
