from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.report.html.conftest import EXAMPLE, METHODS, Make
from transfer import report
from transfer.evaluation import results
from transfer.report.answers import read_answers
from transfer.report.html import charts, pictures
from transfer.system.errors import UserError

HOSTILE = [
    "a<b>",
    "</script><script>alert(1)</script>",
    "quo\"te'",
    "line\nbreak",
    "\udcff",
    "ä & b",
    "\x1b[31mred",
]


class Page(HTMLParser):
    """The elements of a page, and the texts between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.data = json.loads(
            re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
        )  # type: ignore[index]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def predictions(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "predictions.csv"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return path

    return write


def test_a_result_of_version_1_without_predictions_has_a_page() -> None:
    page = Page(report.page(results.load(EXAMPLE), None))
    assert not any(tag == "img" for tag, _ in page.elements)
    assert ("h2", {"id": "pictures"}) not in page.elements
    assert sum(tag == "svg" for tag, _ in page.elements) >= 3


def test_the_page_refers_to_nothing_outside_itself(make: Make, predictions: Any, jpeg: bytes) -> None:
    result, text = make(["a", "b"], [5, 5])
    page = Page(report.page(result, predictions(text), lambda file: jpeg))
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset")
    ]
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)


def test_names_are_text_whatever_they_hold(make: Make, predictions: Any) -> None:
    result, text = make(HOSTILE, [4] * len(HOSTILE))
    page = Page(report.page(result, predictions(text)))
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert "b" not in {tag for tag, _ in page.elements}
    shown = "".join(page.texts)
    assert "a<b>" in shown
    assert page.data["classes"][0] == "a<b>"
    assert "\x1b" not in report.page(result, predictions(text))


def test_lists_hold_what_only_one_method_got_right_and_the_surest_mistakes(
    make: Make, predictions: Any
) -> None:
    result, text = make(["a", "b", "c"], [10, 10, 10])
    answers = read_answers(predictions(text), result)
    only_svm, only_fc, mistakes = pictures.lists(answers, "svm", "fc")
    for i in only_svm["images"]:
        assert answers.predicted["svm"][i] == answers.labels[i] != answers.predicted["fc"][i]
    for i in only_fc["images"]:
        assert answers.predicted["fc"][i] == answers.labels[i] != answers.predicted["svm"][i]
    sure = [answers.scores["svm"][i] for i in mistakes["images"]]
    assert sure == sorted(sure, reverse=True)
    wrong = sum(said != label for said, label in zip(answers.predicted["svm"], answers.labels, strict=True))
    assert mistakes["count"] == wrong > 0


def test_bytes_in_place_of_letters_are_those_of_the_file(make: Make, predictions: Any) -> None:
    """Names that were read in a locale of ASCII; `predictions.csv` has their bytes."""
    name = os.fsencode("fähre").decode("ascii", "surrogateescape")
    result, text = make([name, "b"], [4, 4])
    answers = read_answers(predictions(text.replace(name, "fähre")), result)
    assert set(answers.labels) == {name, "b"}
    assert set(answers.predicted["svm"]) <= {name, "b"}


def test_thumbnails_are_bounded_in_number_and_bytes(
    make: Make, predictions: Any, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, text = make(["a", "b"], [40, 40])
    monkeypatch.setattr(pictures, "MOST_THUMBNAILS", 5)
    page = Page(report.page(result, predictions(text), lambda file: jpeg))
    assert len(page.data["thumbnails"]) == 5
    monkeypatch.setattr(pictures, "MOST_BYTES", 2 * len(jpeg))
    page = Page(report.page(result, predictions(text), lambda file: jpeg))
    assert len(page.data["thumbnails"]) == 2
    assert "2 images have a picture in this page" in "".join(page.texts)


def test_images_that_can_not_be_read_any_more_have_no_picture(make: Make, predictions: Any) -> None:
    result, text = make(["a", "b"], [5, 5])
    page = Page(report.page(result, predictions(text), lambda file: None))
    assert page.data["thumbnails"] == {}
    assert len(page.data["files"]) == 10


def test_near_duplicates_are_shown_in_pairs(make: Make, predictions: Any, jpeg: bytes) -> None:
    near = {
        "first": "train",
        "second": "test",
        "compared": 10,
        "found": 1,
        "pairs": [["train/a/x.jpg", "test/a/y.jpg"]],
    }
    result, text = make(["a", "b"], [5, 5], data={"near_duplicates": [near]})
    page = Page(report.page(result, predictions(text), lambda file: jpeg))
    assert {"train/a/x.jpg", "test/a/y.jpg"} <= set(page.texts)


def test_a_class_without_test_images_has_no_recall(make: Make, predictions: Any) -> None:
    result, text = make(["a", "b", "none"], [5, 5, 0])
    page = Page(report.page(result, predictions(text)))
    row = page.texts.index("none")
    assert "-" in page.texts[row : row + 12]


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "split,file,group,label,svm,svm:score\ntest,x,,a,a,high\n"]
)
def test_a_file_that_holds_no_predictions_is_refused(make: Make, predictions: Any, text: str) -> None:
    with pytest.raises(UserError, match="can't be read as predictions"):
        read_answers(predictions(text), make(["a", "b"], [1, 1])[0])


@pytest.mark.parametrize(("old", "new"), [(",b,", ",z,"), ("fc-lab", "ridge")])
def test_predictions_of_another_result_are_refused(make: Make, predictions: Any, old: str, new: str) -> None:
    result, text = make(["a", "b"], [5, 5])
    with pytest.raises(UserError, match="is of another result"):
        read_answers(predictions(text.replace(old, new)), result)


def test_every_method_is_drawn(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    shown = "".join(Page(report.page(result, None)).texts)
    for name in METHODS:
        assert f"{name}: macro F1" in shown


def test_long_names_of_pairs_are_inside_the_drawing(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    name = "unfreeze:layer4.2"
    for pair in result.comparison["pairs"]:
        pair.update({end: name for end in "ab" if pair[end] == "fc"})
    result.method("fc")["name"] = name
    result.comparison["best_of_kind"]["fine-tuning"] = name
    drawn = str(charts.differences(result))
    left = float(re.search(r'<text x="([\d.]+)"[^>]*>svm - unfreeze:layer4.2<', drawn)[1])  # type: ignore[index]
    assert left >= charts.LETTER * len(f"svm - {name}")


def test_a_long_name_at_the_right_end_is_left_of_its_dot(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    slow = result.method("fc")
    slow.update(name="unfreeze:layer4.2+lora:8", fit_s=1e3)
    drawn = str(charts.score_against_time(result, "accuracy"))
    assert re.search(r'text-anchor="end" class="name">unfreeze:layer4.2\+lora:8<', drawn)
    assert 'text-anchor="start" class="name">svm<' in drawn


def test_rates_of_blocks_make_one_line_whatever_their_best_epochs(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    method, row = result.method("fc"), result.method("fc")["sweep"][0]
    rates = ((1e-4, 1), (1e-3, 3))
    method["sweep"] = [{**row, "params": {"lr": lr, "epochs": 5, "epoch": epoch}} for lr, epoch in rates]
    assert str(dict(charts.sweeps(result))["fc"]).count("<polyline") == 1


def suspects(count: int, **parts: Any) -> dict[str, Any]:
    first = [
        {"split": "train", "file": f"train/a/{i}.jpg", "label": "a", "other": "b", "margin": 2 - i / 100}
        for i in range(count)
    ]
    return {"images": 90, "of": 90, "contradicted": count, "first": first, **parts}


def test_labels_to_look_at_are_shown_with_pictures(make: Make, predictions: Any, jpeg: bytes) -> None:
    result, text = make(["a", "b"], [5, 5])
    result.comparison["suspects"] = suspects(30)
    page = Page(report.page(result, predictions(text), lambda file: jpeg))
    shown = [text for text in page.texts if text.startswith("train/a/")]
    assert shown == [f"train/a/{i}.jpg" for i in range(24)]
    assert {"label (train): a", "looks like: b (margin 2.00)"} <= set(page.texts)
    assert sum(tag == "img" for tag, _ in page.elements) == 24


def test_labels_that_were_not_checked_are_reported_as_such(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    result.comparison["suspects"] = suspects(0, images=0, of=100_000)
    assert any("Not checked: 100,000 images" in text for text in Page(report.page(result, None)).texts)


def test_a_learning_curve_has_a_line_for_each_setting(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    method = result.method("fc")
    for row in method["sweep"]:
        steps = 20 if row["params"] == method["best_params"] else 10
        row["curve"] = {
            "step": [5, steps],
            "loss": [1.5, None],
            "accuracy": [0.3, 0.5],
            "macro_f1": [0.2, 0.4],
        }
    page = Page(report.page(result, None))
    lines = [dict(own)["class"] for tag, own in page.elements if tag == "polyline"]
    assert lines.count("path chosen") == 1
    assert lines.count("path other") == len(method["sweep"]) - 1
    assert any("step 5: 0.200, cross entropy 1.5" in text for text in page.texts)
    assert any(text.endswith("step 20: 0.400") for text in page.texts)


@pytest.mark.parametrize(("name", "count"), [("lagoon", 4), ("photos", 0)])
def test_only_the_built_in_images_are_compared_with_the_lab_report(make: Make, name: str, count: int) -> None:
    result, _ = make(["a", "b"], [5, 5], data={"name": name})
    page = Page(report.page(result, None))
    assert sum(own.get("class") == "hollow" for _, own in page.elements) == count
    assert any("lab report" in text for text in page.texts) == (count > 0)


def test_the_rate_of_the_extraction_is_compared_with_that_of_products(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    result.features.update(images_per_s=20.0, flops_per_image=30_000_000_000, matmul_flops_per_s=8e11)
    words = "".join(Page(report.page(result, None)).texts)
    assert "20.0 images/s" in words
    assert "0.60 TFLOP/s: 75% of the largest rate" in words
    result.features.update(matmul_flops_per_s=None)
    assert "0.60 TFLOP/s. An addition" in "".join(Page(report.page(result, None)).texts)
    result.features.update(images_per_s=None)
    assert "TFLOP/s" not in "".join(Page(report.page(result, None)).texts)


def test_engines_that_were_tried_are_drawn_and_the_one_taken_is_named(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    tried = [("eager", "fp32", 4.6), ("openvino", "bf16", 15.9)]
    result.engine.update(
        name="openvino",
        reason="measured",
        precision="bf16",
        trials=[
            {"engine": name, "precision": precision, "images_per_s": speed, "setup_s": 1.0, "cosine": 1.0}
            for name, precision, speed in tried
        ],
    )
    words = Page(report.page(result, None)).texts
    assert {"4.6/s", "15.9/s, taken"} <= set(words)
    result.engine["trials"] = []
    assert "with each engine" not in report.page(result, None)


def test_predictions_of_the_best_method_are_drawn_with_an_empty_store_and_with_a_full_one(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    best, label = result.method("svm"), "Seconds from images to predictions of svm"
    best.update(fit_s=19.0, predict_s=1.0)
    result.seconds.update({"read": [10.0], "open cache": [], "load": []})
    result.features.update(cold_seconds=90.0)
    page = report.page(result, None)
    assert label in page
    assert {"120 s", "30.00 s"} <= set(Page(page).texts)
    result.features.update(cold_seconds=None)
    assert label not in report.page(result, None)
