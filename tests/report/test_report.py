from __future__ import annotations

import copy
import dataclasses
import io
import re
from typing import Any

import pytest
from markupsafe import escape
from rich.console import Console

from tests.samples import EXAMPLE
from transfer import report
from transfer.data import lagoon
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.heads.registry import default_methods


@pytest.fixture
def example() -> Result:
    return results.load(EXAMPLE)


def printed(result: Result, width: int = 100, *, verbose: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width)
    report.show(result, console, verbose=verbose)
    return console.file.getvalue()  # type: ignore[attr-defined]


def changed(result: Result, **parts: Any) -> Result:
    return dataclasses.replace(copy.deepcopy(result), **parts)


def test_the_sweep_has_every_setting_and_marks_the_chosen_ones(example: Result) -> None:
    table = report.tables(example)[0]
    assert len(table.rows) == sum(len(method["sweep"]) for method in example.methods)
    assert sum(row[1].endswith("*") for row in table.rows) == len(example.methods)


def test_the_methods_table_has_scores_intervals_and_cold_and_warm_totals(example: Result) -> None:
    table = report.tables(example)[1]
    for row, method in zip(table.rows, example.methods, strict=True):
        assert row[0] == method["name"]
        assert row[2].startswith(f"{method['test']['accuracy']:.3f} (")
        assert row[3].startswith(f"{method['test']['macro_f1']:.3f} (")
    cold, warm = (float(cell.removesuffix(" s")) for cell in table.rows[0][-2:])
    assert cold - warm == pytest.approx(example.features["cold_seconds"], abs=0.6)


def test_the_class_table_has_recall_and_support(example: Result) -> None:
    table = report.tables(example)[2]
    assert [row[0] for row in table.rows] == example.data["classes"]
    for c, row in enumerate(table.rows):
        assert int(row[1]) == example.data["splits"]["test"]["per_class"][c]
        recall = example.methods[0]["test"]["per_class"][c]["recall"]
        assert row[2] == ("-" if recall is None else f"{recall:.2f}")


def test_the_phases_add_up_to_the_total(example: Result) -> None:
    rows = report.tables(example)[3].rows
    shares = [int(row[2].removesuffix("%")) for row in rows]
    assert sum(shares[:-1]) == pytest.approx(100, abs=len(rows))


def test_a_result_without_seconds_has_no_shares(example: Result) -> None:
    seconds = {name: 0.0 if name == "total" else [0.0] for name in example.seconds}
    rows = report.tables(changed(example, seconds=seconds))[3].rows
    assert {row[2] for row in rows[:-1]} == {"-"}


def test_the_summary_names_every_method_and_ends_with_the_verdict(example: Result) -> None:
    shown = printed(example, verbose=False)
    for method in example.methods:
        assert f"\n{method['name']} " in shown
    assert "Table 1" not in shown
    assert "more note, and all tables: --verbose" in shown
    assert " ".join(shown.split()).endswith(report.verdict(example))


