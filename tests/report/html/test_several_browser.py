"""The page of several results in headless Chromium; skipped where there is none."""

from __future__ import annotations

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
def opened(browser: Any, write_run: WriteRun, tmp_path: Path) -> Any:
    """A function that opens the page of made results, of one image set, named by their folders."""

    def open_page(
        classes: list[str],
        folders: tuple[str, ...] = ("a", "b", "c"),
        scheme: str = "light",
    ) -> Any:
        support = [4 + c % 5 for c in range(len(classes))]
        files = [
            write_run(name, seed=seed, classes=classes, support=support) for seed, name in enumerate(folders)
        ]
        page = tmp_path / "page.html"
        page.write_text(report.page_of_several(read_runs(files)))
        return browsers.open_page(browser, page, scheme=scheme)

    return open_page


def test_nothing_is_requested_and_nothing_fails(opened: Any) -> None:
    page = opened(HOSTILE, ("quo\"te'", "<img src=x onerror=alert(1)>", "b&amp;"))
    assert page.get_log("browser") == []
    assert browsers.requests_made(page) == []
    names = page.execute_script(
        "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    )
    assert names == HOSTILE
    assert page.execute_script("return document.querySelectorAll('img').length") == 0


@pytest.mark.parametrize("n_classes", [16, 200])
def test_nothing_is_cut_off(opened: Any, n_classes: int, tmp_path: Path) -> None:
    folders = tuple(f"{i}_a_rather_long_name_of_a_folder_without_spaces" for i in range(6))
    page = opened([f"a rather long class name {i}" for i in range(n_classes)], folders)
    for size in (NARROW, WIDE):
        browsers.open_page(page, tmp_path / "page.html", size)
        assert browsers.width_of(page) <= size[0]
        assert browsers.labels_cut_off(page) == []


def test_classes_are_sorted_by_the_column_clicked(opened: Any) -> None:
    page = opened(["c", "a", "b"])
    read = "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    click = "document.querySelectorAll('#classes thead button')[arguments[0]].click()"
    page.execute_script(click, 0)
    assert page.execute_script(read) == ["a", "b", "c"]
    page.execute_script(click, 1)
    assert page.execute_script(read) == ["c", "a", "b"]


def test_every_control_is_reached_by_keyboard(opened: Any) -> None:
    assert browsers.out_of_reach(opened(["a", "b"]), "button, a, summary, .wide") == set()


@browsers.needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(opened: Any, scheme: str) -> None:
    assert browsers.axe_violations(opened(["a", "b", "c"], scheme=scheme)) == []


def test_it_is_printed_dark_on_white_whatever_the_scheme(opened: Any) -> None:
    assert browsers.faint_texts_in_print(opened(["a", "b"], scheme="dark")) == []
