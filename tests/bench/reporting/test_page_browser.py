"""The page of a record in headless Chromium; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.reporting import page, record
from tests import browser as browsers
from tests.bench.samples import OLD_FILES
from tests.browser import NARROW, WIDE
from tests.browser import browser as browser

pytestmark = browsers.MARKS


@pytest.fixture(scope="module", params=["recorded", "old"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    filed = record.filed(record.RESULTS)
    shown = filed[-1] if request.param == "recorded" else record.load(OLD_FILES[0])
    path = tmp_path_factory.mktemp("page") / "bench.html"
    path.write_text(page.render(shown, filed))
    return path


def test_nothing_is_requested_and_nothing_fails(browser: Any, file: Path) -> None:
    opened = browsers.open_page(browser, file)
    assert opened.get_log("browser") == []
    assert browsers.requests_made(opened) == []


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_nothing_is_cut_off(browser: Any, file: Path, size: tuple[int, int]) -> None:
    opened = browsers.open_page(browser, file, size)
    assert browsers.width_of(opened) <= size[0]
    assert browsers.labels_cut_off(opened) == []


def test_every_control_is_reached_by_keyboard(browser: Any, file: Path) -> None:
    assert browsers.out_of_reach(browsers.open_page(browser, file), "a, summary") == set()


@browsers.needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Any, file: Path, scheme: str) -> None:
    assert browsers.axe_violations(browsers.open_page(browser, file, scheme=scheme)) == []


def test_it_is_printed_dark_on_white_whatever_the_scheme(browser: Any, file: Path) -> None:
    assert browsers.faint_texts_in_print(browsers.open_page(browser, file, scheme="dark")) == []
