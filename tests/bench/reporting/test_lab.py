from pathlib import Path

import pytest

from bench.reporting import lab
from transfer.evaluation import results
from transfer.system.errors import UserError

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "lab.md"
RECORDED = sorted((ROOT / "results").glob("*/*-boats.json"))


def newest():
    return max(
        (
            results.load(path)
            for path in RECORDED
            if "weights" not in path.name and "searches" not in path.name
        ),
        key=lambda one: one.created,
    )


def test_page_has_the_tables_of_the_newest_recorded_result():
    page = PAGE.read_text("utf-8")
    assert lab.replace(page, lab.tables(newest())) == page


def test_tables_hold_both_figures():
    text = lab.tables(newest())
    method = newest().method("svm-lab")
    assert f"| SVM, the lab's protocol | 0.87 | 0.56 | 15 s | {method['test']['accuracy']:.2f} |" in text
    assert text.count("| 1e-05 | 0.53 | 0.11 |") == 1
    assert "| Gondola | 0.67 | 0.00 | 2 |" in text


def test_result_without_a_method_is_refused():
    result = newest()
    result.methods[:] = [method for method in result.methods if method["name"] != "svm"]
    with pytest.raises(UserError, match="no svm"):
        lab.tables(result)


def test_page_without_markers_is_refused():
    with pytest.raises(UserError, match="begin tables"):
        lab.replace("# a page\n", "tables")
