from __future__ import annotations

import io

from rich.console import Console

from transfer.report.rendering import Table, draw


def drawn(rows: list[list[str]], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    draw(Table("Classes", ["class", " recall", " n"], rows), console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_long_name_is_broken_and_its_figures_stay_whole() -> None:
    lines = drawn([["x" * 150, "0.93 (0.1-0.2)", "12"], ["boat", "0.5", "1"]], 60)
    assert max(map(len, lines)) <= 60
    assert sum(line.count("x") for line in lines) == 150
    assert sum("0.93 (0.1-0.2)  12" in line for line in lines) == 1


def test_figures_that_are_too_wide_stick_out() -> None:
    figure = "123456789 " * 3
    lines = drawn([["a", figure.replace(" ", "_"), "12"]], 20)
    assert any("123456789_123456789_123456789_  12" in line for line in lines)


def test_figures_in_the_first_column_stay_whole() -> None:
    console = Console(width=14, file=io.StringIO())
    draw(Table("Counts", [" images", " n"], [["1,234,567", "123"]]), console)
    assert "1,234,567" in console.file.getvalue()  # type: ignore[attr-defined]
