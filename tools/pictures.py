"""The pictures of the documents, made from a finished `make bench`: `python -m tools.pictures OUT docs/pictures`.

The summary in the terminal, the top of the page in headless Chromium (which must be installed), and how many times as
fast each operation is as its reference.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from importlib.resources import files
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from selenium import webdriver

from bench.reporting import charts, record, status
from bench.reporting.comparison import by_device, find_gpu_record
from bench.reporting.record import Record
from transfer import report
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.system import files as on_disk
from transfer.system.errors import UserError
from transfer.system.run_files import PAGE, RESULT

COLUMNS = 80
# Pixels of the screenshot.
WINDOW = (1000, 1000)
SVG = "http://www.w3.org/2000/svg"


def terminal(result: Result) -> str:
    """Return the summary of a result as SVG: a window of a terminal."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    report.show(result, console)
    svg = console.export_svg(title="transfer run", theme=DIMMED_MONOKAI)
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # it would be taken from another host


def speed(shown: Record, filed: list[Record]) -> str:
    """Return a drawing of all ratios of a record as SVG with its own style.

    Raises
    ------
    UserError
        If the record has no ratio.
    """
    gpu_record = find_gpu_record(shown, filed)
    drawn = charts.ratios(by_device(shown, gpu_record), "GPU, recorded" if gpu_record else "GPU")
    if drawn is None:
        raise UserError("the record has no ratio to draw")
    style = (files("transfer.report.html") / "style.css").read_text("utf-8")
    paper = '<rect width="100%" height="100%" style="fill: var(--back)"/>'
    return (
        str(drawn)
        .replace("<svg ", f'<svg xmlns="{SVG}" ', 1)
        .replace(">", f"><style>{style}</style>{paper}", 1)
    )


def screenshot(page: Path) -> bytes:
    """Return the top of a page as PNG.

    Raises
    ------
    UserError
        If Chromium or its driver is not installed.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        raise UserError("the screenshot needs chromium and chromedriver; install them")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        opened.set_window_size(*WINDOW)
        opened.get(page.resolve().as_uri())
        png: bytes = opened.get_screenshot_as_png()
    finally:
        opened.quit()
    return png


def main() -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("run", type=Path, metavar="OUT", help="the folder of a `make bench`")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the pictures go")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    shown = record.load(args.run / "record.json")
    for name, data in (
        ("terminal.svg", terminal(results.load(args.run / RESULT)).encode()),
        ("speed.svg", speed(shown, record.load_filed(record.RESULTS)).encode()),
        ("page.png", screenshot(args.run / PAGE)),
    ):
        on_disk.write(args.folder / name, data)
    return 0


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
