from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from bench.reporting import page, record
from bench.reporting.comparison import by_device
from bench.reporting.record import Record
from bench.reporting.timings import duration, median_s, name_way, ratio
from tests.bench.samples import OLD_FILES, benchmark, made_up

FILED = record.load_filed(record.RESULTS)
RECORDS = [*map(record.load, OLD_FILES), *FILED]
HOSTILE = "a<b>\n& \"c' </style><script>\x1b[31m"


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("made", RECORDS, ids=lambda made: f"{made.machine} {made.created[:10]}")
def test_the_page_of_a_record_refers_to_nothing_outside_itself(made: Record) -> None:
    text = page.render(made, FILED)
    found = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    for _, attributes in found.elements:
        assert not {"src", "srcset", "action", "data"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    policies = [
        one["content"] for _, one in found.elements if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("made", RECORDS, ids=lambda made: f"{made.machine} {made.created[:10]}")
def test_the_page_has_every_way_and_every_drawing(made: Record) -> None:
    found = Page(page.render(made, FILED))
    for one in made.benchmarks:
        assert name_way(one) in found.text
        assert duration(median_s(one)) in found.text
    assert sum(tag == "svg" for tag, _ in found.elements) == 2
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in found.elements if tag == "a"]
    assert {f"#{one}" for one in ids} == set(links)


def test_wide_tables_and_drawings_scroll_inside_a_box() -> None:
    text = page.render(made_up(), FILED)
    boxes = re.findall('<div class="wide( full)?" tabindex="0">', text)
    assert len(re.findall("<table>|<svg ", text)) == len(boxes)
    assert ".wide { overflow-x: auto; }" in text
    assert "prefers-color-scheme: dark" in text


def test_the_ratio_is_that_of_the_two_times_beside_it() -> None:
    made = made_up(
        benchmark(way="ours", seconds=(0.5,), images=16),
        benchmark(way="SVC", seconds=(2.0,), images=16, reference=True),
    )
    (row,) = page.operations(by_device(made, None)).rows
    assert row == [
        "fit, SVM",
        "CPU",
        "16 images",
        "ours",
        "500 ms",
        "32.0",
        "SVC",
        "2.00 s",
        "8.00",
        ratio(2.0 / 0.5),
    ]


def test_of_methods_the_ends_are_named() -> None:
    ways = [benchmark(way=name, method=name, seconds=(s,)) for name, s in (("svm", 2.0), ("knn", 1.0))]
    (row,) = page.operations(by_device(made_up(*ways), None)).rows
    assert row[3] == "2 methods: 1.00 s (knn) to 2.00 s (svm)"


def test_a_record_without_references_or_gpu_has_a_page() -> None:
    found = Page(page.render(made_up(), []))
    assert "not this machine" not in found.text
    assert "Recorded machines" not in found.text


def test_names_are_text_whatever_they_hold() -> None:
    run: dict[str, Any] = {**made_up().run, "verdict": HOSTILE}
    run["data"] = {**run["data"], "name": HOSTILE}
    run["methods"] = [{**method, "name": HOSTILE, "kind": HOSTILE} for method in run["methods"]]
    ways = [benchmark(HOSTILE, HOSTILE, (1.0,), reference=reference) for reference in (True, False)]
    made = made_up(*ways, run=run, environment={"processor": HOSTILE}, skipped={HOSTILE: 2}, profile=HOSTILE)
    text = page.render(made, [made])
    found = Page(text)
    assert "<b>" not in text
    assert "\x1b" not in text
    assert not {"b", "script"} & {tag for tag, _ in found.elements}
    assert text.count("</style>") == 1
    assert "a<b>" in found.text
