from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.refusals import refusal
from transfer.data.table_files import as_text, choose_columns, open_table


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, *columns: str) -> list[tuple[int, list[Any]]]:
    table = open_table(path, columns)
    return [(number, list(values)) for number, values in table.rows(columns or table.names)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_delimiter_is_the_one_with_which_the_first_line_has_the_columns(
    tmp_path: Path, delimiter: str, suffix: str
) -> None:
    lines = [("file", "label"), ("a,b;c.jpg" if delimiter == "\t" else "a.jpg", "cat")]
    path = write(tmp_path / f"t{suffix}", "\n".join(delimiter.join(line) for line in lines))
    assert read(path, "file", "label") == [(2, list(lines[1]))]


def test_a_name_with_another_delimiter_does_not_decide(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'file;label\n"x,y,z,w.jpg";cat\n')
    assert read(path, "file", "label") == [(2, ["x,y,z,w.jpg", "cat"])]


def test_rows_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'file,label\r\n\r\na.jpg, cat \r\n"b\nb.jpg",dog\r\nc.jpg,cat')
    assert read(path) == [(3, ["a.jpg", "cat"]), (5, ["b\nb.jpg", "dog"]), (6, ["c.jpg", "cat"])]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"\xef\xbb\xbffile,label\na.jpg,\xc3\xa9\n")
    assert open_table(path).names == ["file", "label"]
    assert read(path) == [(2, ["a.jpg", "é"])]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no first line"),
        (b"\n\n", "no first line"),
        ("file,label\na.jpg,cat\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("file,label\na.jpg,caf\xe9\n".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
        (b"file,label\na.jpg,c\0at\n", "line 2: a NUL byte"),
        (b"file,label\na.jpg\n", "line 2: 1 values for 2 columns"),
        (b"file,label\na.jpg,cat\nb,c.jpg,dog\n", "line 3: 3 values for 2 columns; put quotes"),
        (b'file,label\na.jpg,"cat\n', "line 2: unexpected end of data; mend the quotes"),
        (b'file,label\n"a"b.jpg,cat\n', "line 2: ',' expected after '\"'"),
        (b"file,label\n" + b"a" * 200_000 + b",cat\n", "line 2: field larger than field limit"),
    ],
)
def test_text_that_is_no_table_is_refused_with_its_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = write(tmp_path / "t.csv", data)
    message = refusal(read, path)
    assert words in message
    assert str(path) in message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    assert f"no such file: {path}" in refusal(read, path)


def test_columns_have_the_names_given_or_their_own(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.csv", "path,label,split,fold\n"))
    given = {"file": "path", "split": ""}
    assert choose_columns(table, given, ["file", "label"], ["split", "group"]) == {
        "file": "path",
        "label": "label",
    }


@pytest.mark.parametrize(
    ("header", "given", "words"),
    [
        ("image,label", {}, "has no column 'file', only 'image', 'label'; name yours by `columns='file=…'`"),
        ("File,label", {}, "`columns='file=File'` takes 'File'"),
        ("file,label", {"split": "fold"}, "has no column 'fold'"),
        ("file,label,label", {}, "has 2 columns 'label'; keep one of them"),
        (",".join(f"c{i}" for i in range(20)), {}, "'c11' and 8 more"),
        ("x" * 50, {}, f"only '{'x' * 40}…'; name"),
    ],
)
def test_a_column_that_is_missing_is_named_with_those_there_are(
    tmp_path: Path, header: str, given: dict[str, str], words: str
) -> None:
    table = open_table(write(tmp_path / "t.csv", f"{header}\n"))
    assert words in refusal(choose_columns, table, given, ["file", "label"], ["split"])


@pytest.mark.parametrize(
    ("value", "text"),
    [("01", "01"), (" a ", "a"), (1, "1"), (1.0, "1"), (1.5, "1.5"), (None, ""), (float("nan"), "")],
)
def test_values_as_text(value: object, text: str) -> None:
    assert as_text(value) == text


def test_lines_that_end_in_a_carriage_return_alone_are_refused(tmp_path: Path) -> None:
    assert "carriage return" in refusal(read, write(tmp_path / "t.csv", b"file,label\ra.jpg,cat\r"))


def test_parquet_is_read_in_row_order(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    table = arrow.table({"file": ["a.jpg", "b.jpg"], "other": [0.5, 1.5], "label": [1, None]})
    parquet.write_table(table.replace_schema_metadata(), path)
    assert open_table(path).names == ["file", "other", "label"]
    assert read(path, "label", "file") == [(0, [1, "a.jpg"]), (1, [None, "b.jpg"])]
    path.write_bytes(b"PAR1 is not enough")
    assert f"can't read {path}" in refusal(read, path)