@pytest.mark.parametrize("total", [0.0, 1.0])
def test_no_phase_takes_less_than_nothing(example: Result, total: float) -> None:
    seconds = {name: total if name == "total" else [2.0, 3.0] for name in example.seconds}
    rows = report.tables(changed(example, seconds=seconds))[3].rows
    assert not [cell for row in rows for cell in row[1:] if cell.startswith("-") and cell != "-"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_figure_is_cut_off_on_a_narrow_terminal(example: Result, width: int) -> None:
    methods = copy.deepcopy(example.methods)
    for method in methods:
        method["test"] |= {"accuracy": 1.0, "accuracy_ci95": [1.0, 1.0], "macro_f1_ci95": [0.125, 1.0]}
        method["fit_s"] = 98.76
    result = changed(example, methods=methods)
    words = set(printed(result, width).split())
    for table in report.tables(result, most_settings=report.SETTINGS_SHOWN):
        for cell in (*table.columns, *(cell for row in table.rows for cell in row)):
            assert set(cell.split()) <= words


def test_markdown_holds_the_same_cells(example: Result) -> None:
    text = report.markdown(example).replace("\\", "")
    for table in report.tables(example):
        for row in table.rows:
            assert "| " + " | ".join(row) + " |" in text


def test_commands_in_notes_can_be_copied(example: Result) -> None:
    groups = {"count": 0, "across_splits": [], "suggestion": {"pattern": r"^\d{8}.\d\d", "count": 6}}
    result = changed(example, data={**example.data, "groups": groups, "empty_classes": ["`<b>`"]})
    command = r"--groups '^\d{8}.\d\d' --repeats groups"
    assert f"`{command}`" in report.markdown(result)
    assert r"\`\<b\>\`" in report.markdown(result)
    assert command in (shown := " ".join(printed(result).split()))
    assert "`--groups" not in shown
    assert f"<code>{escape(command)}</code>" in report.page(result, None)


@pytest.mark.parametrize(
    "name",
    ["[bold red]x[/]", "a|b", "<script>alert(1)</script>", "`code`", "line\nbreak", "\x1b[31mred", "*x*"],
)
def test_names_are_never_interpreted(example: Result, name: str) -> None:
    methods = copy.deepcopy(example.methods)
    for method in methods:
        method["test"]["per_class"][0]["class"] = name
    hostile = changed(example, methods=methods, data={**example.data, "name": name})
    shown = printed(hostile)
    assert "\x1b" not in shown
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    assert visible in shown
    text = report.markdown(hostile)
    assert "<script>" not in text
    assert "\x1b" not in text
    row = next(
        line for line in text.splitlines() if re.sub(r"\\(.)", r"\1", line).startswith(f"| {visible} |")
    )
    unescaped = re.findall(r"(?<!\\)\|", row)
    assert len(unescaped) == 2 + 1 + len(methods)


def test_the_verdict_says_whether_the_difference_may_be_chance(example: Result) -> None:
    def with_p(p: float) -> str:
        pairs = [{**pair, "mcnemar_p": p} for pair in example.comparison["pairs"]]
        return report.verdict(changed(example, comparison={**example.comparison, "pairs": pairs}))

    assert "may be chance" in with_p(0.3)
    assert "more than chance explains (exact McNemar p < .0001)" in with_p(1e-9)


def test_the_verdict_compares_the_best_of_each_kind_by_validation(example: Result) -> None:
    for method in example.comparison["best_of_kind"].values():
        assert f"{method} (" in report.verdict(example)


def test_the_verdict_names_the_best_two_kinds_in_any_order(example: Result) -> None:
    methods = copy.deepcopy(example.methods)
    for method, macro_f1 in zip(methods, (0.3, 0.7, 0.4, 0.6), strict=True):
        method["valid"]["macro_f1"] = macro_f1
    for best_of_kind in ({"fine-tuning": "fc", "SVM": "svm"}, {"SVM": "svm", "fine-tuning": "fc"}):
        comparison = {**example.comparison, "select": "macro_f1", "best_of_kind": best_of_kind}
        assert report.verdict(changed(example, methods=methods, comparison=comparison)).startswith("fc (")


def test_the_verdict_answers_the_question_and_names_what_did_better(example: Result) -> None:
    other = {**copy.deepcopy(example.methods[0]), "name": "ridge", "kind": "ridge regression"}
    other["valid"]["macro_f1"] = 0.99
    pairs = [{"a": "ridge", "b": method["name"], "mcnemar_p": 0.5} for method in example.methods]
    comparison = {
        **example.comparison,
        "select": "macro_f1",
        "best": "ridge",
        "best_of_kind": {"ridge regression": "ridge", **example.comparison["best_of_kind"]},
        "pairs": [*example.comparison["pairs"], *pairs],
    }
    text = report.verdict(changed(example, methods=[*example.methods, other], comparison=comparison))
    assert text.startswith("fc (fine-tuning")
    assert "Best of all on the validation split: ridge (" in text


def test_labels_to_look_at_are_named_in_the_whole_report_alone(example: Result) -> None:
    first = {"split": "train", "file": "train/a/0.jpg", "label": "a", "other": "b", "margin": 1.0}
    found = {"images": 90, "of": 90, "contradicted": 3, "first": [first]}
    result = changed(example, comparison={**example.comparison, "suspects": found})
    assert "labels to look at: of 90 images checked, 3 look" in " ".join(printed(result).split())
    assert "labels to look at: of 90 images checked, 3 look" in report.markdown(result).replace("\\", "")
    result.comparison["suspects"]["contradicted"] = 1
    assert "1 looks more like" in report.markdown(result)
    assert "labels to look at" not in printed(result, verbose=False)
    assert "labels to look at" not in printed(example)


def test_a_cold_total_of_another_machine_is_left_blank(example: Result) -> None:
    features = {**example.features, "cold_seconds": None}
    assert all(row[-2] == "-" for row in report.tables(changed(example, features=features))[1].rows)


def test_one_kind_alone_is_not_compared(example: Result) -> None:
    alone = {**example.comparison, "best_of_kind": {"SVM": "svm"}}
    assert "nothing to compare" in report.verdict(changed(example, comparison=alone))


def test_notes_say_what_was_untrained_drawn_skipped_and_damaged(example: Result) -> None:
    data = {
        **example.data,
        "drawn": ["valid"],
        "others": {"count": 3, "first": ["readme.txt", "notes.md"]},
        "test_in_train": 4,
        "skipped": [{"name": "x.jpg", "reason": "truncated"}, {"name": "y.jpg", "reason": "truncated"}],
    }
    features = {**example.features, "damaged_shards": 2}
    backbone = {**example.backbone, "weights": "random"}
    drawn = changed(example, backbone={**example.backbone, "weights": "embedded"})
    assert "trained on drawn pictures alone" in " ".join(report.notes(drawn))
    text = " ".join(report.notes(changed(example, data=data, features=features, backbone=backbone)))
    for part in (
        "untrained",
        "does not have were drawn, stratified and seeded: valid",
        "3 other files were left alone: readme.txt, notes.md ...",
        "x.jpg (truncated) and 1 more",
        "2 damaged",
    ):
        assert part in text
    many = changed(example, data={**data, "skipped_count": 3_000_000})
    assert "x.jpg (truncated) and 2999999 more" in " ".join(report.notes(many))
    trained = " ".join(report.notes(changed(example, backbone={**example.backbone, "weights": "imagenet"})))
    assert "untrained" not in trained


def test_the_built_in_images_and_the_default_methods_fit_a_terminal_of_80_columns(example: Result) -> None:
    methods = [{**copy.deepcopy(example.methods[0]), "name": name} for name in default_methods()]
    for method in methods:
        method["test"]["per_class"][0]["class"] = max(lagoon.COUNTS, key=len)
    for verbose in (False, True):
        lines = printed(changed(example, methods=methods), 80, verbose=verbose).splitlines()
        assert max(map(len, lines)) <= 80
    assert len(printed(changed(example, methods=methods), 80, verbose=False).splitlines()) <= 40


def test_a_long_setting_fits_a_terminal_of_80_columns(example: Result) -> None:
    sweep = [{**example.methods[0]["sweep"][0], "params": {"lr": 1e-4, "weight_decay": 1.0, "steps": 500}}]
    methods = [{**one, "sweep": sweep, "best_params": sweep[0]["params"]} for one in example.methods]
    assert max(map(len, printed(changed(example, methods=methods), 80).splitlines())) <= 80


def test_what_transformed_the_features_is_said(example: Result) -> None:
    assert "features by" not in report.heading(example)
    found = changed(example, config={**example.config, "transform": ["l2", "pca:8"]})
    assert "weights), features by l2, pca:8, eager" in report.heading(found)


def test_weights_of_a_package_are_not_taken_for_the_bundled_ones(example: Result) -> None:
    found = changed(
        example, backbone={**example.backbone, "name": "efficientnet_lite0", "weights": "package"}
    )
    assert "efficientnet_lite0 (ImageNet weights of its package), eager" in report.heading(found)


def test_layers_and_a_way_of_resizing_that_is_not_the_usual_one_are_said(example: Result) -> None:
    for way, said in (("letterbox", "images letterboxed"), ("crop", "images cropped")):
        found = changed(example, backbone={**example.backbone, "layers": ["layer3", "layer4"], "resize": way})
        assert f"weights), {said}, layers layer3 + layer4, eager" in report.heading(found)
    found = changed(example, backbone={**example.backbone, "resize": "stretch"})
    assert report.heading(found) == report.heading(example)


def test_a_decoder_that_is_not_the_usual_one_is_said(example: Result) -> None:
    found = changed(example, engine={**example.engine, "decoder": "pillow-reduced"})
    assert "weights), decoded by pillow-reduced, eager" in report.heading(found)
    assert "decoded by" not in report.heading(example)


def test_the_trials_of_engines_are_reported(example: Result) -> None:
    assert not any("images/s" in note for note in report.notes(example))
    trials = [
        {"engine": "eager", "precision": "fp32", "setup_s": 0.1, "images_per_s": 7.61, "cosine": 1.0},
        {"engine": "openvino", "precision": "bf16", "setup_s": 2.0, "images_per_s": 28.3, "cosine": 0.99931},
    ]
    engine = {
        **example.engine,
        "name": "openvino",
        "precision": "bf16",
        "reason": "measured",
        "trials": trials,
    }
    text = next(note for note in report.notes(changed(example, engine=engine)) if "images/s" in note)
    assert text == (
        "openvino bf16: measured (trials, images/s: eager fp32 7.6, openvino bf16 28.3); "
        "on the trial's images its features' cosine with fp32 was 0.9993 at least"
    )


def test_what_int8_cost_has_a_table(example: Result) -> None:
    cost = {
        "images": 128, "changed": 1 / 128, "accuracy_difference": -1 / 128,
        "accuracy_difference_ci95": [-0.0234, 0.0],
    }  # fmt: skip
    engine = {**example.engine, "cosine_with_fp32": {"images": 128, "min": 0.99621, "median": 0.99712}}
    methods = [{**method, "int8_against_fp32": cost} for method in example.methods]
    table = report.tables(changed(example, engine=engine, methods=methods))[3]
    assert "128 test images" in table.title
    assert "cosine 0.9962 at least, median 0.9971" in table.title
    assert table.rows[0] == [example.methods[0]["name"], "0.8%", "-0.8 (-2.3 to +0.0)"]
    assert len(report.tables(example)) == 4
