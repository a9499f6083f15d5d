"""What commands are called with, and what they print as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from transfer import cli


def words_for(root: Path) -> list[str]:
    """Words that run on the images in a folder, with a store beside them."""
    return [
        str(root / "images"),
        "--backbone=resnet18",
        "--weights=random",
        f"--store={root / 'store'}",
        "--device=cpu",
    ]


def run_json(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> dict[str, Any]:
    """Run a command with `--json`; return what it prints."""
    assert cli.main([*argv, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found
