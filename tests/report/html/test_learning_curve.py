from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from tests.report.curves import make_curve
from transfer.evaluation.extrapolation import NO_RISE
from transfer.report.html.learning_curve import chart, render


class Elements(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of_class(self, tag: str, class_: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for own, attributes in self.found
            if own == tag and class_ in (attributes.get("class") or "").split()
        ]


def test_the_page_refers_to_nothing_and_runs_nothing() -> None:
    page = render(make_curve())
    assert "default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert not re.search(r"https?://|url\(|@import", page)
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in Elements(page).found)


def test_every_figure_is_in_a_table_too() -> None:
    page = render(make_curve())
    for cell in ("0.393 (.36-.42)", "0.853", "900"):
        assert f'<td class="number">{cell}</td>' in page
    assert [attributes["aria-label"] for tag, attributes in Elements(page).found if tag == "svg"] == [
        "macro F1 on the test split against the number of training images",
        "accuracy on the test split against the number of training images",
    ]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b', "line\nbreak\u202e"])
def test_names_stay_text(name: str) -> None:
    page = render(make_curve(name=name))
    assert name not in page
    assert "script" not in {tag for tag, _ in Elements(page).found}


def test_the_range_ends_before_the_whole_training_split() -> None:
    found = Elements(str(chart(make_curve(), "macro_f1")))
    (whole, extended), *_ = [
        [float(dot["cx"] or 0) for dot in found.of_class("circle", "m0") if "whole" in (dot["class"] or "")]
    ]
    band = found.of_class("polygon", "m0")[0]["points"] or ""
    assert max(float(pair.split(",")[0]) for pair in band.split()) < whole < extended


def test_what_is_extrapolated_is_dotted_and_the_rest_is_not() -> None:
    found = Elements(str(chart(make_curve(), "macro_f1")))
    lines = found.of_class("polyline", "m1")
    dotted = [one for one in lines if "dotted" in (one["class"] or "")]
    assert len(lines) == 2
    assert len(dotted) == 1
    record = make_curve()
    for method in record["methods"]:
        method["extrapolation"]["macro_f1"] = {"reason": NO_RISE}
    drawn = str(chart(record, "macro_f1"))
    assert "dotted" not in drawn
    assert "twice" not in drawn


def test_labels_of_close_sizes_do_not_overlap() -> None:
    sizes = tuple(k * 10**power for power in range(5) for k in (1, 2, 5))
    found = re.findall(r'<text x="([\d.]+)" y="296"', str(chart(make_curve(sizes=sizes), "macro_f1")))
    at = sorted(map(float, found))
    assert len(at) > 5
    assert min(b - a for a, b in itertools.pairwise(at)) >= 44
