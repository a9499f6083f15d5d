"""The page of a result in headless Chromium; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import browser as browsers
from tests.browser import NARROW, WIDE
from tests.browser import browser as browser
from tests.report.html.conftest import Make
from transfer import report

pytestmark = browsers.MARKS
HOSTILE = ["a<b>", '</script><img src=x onerror="alert(1)">', "quo\"te'", "ä & b"]


@pytest.fixture
def write(make: Make, jpeg: bytes, tmp_path: Path) -> Callable[[list[str], list[int]], Path]:
    """A function that writes the page of a made result."""

    def write_page(classes: list[str], support: list[int]) -> Path:
        result, text = make(classes, support)
        predictions, page = tmp_path / "predictions.csv", tmp_path / "report.html"
        predictions.write_text(text)
        page.write_text(report.page(result, predictions, lambda file: jpeg))
        return page

    return write_page


@pytest.fixture
def file(write: Callable[..., Path]) -> Path:
    return write(HOSTILE, [6, 6, 6, 6])


@pytest.fixture
def opened(browser: Any, write: Callable[..., Path]) -> Any:
    """A function that opens such a page."""
    return lambda classes, support: browsers.open_page(browser, write(classes, support))


class TestPage(browsers.PageContract):
    CONTROLS = "button, select, a, summary"


@pytest.mark.parametrize("n_classes", [16, 200])
def test_long_names_of_classes_are_not_cut_off(
    browser: Any, write: Callable[..., Path], n_classes: int
) -> None:
    file = write([f"a rather long class name {i}" for i in range(n_classes)], [4] * n_classes)
    for size in (NARROW, WIDE):
        browsers.check_nothing_is_cut_off(browser, file, size)


def test_names_with_markup_stay_text(opened: Any) -> None:
    page = opened(HOSTILE, [6, 6, 6, 6])
    names = page.execute_script(
        "return [...document.querySelectorAll('#matrix tbody th')].map(one => one.textContent)"
    )
    assert names == HOSTILE


@pytest.mark.parametrize("n_classes", [16, 200])
def test_a_click_on_a_cell_shows_its_images(opened: Any, n_classes: int) -> None:
    page = opened([f"class {i}" for i in range(n_classes)], [6] * n_classes)
    title, count, files = page.execute_script(
        """
        const cells = [...document.querySelectorAll("#matrix button")];
        const most = cells.find((cell) => !/class (\\d+), called class \\1:/.test(cell.title));
        most.click();
        return [most.title, +most.textContent,
                [...document.querySelectorAll("#cell-images .file")].map((one) => one.textContent)];
        """
    )
    label = title.split(", called ")[0]
    assert len(files) == count > 0
    assert all(file.startswith(f"test/{label}/") for file in files)


def test_the_matrix_follows_the_method(opened: Any) -> None:
    page = opened(["a", "b"], [20, 20])
    read = "return [...document.querySelectorAll('#matrix button')].map(one => one.textContent).join()"
    before = page.execute_script(read)
    page.execute_script(
        "const method = document.getElementById('method'); method.value = 'fc-lab'; "
        "method.dispatchEvent(new Event('change'))"
    )
    assert page.execute_script(read) != before


def test_classes_are_sorted_by_the_column_clicked(opened: Any) -> None:
    page = opened(["c", "a", "b"], [3, 9, 6])
    read = "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    click = "document.querySelectorAll('#classes thead button')[arguments[0]].click()"
    page.execute_script(click, 0)
    assert page.execute_script(read) == ["a", "b", "c"]
    page.execute_script(click, 1)
    assert page.execute_script(read) == ["c", "b", "a"]
    page.execute_script(click, 1)
    assert page.execute_script(read) == ["a", "b", "c"]


def test_classes_are_sorted_by_keyboard_and_the_order_is_announced(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page = opened(["class 10", "class 9", "b"], [3, 9, 6])
    heads = page.find_elements("css selector", "#classes thead th")
    order = "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    for key, announced, expected in (
        (Keys.ENTER, "ascending", ["b", "class 9", "class 10"]),
        (Keys.SPACE, "descending", ["class 10", "class 9", "b"]),
    ):
        heads[0].find_element("css selector", "button").send_keys(key)
        assert [head.get_attribute("aria-sort") for head in heads] == [announced, *[None] * (len(heads) - 1)]
        assert page.execute_script(order) == expected
    heads[-1].find_element("css selector", "button").send_keys(Keys.ENTER)
    assert [head.get_attribute("aria-sort") for head in heads] == [*[None] * (len(heads) - 1), "ascending"]
