from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.tables import write_table
from tests.refusals import refusal
from transfer.data import label_tables
from transfer.data.label_rows import read_rows

GOOD = "a.jpg,cat\nb.jpg,dog\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\n", "has no rows below the names"),
        ("file,label\na.jpg,\n", "line 2: the label is empty"),
        ("file,label\na.jpg,cat\n ,dog\n", "line 3: the file is empty"),
        ("file,label,split\na.jpg,cat,train\nb.jpg,dog,\n", "line 3: the split is empty"),
        ("file,label,group\na.jpg,cat,\n", "line 2: the group is empty"),
        ("file,label,weight\na.jpg,cat,2\n", "methods take no weights of images; `columns='weight='`"),
        (
            "file,label,split\na.jpg,cat,train\nb.jpg,cat,0\nc.jpg,cat,1\nd.jpg,cat,2\ne.jpg,cat,3\n",
            "line 3: the split is '0', '1', '2' and 1 more; name splits train, valid and test",
        ),
        ("file,label,split\na.jpg,cat,train\nb.jpg,dog,valid\n", "no row of the test split"),
        ("file,label,split\na.jpg,cat,test\n", "no row of the train split"),
        (
            "file,label,split\na.jpg,cat,train\nb.jpg,dog,train\nc.jpg,Cat,test\n",
            "line 4: class 'Cat' is in test but not in train; did you mean 'cat'?",
        ),
        (f"file,label,group\n{GOOD}".replace("\n", ",x\n").replace("group,x", "group"), "one group of all 2"),
        ("file,label,group\na.jpg,cat,1\nb.jpg,dog,2\n", "a group of each of 2 images; `columns='group='`"),
    ],
)
def test_a_row_that_can_not_be_used_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(label_tables.find, write_table(tmp_path, text))


def test_texts_that_look_the_same_are_one_class(tmp_path: Path) -> None:
    rows, _ = read_rows(write_table(tmp_path, "file,label\na.jpg,\u00e9\nb.jpg,e\u0301\nc.jpg,e\n"), {}, None)
    assert rows.labels.texts == ["\u00e9", "e"]
    assert rows.labels.code_N.tolist() == [0, 0, 1]


def test_splits_are_known_by_the_names_that_folders_may_have(tmp_path: Path) -> None:
    names = ["train", "Train", "val", "valid", "validation", "TEST"]
    text = "file,label,split\n" + "".join(f"{i}.jpg,cat,{name}\n" for i, name in enumerate(names))
    rows, _ = read_rows(write_table(tmp_path, text), {}, None)
    assert rows.split_N.tolist() == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("groups", "texts", "pattern"),
    [(None, ["p", "q"], None), ("day", ["1", "2"], None), (r"^\w", None, r"^\w")],
)
def test_groups_are_a_column_that_is_named_or_a_pattern(
    tmp_path: Path, groups: str | None, texts: list[str] | None, pattern: str | None
) -> None:
    text = "file,label,group,day\na.jpg,cat,p,1\nb.jpg,dog,q,1\nc.jpg,dog,q,2\n"
    rows, left = read_rows(write_table(tmp_path, text), {}, groups)
    assert left == pattern
    assert (rows.groups and rows.groups.texts) == texts
