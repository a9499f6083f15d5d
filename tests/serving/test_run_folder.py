from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import refusal
from transfer.serving.run_folder import check_one_run, check_same_data, find_record


def test_a_folder_of_runs_names_the_first_of_them(tmp_path: Path) -> None:
    out = tmp_path / "front"
    for name in "abcde":
        (out / name).mkdir(parents=True)
        (out / name / "result.json").touch()
    (out / "frontier.json").touch()
    named = f"{out}/a, {out}/b, {out}/c and 2 more"
    assert refusal(find_record, out) == f"{out} holds several runs; name one of them: {named}"
    assert refusal(check_one_run, tmp_path) == f"{tmp_path} holds the folder of a run; name that: {out}"
    check_one_run(out / "a")
    unfinished = f"{out}/a holds a result without models, which its run did not write; run it again"
    assert refusal(find_record, out / "a") == unfinished
    assert refusal(find_record, tmp_path / "none").startswith(f"no model.json in {tmp_path}/none; give the")


@pytest.mark.parametrize(
    "text", ['{"data": [1]}', '{"features": [1]}', '{"features": {"source_sha256": "x"}}', "["]
)
def test_a_broken_result_says_nothing_of_its_data(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    check_same_data(tmp_path, "photos", "advice")
    assert "holds a result without models, which its run did not write" in refusal(find_record, tmp_path)
