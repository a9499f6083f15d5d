from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.html.conftest import Make
from tests.report.html.conftest import make as make

WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(make: Make, tmp_path: Path) -> WriteRun:
    """A function that writes a made result and its predictions into a folder, and returns the result file."""

    def write(
        folder: str, *, classes: Any = ("a", "b", "c"), support: Any = (12, 12, 12), **parts: Any
    ) -> Path:
        edit, csv = parts.pop("edit", None), parts.pop("predictions", True)
        result, text = make(classes, support, **parts)
        if edit:
            result, text = edit(result, text)
        file = tmp_path / folder / "result.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(result.to_json())
        if csv:
            (file.parent / "predictions.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        return file

    return write
