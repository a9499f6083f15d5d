"""The conclusion of a run in at most five sentences."""

from __future__ import annotations

from typing import Any

from transfer.config import UNCACHED
from transfer.evaluation.results import ALPHA, SAME, Result, conclude
from transfer.report.wording import (
    SCORES,
    count_settings,
    describe_p,
    format_params,
    format_points,
    format_seconds,
)

# The question that the project is asked.
QUESTION = {"fine-tuning", "SVM"}
# Steps of the ladder that change how the last layer is trained; the others are other heads.
TRAINING_STEPS = ("standardise", "train out", "weight decay", "balance")
TIES = {"macro_f1": "both have the same macro F1", "accuracy": "both are right equally often"}
# Differences of time that nobody waits for.
SHORT_S = 1.0


def verdict(result: Result) -> str:
    """Return the sentences of the answer as one paragraph."""
    return " ".join(sentences(result))


def sentences(result: Result) -> list[str]:
    """Say which method is ahead, whether that may be chance, what mattered more, and what it costs in time.

    Fine-tuning is compared with the SVM if both were run, else the two kinds of method that did best. Each kind is
    represented by its method that did best on the validation split, so the one pair that is tested is fixed before
    the test split is used.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of str
        At most five.
    """
    select = result.comparison["select"]
    compared = champions(result)
    if len(compared) < 2:
        return [f"{_describe(compared[0], select)}; with one kind of method there is nothing to compare."]
    first, second = compared
    pair = _pair_of(result, first, second)
    found = [
        _lead(result, first, second, pair),
        _significance(result, first, second, pair),
        _larger_effects(result, pair),
        _time(result, first, second),
        _best_of_all(result, first, second),
    ]
    return [sentence for sentence in found if sentence]


def headline(result: Result) -> str:
    """Say in a line or two by how much one method is ahead, and whether that may be chance."""
    select, compared = result.comparison["select"], champions(result)
    if len(compared) < 2:
        return sentences(result)[0]
    first, second = compared
    pair = _pair_of(result, first, second)
    score = select if select in pair else "accuracy"
    points = (
        format_points(pair[score]["difference"], pair[score]["ci95"])
        if score in pair
        else f"{100 * (first['test'][score] - second['test'][score]):+.1f}"
    )
    return (
        f"{first['name']} against {second['name']}: {points} points of {SCORES[score]} on the test split. "
        f"{_significance(result, first, second, pair)}"
    )


