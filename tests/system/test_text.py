from __future__ import annotations

import pytest

from transfer.system import text


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "a\x1b[31mb", "a\x07b", "a\u202eb", "a\u2028b", "a\udcffb", "a\x85b", "a\x9bb"]
)
def test_nothing_that_a_terminal_acts_on_is_printed(name: str) -> None:
    shown = text.printable(name)
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1
    assert shown[0] == "a"
    assert shown[-1] == "b"


def test_names_of_all_scripts_stay_as_they_are() -> None:
    assert (
        text.printable("b\u00e2teau \u8239 \u0644\u0646\u062c [red]")
        == "b\u00e2teau \u8239 \u0644\u0646\u062c [red]"
    )


def test_a_cell_holds_no_tab() -> None:
    assert text.join_cells("a\tb", "c").count("\t") == 1


@pytest.mark.parametrize(
    "name", ["<script>", "a|b", "[x](y)", "**b**", "`c`", "![i](j)", "# h", "~~s~~", "a&lt;b"]
)
def test_markdown_and_html_find_nothing_to_act_on(name: str) -> None:
    escaped = text.escape(name)
    assert escaped.replace("\\", "") == name
    assert all(escaped[at - 1] == "\\" for at, c in enumerate(escaped) if c in "<>|[]*`!#~&")


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2_340_000_000, "2.3 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_bytes_are_shown_in_the_largest_unit(count: int, shown: str) -> None:
    assert text.in_bytes(count) == shown
