from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from transfer.evaluation import results
from transfer.system import schemas
from transfer.system.errors import UserError

OLD_FILES = sorted((Path(__file__).parents[1] / "recorded").glob("result-v*.json"))


def record() -> dict[str, Any]:
    return json.loads(OLD_FILES[0].read_text())


def test_the_schema_is_itself_valid() -> None:
    jsonschema_rs.meta.validate(schemas.load_schema("result"))


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: path.name)
def test_old_files_load_and_are_written_again_the_same(path: Path) -> None:
    loaded = results.load(path)
    assert json.loads(loaded.to_json()) == json.loads(path.read_text())


def test_every_field_of_the_record_is_in_the_schema_and_required() -> None:
    fields = {field.name for field in dataclasses.fields(results.Result)}
    schema = schemas.load_schema("result")
    assert fields == set(schema["properties"]) == set(schema["required"])


def test_a_method_is_found_by_its_name() -> None:
    loaded = results.load(OLD_FILES[0])
    assert loaded.method("svm")["kind"] == "SVM"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "JSON, but no object"),
        ("{}", "schema_version is None"),
        ('{"schema_version": 99}', "schema_version is 99"),
        ('{"schema_version": 1}', "at the top"),
        ("\ud800".encode("utf-8", "surrogatepass"), "not JSON"),
    ],
    ids=["empty", "cut", "deep", "list", "nothing", "version", "keys missing", "not utf-8"],
)
def test_what_is_no_result_file_is_reported_in_one_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as caught:
        results.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_invalid_file_is_reported_with_the_place(tmp_path: Path) -> None:
    edited = record()
    edited["methods"][1]["test"]["accuracy"] = 1.5
    path = tmp_path / "result.json"
    path.write_text(json.dumps(edited))
    with pytest.raises(UserError, match="at methods/1/test/accuracy"):
        results.load(path)


def test_the_fault_is_reported_in_one_line_for_any_contents(tmp_path: Path) -> None:
    edited = record()
    edited["data"]["name"] = {"a\x85b": "\n"}
    edited["environment"]["libraries"]["\x1b[31m\u2028"] = 1
    path = tmp_path / "result.json"
    for _ in range(2):
        path.write_text(json.dumps(edited))
        with pytest.raises(UserError, match="is no valid result file") as caught:
            results.load(path)
        assert len(str(caught.value).splitlines()) == 1
        assert str(caught.value).isprintable()
        edited["data"]["name"] = "boats"


@pytest.mark.parametrize("short", ["test_images", "names", "untrained", "accuracy"])
def test_lists_of_repeats_of_several_lengths_are_refused(tmp_path: Path, short: str) -> None:
    method = {"name": "fc", "accuracy": [0.5, 0.6], "macro_f1": [0.5, 0.6]}
    repeats = {"n": 2, "scheme": "groups", "names": ["a", "b"], "test_share": 0.5, "test_images": [1, 1]}
    repeats |= {"untrained": [0, 1], "methods": [method], "pairs": []}
    edited, path = record(), tmp_path / "result.json"
    edited["comparison"]["repeats"] = repeats
    path.write_text(json.dumps(edited))
    results.load(path)
    (method if short in method else repeats)[short].pop()
    path.write_text(json.dumps(edited))
    with pytest.raises(UserError, match="a list of its repeats is not of 2 splits"):
        results.load(path)


def test_a_score_that_is_none_and_repeats_without_methods_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    repeats = {
        "n": 1,
        "scheme": "groups",
        "names": ["a"],
        "test_share": 0.5,
        "test_images": [1],
        "methods": [],
    }
    for change in ({"select": "f1"}, {"repeats": repeats | {"pairs": []}}):
        edited = record()
        edited["comparison"] |= change
        path.write_text(json.dumps(edited))
        with pytest.raises(UserError, match=f"is no valid result file: at comparison/{next(iter(change))}"):
            results.load(path)


def test_a_chosen_setting_that_was_not_fitted_is_refused(tmp_path: Path) -> None:
    edited = record()
    edited["methods"][0]["best_params"] = {"lr": 1e-7}
    path = tmp_path / "result.json"
    path.write_text(json.dumps(edited))
    with pytest.raises(UserError, match="the chosen setting of 'fc-lab' was not fitted"):
        results.load(path)


@pytest.mark.parametrize(
    "change",
    [{"best": "none"}, {"best_of_kind": {"SVM": "none"}}, {"pairs": []}],
    ids=lambda change: next(iter(change)),
)
def test_a_comparison_that_does_not_fit_the_methods_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    edited = record()
    edited["comparison"] |= change
    path = tmp_path / "result.json"
    path.write_text(json.dumps(edited))
    with pytest.raises(UserError, match="does not fit its methods"):
        results.load(path)


def test_a_missing_file_and_a_huge_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="can't read"):
        results.load(tmp_path / "none.json")
    monkeypatch.setattr(schemas, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="larger than"):
        results.load(OLD_FILES[0])


def test_a_file_of_nothing_but_lists_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "MAX_CONTAINERS", 5)
    (tmp_path / "result.json").write_text("[[],[],{},[],[]]")
    with pytest.raises(UserError, match="more than 5 lists and objects"):
        results.load(tmp_path / "result.json")


def test_names_that_are_no_unicode_are_read(tmp_path: Path) -> None:
    named = record()
    named["data"]["skipped"] = [{"name": "caf\udce9.jpg", "reason": "is empty"}]
    path = tmp_path / "result.json"
    path.write_text(json.dumps(named))
    assert results.load(path).data["skipped"][0]["name"] == "caf\udce9.jpg"
    named["data"]["skipped"][0]["reason"] = 1
    path.write_text(json.dumps(named))
    with pytest.raises(UserError, match="is no valid result file"):
        results.load(path)


def test_rows_of_numbers_take_one_line_and_names_stay_what_they_are() -> None:
    loaded = results.load(OLD_FILES[0])
    names = ["[ a,  b ]", "c\n  d", "e]"]
    changed = dataclasses.replace(loaded, data={**loaded.data, "classes": names})
    text = changed.to_json()
    assert json.loads(text) == dataclasses.asdict(changed)
    assert f'"lr": {json.dumps(loaded.config["lr"])}' in text
