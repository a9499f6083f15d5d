"""The page of a learning curve in headless Chromium; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import browser as browsers
from tests.browser import browser as browser
from tests.report.curves import make_curve
from transfer.heads.registry import METHODS
from transfer.report.html.learning_curve import render

pytestmark = browsers.MARKS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "curve.html"
    path.write_text(render(make_curve(name='<img src=x onerror="alert(1)">', methods=tuple(METHODS))))
    return path


class TestPage(browsers.PageContract):
    CONTROLS = "a, summary, .wide"


def test_it_has_no_pictures(browser: Any, file: Path) -> None:
    assert browsers.open_page(browser, file).find_elements("css selector", "img") == []
