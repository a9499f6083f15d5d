"""Two revisions as folders, in temporary git worktrees."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transfer.system.errors import UserError

HERE = Path(__file__).parent.parent.parent


@contextmanager
def tree(commit: str, folder: Path) -> Iterator[Path]:
    """Check out `commit` in `folder`, as a worktree that is removed afterwards."""
    try:
        _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield folder
    finally:
        with suppress(UserError):  # interrupted while it was made
            _git("worktree", "remove", "--force", "--force", str(folder))


def commit(revision: str) -> str:
    """Return the full hash of a revision. Raises `UserError` if git finds no such revision."""
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")


def as_it_is() -> str:
    """Return a commit of the tracked files as they are now, on no branch; the last commit if none was changed."""
    return _git("-c", "user.name=gate", "-c", "user.email=gate", "stash", "create") or commit("HEAD")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(
            f"can't run git ({error.strerror}); the gate compares revisions of a git clone"
        ) from error
    if done.returncode:
        message = " ".join(done.stderr.split()) or f"no such revision: {words[-1].removesuffix('^{commit}')}"
        raise UserError(
            f"{message}; give a revision that git knows (in a shallow clone: git fetch --unshallow)"
        )
    return done.stdout.strip()
