"""Pages in headless Chromium, driven by selenium: what tests of different pages share.

`AXE_CORE` names the file axe.min.js of the npm package axe-core, for the checks of accessibility.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]
needs_axe = pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE does not name axe.min.js")
NARROW, WIDE = (390, 800), (1280, 900)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_page(browser: Any, page: Path, size: tuple[int, int] = WIDE, scheme: str = "light") -> Any:
    """Open a file in a window of a width and height in pixels, in the light or the dark scheme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(page.as_uri())
    return browser


def requests_made(page: Any) -> list[str]:
    """What the page asked for, pictures within it left aside."""
    names = page.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    return [name for name in names if not name.startswith("data:")]


def labels_cut_off(page: Any) -> list[str]:
    """The texts of drawings that lie in part outside of them."""
    found: list[str] = page.execute_script(
        """
        return [...document.querySelectorAll("svg.chart")].flatMap((chart) => {
          const box = chart.getBoundingClientRect();
          return [...chart.querySelectorAll("text")].filter((one) => {
            const own = one.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1;
          }).map((one) => one.textContent);
        });
        """
    )
    return found


def check_nothing_is_cut_off(browser: Any, file: Path, size: tuple[int, int]) -> None:
    page = open_page(browser, file, size)
    width = page.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]
    assert labels_cut_off(page) == []


def out_of_reach(page: Any, controls: str) -> set[str]:
    """Of the elements that a selector finds, those that the tab key does not reach."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    found = {element.id: element for element in page.find_elements("css selector", controls)}
    assert found
    reached = set()
    for _ in range(3 * len(found)):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.id)
    return {element.get_attribute("outerHTML") for id, element in found.items() if id not in reached}


def faint_texts_in_print(page: Any) -> list[str]:
    """The texts that are lighter than a medium grey where the page is printed, which is on white."""
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    found: list[str] = page.execute_script(
        """
        return [...document.querySelectorAll("p, li, h1, h2, th, td, figcaption, svg.chart text")].filter((one) => {
          const style = getComputedStyle(one), colour = one.closest("svg") ? style.fill : style.color;
          return Math.max(...colour.match(/[\\d.]+/g).slice(0, 3)) > 160;
        }).map((one) => one.textContent);
        """
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    return found


def axe_violations(page: Any) -> list[Any]:
    """Rules of axe-core that the page violates, each with the first elements that do."""
    page.execute_script(Path(os.environ["AXE_CORE"]).read_text())
    found: list[Any] = page.execute_async_script(
        "axe.run().then((done) => arguments[arguments.length - 1]("
        "done.violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3)])))"
    )
    return found


class PageContract:
    """What holds for every page, which the fixture `file` of a test module has written."""

    CONTROLS: ClassVar[str]
    """Selector of what the tab key must reach."""

    def test_nothing_is_requested_and_nothing_fails(self, browser: Any, file: Path) -> None:
        page = open_page(browser, file)
        assert page.get_log("browser") == []
        assert requests_made(page) == []
        assert (
            page.execute_script("return document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0
        )

    @pytest.mark.parametrize("size", [NARROW, WIDE])
    def test_nothing_is_cut_off(self, browser: Any, file: Path, size: tuple[int, int]) -> None:
        check_nothing_is_cut_off(browser, file, size)

    def test_every_control_is_reached_by_keyboard(self, browser: Any, file: Path) -> None:
        assert out_of_reach(open_page(browser, file), self.CONTROLS) == set()

    @needs_axe
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_no_violation(self, browser: Any, file: Path, scheme: str) -> None:
        assert axe_violations(open_page(browser, file, scheme=scheme)) == []

    def test_it_is_printed_dark_on_white_whatever_the_scheme(self, browser: Any, file: Path) -> None:
        assert faint_texts_in_print(open_page(browser, file, scheme="dark")) == []
