"""The page of several results in headless Chromium; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import browser as browsers
from tests.browser import NARROW, WIDE
from tests.browser import browser as browser
from tests.report.conftest import WriteRun
from tests.report.html.test_browser import HOSTILE
from transfer import report
from transfer.report.runs import read_runs

pytestmark = browsers.MARKS


@pytest.fixture
def write(write_run: WriteRun, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the page of made results, of one image set, named by their folders."""

    def write_page(classes: list[str], folders: tuple[str, ...] = ("a", "b", "c")) -> Path:
        support = [4 + c % 5 for c in range(len(classes))]
        files = [
            write_run(name, seed=seed, classes=classes, support=support) for seed, name in enumerate(folders)
        ]
        (tmp_path / "page.html").write_text(report.page_of_several(read_runs(files)))
        return tmp_path / "page.html"

    return write_page


@pytest.fixture
def file(write: Callable[..., Path]) -> Path:
    return write(HOSTILE, ("quo\"te'", "<img src=x onerror=alert(1)>", "b&amp;"))


class TestPage(browsers.PageContract):
    CONTROLS = "button, a, summary, .wide"


@pytest.mark.parametrize("n_classes", [16, 200])
def test_long_names_are_not_cut_off(browser: Any, write: Callable[..., Path], n_classes: int) -> None:
    folders = tuple(f"{i}_a_rather_long_name_of_a_folder_without_spaces" for i in range(6))
    file = write([f"a rather long class name {i}" for i in range(n_classes)], folders)
    for size in (NARROW, WIDE):
        browsers.check_nothing_is_cut_off(browser, file, size)


def test_names_with_markup_stay_text(browser: Any, file: Path) -> None:
    page = browsers.open_page(browser, file)
    names = page.execute_script(
        "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    )
    assert names == HOSTILE
    assert page.execute_script("return document.querySelectorAll('img').length") == 0


def test_classes_are_sorted_by_the_column_clicked(browser: Any, write: Callable[..., Path]) -> None:
    page = browsers.open_page(browser, write(["c", "a", "b"]))
    read = "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    click = "document.querySelectorAll('#classes thead button')[arguments[0]].click()"
    page.execute_script(click, 0)
    assert page.execute_script(read) == ["a", "b", "c"]
    page.execute_script(click, 1)
    assert page.execute_script(read) == ["c", "a", "b"]
