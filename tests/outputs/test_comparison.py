"""`comparison`: a finished run as a notebook sees it."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import transfer
from transfer import cli
from transfer.outputs.comparison import Answer, Comparison
from transfer.system import files
from transfer.system.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("timed_once")]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of three classes, one of them with a name that is markup."""
    path = tmp_path_factory.mktemp("features") / "<b>features.npz"
    rng, y = np.random.default_rng(0), np.repeat(np.arange(3), 60)
    x = rng.normal(size=(180, 8)) + y[:, None]
    np.savez(path, X=x, y=y, classes=np.array(["<i>a</i>", "b", "c"]))
    return path


@pytest.fixture(scope="module")
def found(features: Path, timed_once: None) -> Comparison:
    return transfer.compare(features, methods=["knn", "ridge"], repeats=0)


def test_a_notebook_shows_a_short_table_without_foreign_markup(found: Comparison) -> None:
    html = found._repr_html_()
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    assert [row[0].text for row in tree.iter("tr")] == ["method", "knn", "ridge"]
    assert "<b>" not in html
    assert repr(found).startswith(("knn", "ridge", "Only"))


def test_pandas_has_a_row_a_method_with_scores_and_times(found: Comparison) -> None:
    table = found.to_pandas()
    assert table["method"].tolist() == ["knn", "ridge"]
    for _, row in table.iterrows():
        method = found.result.method(row["method"])
        assert row["macro_f1"] == method["test"]["macro_f1"]
        assert [row["accuracy_low"], row["accuracy_high"]] == method["test"]["accuracy_ci95"]
        assert 0 < row["fit_s"] < row["warm_s"]


def test_predictions_are_those_of_the_saved_file(found: Comparison, tmp_path: Path) -> None:
    found.save(tmp_path / "out")
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    expected = [
        (row["file"], row["group"], row["label"], name, row[name], row[f"{name}:score"])
        for name in ("knn", "ridge")
        for row in rows
    ]
    assert [(*answer[:5], f"{answer.probability:.6g}") for answer in found.predictions] == expected
    assert isinstance(found.predictions[0], Answer)
    right = [one.label == one.predicted for one in found.predictions if one.method == "knn"]
    assert np.mean(right) == pytest.approx(found.result.method("knn")["test"]["accuracy"])
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/report.html").exists()
    assert not (tmp_path / "out/models").exists()


def test_what_a_killed_run_was_writing_is_removed_after_a_day(found: Comparison, tmp_path: Path) -> None:
    old, new = (tmp_path / f".result.json.{digit * 32}.tmp" for digit in "ab")
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    found.save(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_what_another_user_left_keeps_nothing_from_being_saved(
    found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(folder))

    monkeypatch.setattr(files, "list_abandoned", refuse)
    found.save(tmp_path)
    assert (tmp_path / "result.json").exists()


@pytest.mark.parametrize("score", ["macro_f1", "accuracy"])
def test_a_plot_is_a_whole_svg(found: Comparison, score: str) -> None:
    drawing = found.plot(score)
    root = ElementTree.fromstring(drawing._repr_svg_())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root[0].tag.endswith("style")
    assert {"knn", "ridge"} <= {one.text for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "<svg" not in repr(drawing)


def test_what_there_is_not_is_one_line(features: Path, found: Comparison) -> None:
    with pytest.raises(UserError, match=r"^no setting 'method'; did you mean `methods`\?$"):
        transfer.compare(features, method="knn")
    with pytest.raises(UserError, match="`methods` is 'no'; "):
        transfer.compare(features, ["no"])
    with pytest.raises(UserError, match="`score` is 'f1'; "):
        found.plot("f1")
