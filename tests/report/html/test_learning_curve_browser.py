"""The page of a learning curve in headless Chromium; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import browser as browsers
from tests.browser import NARROW, WIDE
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


def test_nothing_is_requested_and_nothing_fails(browser: Any, file: Path) -> None:
    opened = browsers.open_page(browser, file)
    assert opened.get_log("browser") == []
    assert browsers.requests_made(opened) == []
    assert opened.find_elements("css selector", "img") == []


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_nothing_is_cut_off(browser: Any, file: Path, size: tuple[int, int]) -> None:
    opened = browsers.open_page(browser, file, size)
    assert browsers.width_of(opened) <= size[0]
    assert browsers.labels_cut_off(opened) == []


@browsers.needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Any, file: Path, scheme: str) -> None:
    assert browsers.axe_violations(browsers.open_page(browser, file, scheme=scheme)) == []


def test_it_is_printed_dark_on_white_whatever_the_scheme(browser: Any, file: Path) -> None:
    assert browsers.faint_texts_in_print(browsers.open_page(browser, file, scheme="dark")) == []
