from __future__ import annotations

import pytest

from bench.reporting import layout


def test_columns_are_aligned() -> None:
    assert layout.align([["a", "1"], ["bcd", "23"]], right={1}) == ["a    1", "bcd 23"]


def test_sentences_are_wrapped_and_a_path_is_not_torn() -> None:
    path = "/a-folder" * 12
    lines = layout.wrap(f"{'word ' * 20}{path}")
    assert lines[-1] == path
    assert all(len(line) <= layout.WIDTH for line in lines[:-1])


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("one two", 7, "one two"),
        ("one two three", 10, "one two.."),
        ("one two, three", 12, "one two.."),
        ("abcdefghijkl", 8, "abcdef.."),
        ("a bcdefghijkl", 8, "a bcde.."),
    ],
)
def test_text_is_cut_after_a_word(text: str, width: int, short: str) -> None:
    assert layout.shorten(text, width) == short
    assert len(short) <= width


def test_names_keep_as_many_parts_as_fit_and_stay_apart() -> None:
    names = [
        "fit, SVM, 1 setting",
        "fit, SVM, 10 settings",
        "fit, methods of run",
        "predict, one file to its label",
    ]
    assert layout.short_names(names, 18) == {
        "fit, SVM, 1 setting": "fit, SVM, 1 setting",
        "fit, SVM, 10 settings": "fit, SVM, 10",
        "fit, methods of run": "fit, methods",
        "predict, one file to its label": "predict, one file",
    }
    assert layout.short_names(["a, long word", "a, b"], 8)["a, long word"] == "a, long"
    assert layout.short_names(["fit, ridge", "fit, ridge, 5"], 4)["fit, ridge"] == "fit, ridge"


def test_a_list_says_how_many_more_there_are() -> None:
    assert layout.listed(["one", "two", "three"], 15) == "one, two, three"
    assert layout.listed(["one", "two", "three"], 14) == "one, 2 more"
    assert layout.listed(["a longer one"], 8) == "a long.."
    assert layout.listed(["a longer one", "two"], 16) == "a long.., 1 more"
