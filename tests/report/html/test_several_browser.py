"""The page of several results in headless Chromium; skipped where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import WriteRun
from tests.report.html import test_browser
from tests.report.html.test_browser import HOSTILE, NARROW, WIDE
from tests.report.html.test_browser import browser as browser
from transfer import report
from transfer.report.runs import read_runs

pytestmark = test_browser.pytestmark


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
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        show(browser, page.as_uri(), WIDE)
        return browser

    return open_page


def show(browser: Any, address: str, size: tuple[int, int]) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(address)


def test_nothing_is_requested_and_nothing_fails(opened: Any) -> None:
    page = opened(HOSTILE, ("quo\"te'", "<img src=x onerror=alert(1)>", "b&amp;"))
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    names = page.execute_script(
        "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    )
    assert names == HOSTILE
    assert page.execute_script("return document.querySelectorAll('img').length") == 0


@pytest.mark.parametrize("n_classes", [16, 200])
def test_the_page_never_scrolls_sideways(opened: Any, n_classes: int) -> None:
    folders = tuple(f"a_rather_long_name_of_a_folder_without_spaces_{i}" for i in range(6))
    page = opened([f"a rather long class name {i}" for i in range(n_classes)], folders)
    for size in (NARROW, WIDE):
        show(page, page.current_url, size)
        assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]


def test_no_label_leaves_its_drawing(opened: Any) -> None:
    page = opened(["a", "b"], tuple(f"{i}_a_rather_long_name_of_a_folder" for i in range(6)))
    outside = page.execute_script(
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
    assert outside == []


def test_classes_are_sorted_by_the_column_clicked(opened: Any) -> None:
    page = opened(["c", "a", "b"])
    read = "return [...document.querySelectorAll('#classes tbody th')].map(one => one.textContent)"
    click = "document.querySelectorAll('#classes thead button')[arguments[0]].click()"
    page.execute_script(click, 0)
    assert page.execute_script(read) == ["a", "b", "c"]
    page.execute_script(click, 1)
    assert page.execute_script(read) == ["c", "a", "b"]


def test_every_control_is_reached_by_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = opened(["a", "b"])
    found = {element.id for element in page.find_elements("css selector", "button, a, summary, .wide")}
    reached = set()
    for _ in range(2 * len(found)):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.id)
    assert found <= reached


@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE does not name axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(opened: Any, scheme: str) -> None:
    page = opened(["a", "b", "c"], scheme=scheme)
    page.execute_script(Path(os.environ["AXE_CORE"]).read_text())
    found = page.execute_async_script(
        "axe.run().then((done) => arguments[arguments.length - 1]("
        "done.violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3)])))"
    )
    assert found == []
