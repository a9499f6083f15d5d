from pathlib import Path

import pytest

from bench.studies import sizing


def test_the_table_of_the_documents_is_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sizing"])
    sizing.main()
    assert capsys.readouterr().out in Path(__file__).parents[3].joinpath("docs/scale.md").read_text()
