from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from tests.samples import EXAMPLE
from transfer.config import UNCACHED
from transfer.evaluation import results
from transfer.evaluation.results import Result
from transfer.report.verdict import find_pair, headline, verdict


def difference(value: float, low: float, high: float, p: float) -> dict[str, Any]:
    return {"difference": value, "ci95": [low, high], "p": p, "p_holm": p, "detectable": 0.08}


def mean(value: float, low: float, high: float, p: float, won: int, lost: int) -> dict[str, Any]:
    return {"mean": value, "ci95": [low, high], "p": p, "won": won, "lost": lost, "tied": 0}


def result(
    *,
    macro_f1: dict[str, Any] | None = None,
    accuracy: dict[str, Any] | None = None,
    repeats: dict[str, Any] | None = None,
    fit_seconds: dict[str, list[float]] | None = None,
    cold_s: float | None = 100.0,
    ladder: list[dict[str, Any]] | None = None,
    busy: bool = False,
) -> Result:
    """`svm` against `fc`, `svm` the better one on validation; differences are svm minus fc."""
    example = copy.deepcopy(results.load(EXAMPLE))
    methods = [method for method in example.methods if method["name"] in ("fc", "svm")]
    for method in methods:
        method["valid"]["macro_f1"] = {"fc": 0.4, "svm": 0.5}[method["name"]]
        seconds = (fit_seconds or {}).get(method["name"], [0.1, 0.2])
        method |= {"fit_seconds": seconds, "fit_s": sorted(seconds)[len(seconds) // 2]}
    pair = {
        "a": "svm",
        "b": "fc",
        "mcnemar_p": 0.5,
        "macro_f1": macro_f1 or difference(0.05, -0.01, 0.11, 0.2),
        "accuracy": accuracy or difference(0.01, -0.02, 0.04, 0.5),
    }
    comparison = {
        "select": "macro_f1",
        "best": "svm",
        "best_of_kind": {"SVM": "svm", "fine-tuning": "fc"},
        "pairs": [pair],
        "ladder": ladder or [],
        "repeats": repeats,
    }
    return dataclasses.replace(
        example,
        methods=methods,
        comparison=comparison,
        features={**example.features, "cold_seconds": cold_s},
        environment={**example.environment, "busy": busy, "contention": 0.5 if busy else 0.0},
        schema_version=2,
    )


def repeated(entry: dict[str, Any], svm: list[float]) -> dict[str, Any]:
    return {
        "n": 10,
        "scheme": "stratified",
        "pairs": [{"a": "fc", "b": "svm", "macro_f1": entry, "accuracy": entry}],
        "methods": [{"name": "svm", "macro_f1": svm, "accuracy": svm}],
    }


def test_a_difference_on_one_split_says_what_the_split_could_have_shown() -> None:
    text = verdict(result())
    assert "+5.0 (-1.0 to +11.0) of macro F1 and +1.0 (-2.0 to +4.0) of accuracy" in text
    assert "may be chance (p = 0.2); it would probably have shown a difference of 8.0 points" in text


def test_a_sure_difference_names_who_is_ahead() -> None:
    assert "svm is ahead by more than chance" in verdict(result(macro_f1=difference(0.09, 0.03, 0.15, 0.004)))
    assert "fc is ahead by more than chance" in verdict(
        result(macro_f1=difference(-0.09, -0.15, -0.03, 0.004))
    )


def test_a_narrow_interval_around_zero_is_the_same() -> None:
    assert "the same within 2 points" in verdict(result(macro_f1=difference(0.0, -0.01, 0.012, 0.9)))


def test_no_zero_has_a_minus() -> None:
    assert "+0.0 (+0.0 to +0.0) of macro F1" in verdict(result(macro_f1=difference(-0.0, -0.0, -0.0001, 1.0)))


def test_a_p_value_never_contradicts_its_sentence() -> None:
    for p, shown in ((0.04996, "0.04996"), (0.0499999, "0.0499999"), (0.0494, "0.049")):
        text = verdict(result(macro_f1=difference(0.09, 0.001, 0.18, p)))
        assert f"more than chance explains (p = {shown})" in text
    for p in (0.05, 0.0504):
        assert "may be chance (p = 0.05)" in verdict(result(macro_f1=difference(0.09, -0.01, 0.18, p)))


def test_where_p_and_the_interval_disagree_nobody_is_ahead() -> None:
    text = verdict(result(macro_f1=difference(0.069, -0.08, 0.194, 0.039)))
    assert "On this one split that may be chance (p = 0.039, but the interval includes 0); it would" in text
    assert "ahead" not in text


def test_an_interval_without_0_is_not_enough_either() -> None:
    text = verdict(result(macro_f1=difference(0.133, 0.019, 0.23, 0.125)))
    assert "that may be chance (p = 0.12, though the interval excludes 0); it would" in text
    assert "ahead" not in text


def test_a_very_small_p_is_below_a_bound() -> None:
    assert "(p < .0001)" in verdict(result(macro_f1=difference(0.2, 0.1, 0.3, 1e-9)))


def test_a_sure_difference_that_is_rounded_to_zero_is_said_to_be_small() -> None:
    text = verdict(result(macro_f1=difference(-0.0004, -0.0007, -0.0001, 0.01)))
    assert "fc is ahead by less than 0.1 points, more than chance explains (p = 0.01)" in text


def test_equal_scores_are_called_equal() -> None:
    tie = result(macro_f1=difference(0.0, -0.05, 0.05, 1.0), accuracy=difference(0.0, -0.05, 0.05, 1.0))
    assert "both have the same macro F1; it would probably have shown" in verdict(tie)
    tie.comparison["select"] = "accuracy"
    assert "both are right equally often; it would probably have shown" in verdict(tie)
    assert "chance" not in verdict(tie)


def test_equal_accuracies_of_an_old_result_are_called_equal() -> None:
    old = result()
    [pair] = old.comparison["pairs"]
    del pair["macro_f1"]
    for method, accuracy in zip(old.methods, (0.5, 0.6), strict=True):
        method["test"]["accuracy"] = accuracy
    assert "That may be chance (exact McNemar p = 0.5)" in verdict(old)
    for method in old.methods:
        method["test"]["accuracy"] = 0.5
    assert "both are right equally often" in verdict(old)


def test_with_repeats_the_splits_decide() -> None:
    """One split says p = 0.004, ten others say nothing of the kind."""
    repeats = repeated(mean(-0.004, -0.03, 0.02, 0.7, won=4, lost=6), [0.3, 0.6])
    text = verdict(result(macro_f1=difference(0.09, 0.03, 0.15, 0.004), repeats=repeats))
    assert "Over 10 other splits of the same images the difference is +0.4 (-2.0 to +3.0)" in text
    assert "svm is ahead in 6: that may be chance" in text
    assert "more than chance" not in text


def test_what_changed_the_score_more_than_the_head_is_named() -> None:
    change = {"macro_f1": difference(0.2, 0.1, 0.3, 0.001), "accuracy": difference(0, 0, 0, 1)}
    small = {"macro_f1": difference(0.01, 0, 0.02, 0.5), "accuracy": difference(0, 0, 0, 1)}
    ladder = [
        {"step": "fc-lab", "change": None},
        {"step": "standardise", "change": change},
        {"step": "weight decay", "change": small},
        {"step": "hinge loss", "change": change},
    ]
    repeats = repeated(mean(-0.004, -0.03, 0.02, 0.7, won=4, lost=6), [0.3, 0.62])
    text = verdict(result(ladder=ladder, repeats=repeats))
    assert "the split (up to 32.0, svm), standardise (+20.0)" in text
    assert "weight decay" not in text
    assert "hinge" not in text
    for unsure in (difference(0.2, -0.1, 0.5, 0.3), difference(0.2, 0.01, 0.4, 0.1)):
        ladder[1]["change"] = {"macro_f1": unsure, "accuracy": unsure}
        assert "standardise" not in verdict(result(ladder=ladder, repeats=repeats))


def test_what_mattered_more_did_so_over_the_splits_too() -> None:
    repeats = repeated(mean(-0.4, -0.6, -0.2, 0.001, won=0, lost=10), [0.3, 0.62])
    assert "mattered more" not in verdict(result(repeats=repeats))


def test_a_split_whose_classes_no_method_was_trained_on_is_no_effect_of_the_split() -> None:
    repeats = repeated(mean(-0.004, -0.03, 0.02, 0.7, won=1, lost=2), [0.3, 0.55, 0.0])
    assert "the split (up to 55.0, svm)" in verdict(result(repeats=repeats))
    assert "the split (up to 25.0, svm)" in verdict(result(repeats={**repeats, "untrained": [0, 0, 20]}))


def test_intervals_over_groups_say_so() -> None:
    example = result()
    images = sum(row["support"] for row in example.methods[0]["test"]["per_class"])
    example.comparison["pairs"][0]["independent"] = {"unit": "group", "count": 6}
    assert f"with 95 % intervals over 6 groups of {images:,} test images" in verdict(example)


def test_of_methods_equal_on_validation_the_best_comes_first() -> None:
    for best, other in (("svm", "fc"), ("fc", "svm")):
        example = result()
        for method in example.methods:
            method["valid"]["macro_f1"] = 0.5
        example.comparison["best"] = best
        assert headline(example).startswith(f"{best} against {other}: ")


def test_one_other_split_is_not_many() -> None:
    repeats = {**repeated(mean(-0.004, -0.03, 0.02, 0.7, won=0, lost=1), [0.3]), "n": 1}
    assert "Over 1 other split of the same images" in verdict(result(repeats=repeats))


def test_splits_on_which_both_are_equal_are_counted() -> None:
    equal = {**mean(0.0, 0.0, 0.0, 0.5, won=0, lost=0), "ci95": None, "p": None, "tied": 10}
    text = verdict(result(repeats=repeated(equal, [0.5])))
    assert "svm is ahead in 0 and equal in 10: on average they are equal" in text
    one = {**mean(-0.1, 0.0, 0.0, 0.5, won=0, lost=1), "ci95": None, "p": None}
    assert "svm is ahead in 1: that says nothing about chance" in verdict(
        result(repeats=repeated(one, [0.5]))
    )


def test_fits_under_a_second_are_no_reason_to_choose() -> None:
    for seconds in ({"fc": [0.001], "svm": [0.9]}, {"svm": [0.001], "fc": [0.9]}):
        text = verdict(result(fit_seconds=seconds))
        assert "Time is no reason to choose" in text
        assert "more each time" not in text


def test_what_is_not_cached_is_named() -> None:
    example = result(fit_seconds={"fc": [30.0], "svm": [2.0]})
    cached = "With the features cached"
    assert f"{cached}: " in verdict(example)
    example.method("fc")["name"] = UNCACHED
    example.comparison["pairs"][0]["b"] = UNCACHED
    example.comparison["best_of_kind"]["fine-tuning"] = UNCACHED
    assert f"{cached} except for {UNCACHED}: " in verdict(example)


def test_one_setting_is_not_many() -> None:
    example = result()
    for method in example.methods:
        method["sweep"] = [{**method["sweep"][0], "same_as": []}]
    assert verdict(example).count("s for 1 setting") == 2
    assert "1 settings" not in verdict(example)


def test_long_fits_say_what_the_slower_one_costs() -> None:
    text = verdict(result(fit_seconds={"fc": [2.0], "svm": [7.0]}))
    assert (
        "svm costs 5.00 s more each time, as much as computing the features (100 s) after 20 trainings"
        in text
    )
    text = verdict(result(fit_seconds={"fc": [2.0], "svm": [7.0]}, cold_s=1.5))
    assert "svm costs 5.00 s more each time, more than computing the features takes (1.50 s)" in text


@pytest.mark.parametrize("seconds", [{"fc": [2.0, 9.0, 9.0], "svm": [4.0, 5.0]}, {"fc": [2.0], "svm": [7.0]}])
def test_busy_or_overlapping_times_name_no_slower_one(seconds: dict[str, list[float]]) -> None:
    overlap = min(seconds["svm"]) < max(seconds["fc"])
    text = verdict(result(fit_seconds=seconds, busy=not overlap))
    assert ("the times overlap" in text) == overlap
    assert ("took 50% of the processor" in text) != overlap
    assert "more each time" not in text


def test_a_verdict_has_five_sentences_at_most() -> None:
    repeats = repeated(mean(-0.004, -0.03, 0.02, 0.7, won=4, lost=6), [0.3, 0.62])
    text = verdict(result(repeats=repeats, fit_seconds={"fc": [2.0], "svm": [7.0]}))
    assert text.count(". ") <= 4


def test_a_pair_is_found_in_either_order() -> None:
    pairs = [
        {"a": "x", "b": "y", "accuracy": {"mean": 0.1, "ci95": [-0.1, 0.3], "won": 3, "lost": 1, "tied": 0}}
    ]
    assert find_pair(pairs, "x", "y") == pairs[0]
    turned = find_pair(pairs, "y", "x")
    assert turned is not None
    assert turned["accuracy"] == {"mean": -0.1, "ci95": [-0.3, 0.1], "won": 1, "lost": 3, "tied": 0}
    assert find_pair(pairs, "x", "z") is None


def test_the_best_of_all_is_compared_with_the_better_of_the_two() -> None:
    found = result()
    ridge = {**copy.deepcopy(found.methods[0]), "name": "ridge", "kind": "ridge regression"}
    own = {"a": "ridge", "b": "svm", "mcnemar_p": 0.5}
    pair = own | {score: difference(-0.02, -0.08, 0.04, 0.6) for score in ("macro_f1", "accuracy")}
    comparison = {
        **found.comparison,
        "best": "ridge",
        "best_of_kind": {**found.comparison["best_of_kind"], "ridge": "ridge"},
        "pairs": [*found.comparison["pairs"], pair],
    }
    found = dataclasses.replace(found, methods=[*found.methods, ridge], comparison=comparison)
    last = verdict(found).partition("Best of all on the validation split: ridge (")[2]
    assert "-2.0 (-8.0 to +4.0) points of macro F1 against svm; on this one split that may be chance" in last