def _pair_of(result: Result, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    pair = find_pair(result.comparison["pairs"], first["name"], second["name"])
    assert pair is not None, "every pair of methods has an entry"
    return pair


def find_pair(pairs: list[dict[str, Any]], a: str, b: str) -> dict[str, Any] | None:
    """Return the entry of two methods.

    Parameters
    ----------
    pairs : list of dict
        Of a result.
    a, b : str
        Names of methods.

    Returns
    -------
    dict or None
        With differences `a` minus `b`; None if there is no such entry.
    """
    for pair in pairs:
        if (pair["a"], pair["b"]) == (a, b):
            return pair
        if (pair["a"], pair["b"]) == (b, a):
            return {**pair, "a": a, "b": b, **{s: _negate(pair[s]) for s in SCORES if s in pair}}
    return None


def _negate(entry: dict[str, Any]) -> dict[str, Any]:
    turned = dict(entry)
    for key in ("difference", "mean"):
        if key in turned:
            turned[key] = -turned[key]
    if turned["ci95"]:
        turned["ci95"] = [-bound for bound in reversed(turned["ci95"])]
    if "won" in turned:
        turned["won"], turned["lost"] = turned["lost"], turned["won"]
    return turned


def champions(result: Result) -> list[dict[str, Any]]:
    """Return the one or two methods that answer the question, the better one on validation first."""
    comparison, best_of_kind = result.comparison, result.comparison["best_of_kind"]
    asked = QUESTION if best_of_kind.keys() >= QUESTION else best_of_kind.keys()
    found = [result.method(name) for kind, name in best_of_kind.items() if kind in asked]
    # Of equal ones the best comes first, which is ahead in the score that breaks ties or was named first.
    found.sort(
        key=lambda method: (-method["valid"][comparison["select"]], method["name"] != comparison["best"])
    )
    return found[:2]


def _describe(method: dict[str, Any], select: str) -> str:
    other = next(score for score in SCORES if score != select)
    return (
        f"{method['name']} ({method['kind']}, {format_params(method['best_params'])}) reaches {SCORES[select]} "
        f"{method['test'][select]:.2f} and {SCORES[other]} {method['test'][other]:.2f}"
    )


def _lead(result: Result, first: dict[str, Any], second: dict[str, Any], pair: dict[str, Any]) -> str:
    select = result.comparison["select"]
    text = f"{_describe(first, select)}, {_describe(second, select)}"
    if select not in pair:  # a result of schema version 1 has no intervals of differences
        ahead = 100 * (first["test"]["accuracy"] - second["test"]["accuracy"])
        return f"{text}: {ahead:+.1f} points of accuracy."
    differences = " and ".join(
        f"{format_points(pair[score]['difference'], pair[score]['ci95'])} of {SCORES[score]}"
        for score in sorted(SCORES, key=lambda score: score != select)
    )
    units = f"{sum(row['support'] for row in first['test']['per_class']):,} test images"
    if pair.get("independent", {}).get("unit") == "group":
        units = f"{pair['independent']['count']:,} groups of {units}"
    return (
        f"{text}: {differences} in points, with 95 % intervals over {units}; each is the best of its kind on the "
        "validation split."
    )


def _significance(result: Result, first: dict[str, Any], second: dict[str, Any], pair: dict[str, Any]) -> str:
    """Say whether the difference may be chance: over other splits if there are any, else on the test split."""
    select, repeated = result.comparison["select"], result.comparison.get("repeats")
    found = repeated and find_pair(repeated["pairs"], first["name"], second["name"])
    if repeated and found:
        entry = found[select]
        splits = (
            f"{repeated['n']} groups left out in turn"
            if repeated["scheme"] == "groups"
            else f"{repeated['n']} other split{'s' if repeated['n'] > 1 else ''} of the same images"
        )
        equal = f" and equal in {entry['tied']}" if entry.get("tied") else ""
        return (
            f"Over {splits} the difference is {format_points(entry['mean'], entry['ci95'])} points of "
            f"{SCORES[select]}, and {first['name']} is ahead in {entry['won']}{equal}: "
            f"{_conclude(first, second, entry['mean'], entry['ci95'], entry['p'], 'on average they are equal')}."
        )
    if select not in pair:
        p = pair["mcnemar_p"]
        if first["test"]["accuracy"] == second["test"]["accuracy"]:
            return f"On this test split {TIES['accuracy']}."
        return (
            f"That may be chance (exact McNemar {describe_p(p)})."
            if p >= ALPHA
            else f"That is more than chance explains (exact McNemar {describe_p(p)})."
        )
    entry = pair[select]
    text = _conclude(first, second, entry["difference"], entry["ci95"], entry["p"], TIES[select])
    text = f"On this one split {text}"
    if entry["detectable"] and conclude(entry["ci95"], entry["p"]) not in ("ahead", "behind"):
        text += f"; it would probably have shown a difference of {100 * entry['detectable']:.1f} points"
    return f"{text}."


def _conclude(
    first: dict[str, Any],
    second: dict[str, Any],
    difference: float,
    ci95: list[float] | None,
    p: float | None,
    tie: str,
) -> str:
    found = conclude(ci95, p)
    if found in ("ahead", "behind") and p is not None:
        ahead = first if found == "ahead" else second
        small = "less than 0.1 points, " if round(100 * difference, 1) == 0 else ""
        return f"{ahead['name']} is ahead by {small}more than chance explains ({describe_p(p)})"
    if found == SAME:
        return f"the two are the {SAME}"
    if difference == 0:
        return tie
    if p is None:
        return "that says nothing about chance"
    if ci95 and (p < ALPHA) == (ci95[0] <= 0 <= ci95[1]):
        interval = "but the interval includes 0" if p < ALPHA else "though the interval excludes 0"
        return f"that may be chance ({describe_p(p)}, {interval})"
    return f"that may be chance ({describe_p(p)})"


def _larger_effects(result: Result, pair: dict[str, Any]) -> str:
    """Name what changed the score by more than the choice between the two heads."""
    select = result.comparison["select"]
    if select not in pair:
        return ""
    repeated = result.comparison.get("repeats") or {"pairs": [], "methods": []}
    over_splits = find_pair(repeated["pairs"], pair["a"], pair["b"])
    heads = [pair[select]["difference"], over_splits[select]["mean"] if over_splits else 0]
    least, effects = max(map(abs, heads)), []
    for rung in result.comparison.get("ladder") or []:
        if not rung["change"] or not rung["step"].startswith(TRAINING_STEPS):
            continue
        change = rung["change"][select]
        gain = change["difference"]
        if abs(gain) > least and conclude(change["ci95"], change["p"]) in ("ahead", "behind"):
            effects.append((abs(gain), f"{rung['step']} ({100 * gain:+.1f})"))
    for method in (one for one in repeated["methods"] if one["name"] == pair["a"]):
        untrained = repeated.get("untrained") or [0] * len(method[select])
        scores = [score for score, count in zip(method[select], untrained, strict=True) if not count]
        low, high = min(scores, default=0), max(scores, default=0)
        if high - low > least:
            effects.append((high - low, f"the split (up to {100 * (high - low):.1f}, {pair['a']})"))
    if not effects:
        return ""
    words = [text for _, text in sorted(effects, reverse=True)[:3]]
    return f"What mattered more than the head, in points of {SCORES[select]}: {', '.join(words)}."


def _time(result: Result, first: dict[str, Any], second: dict[str, Any]) -> str:
    """State the cost of the two searches; which is faster only if the times show it."""
    slow, fast = sorted((first, second), key=lambda method: -method["fit_s"])

    def cost(method: dict[str, Any]) -> str:
        settings = count_settings(method)
        each = f" ({format_seconds(method['fit_s'] / settings)} each)" if settings > 1 else ""
        of = "1 setting" if settings == 1 else f"{settings} settings"
        return f"{method['name']} {format_seconds(method['fit_s'])} for {of}{each}"

    both = f"{cost(first)}, {cost(second)}"
    cached = "with the features cached"
    if UNCACHED in (first["name"], second["name"]):
        cached += f" except for {UNCACHED}"
    if max(slow["fit_seconds"]) < SHORT_S:
        return f"Time is no reason to choose: {cached}, {both}."
    environment = result.environment
    if environment.get("busy"):
        return (
            f"{cached[0].upper()}{cached[1:]}: {both}; other processes took {environment['contention']:.0%} of the "
            "processor meanwhile, so the times say little."
        )
    if min(slow["fit_seconds"]) <= max(fast["fit_seconds"]):
        return f"{cached[0].upper()}{cached[1:]}: {both}; the times overlap."
    text = f"{cached[0].upper()}{cached[1:]}: {both}"
    cold_s, extra_s = result.features["cold_seconds"], slow["fit_s"] - fast["fit_s"]
    if cold_s:
        trainings = max(1, round(cold_s / extra_s))
        extra = (
            f"more than computing the features takes ({format_seconds(cold_s)})"
            if extra_s > cold_s
            else f"as much as computing the features ({format_seconds(cold_s)}) after {trainings:,} "
            f"training{'s' if trainings > 1 else ''}"
        )
        text += f"; {slow['name']} costs {format_seconds(extra_s)} more each time, {extra}"
    return f"{text}."


def _best_of_all(result: Result, first: dict[str, Any], second: dict[str, Any]) -> str:
    best = result.comparison["best"]
    if best in (first["name"], second["name"]):
        return ""
    select, found = result.comparison["select"], result.method(best)
    text = f"Best of all on the validation split: {_describe(found, select)}"
    pair = _pair_of(result, found, first)
    if select not in pair:
        return f"{text}."
    points = format_points(pair[select]["difference"], pair[select]["ci95"])
    sure = _significance(result, found, first, pair)
    return f"{text}, {points} points of {SCORES[select]} against {first['name']}; {sure[0].lower()}{sure[1:]}"
