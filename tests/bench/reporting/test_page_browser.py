"""The page of a record in headless Chromium; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.reporting import page, record
from tests import browser as browsers
from tests.bench.samples import OLD_FILES
from tests.browser import browser as browser

pytestmark = browsers.MARKS


@pytest.fixture(scope="module", params=["recorded", "old"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    filed = record.load_filed(record.RESULTS)
    shown = filed[-1] if request.param == "recorded" else record.load(OLD_FILES[0])
    path = tmp_path_factory.mktemp("page") / "bench.html"
    path.write_text(page.render(shown, filed))
    return path


class TestPage(browsers.PageContract):
    CONTROLS = "a, summary"
