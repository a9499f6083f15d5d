"""What a result says: its tables, its notes and its verdict in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from transfer import render
from transfer.render import Table, draw, say
from transfer.results import Result, skipped_count
from transfer.text import escaped

# What the lab report that began this found: seconds, accuracy and macro F1 of its two ways.
LAB = "the lab report had fine-tuning at 0.78 / 0.35 in about 3 min, the SVM at 0.87 / 0.56 in 15 s"
CERTAIN = 0.05
# The question that the project is asked.
QUESTION = {"fine-tuning", "SVM"}


def show(result: Result, console: Console) -> None:
    """Print the whole report."""
    say(console, heading(result))
    for table in tables(result):
        draw(table, console)
    for note in notes(result):
        say(console, f"Note: {note}")
    say(console, verdict(result), style="bold")


def show_side_by_side(results: Sequence[Result], console: Console) -> None:
    """Print several results in one table, each with its data and machine; nothing is averaged over them."""
    draw(side_by_side(results), console)


def markdown(result: Result) -> str:
    """The whole report as Markdown."""
    parts = [
        f"# {escaped(result.data['name'])}",
        escaped(heading(result)),
        f"**{escaped(verdict(result))}**",
    ]
    parts += [render.markdown(table) for table in tables(result)]
    parts += [f"Note: {escaped(note)}" for note in notes(result)]
    return "\n\n".join(parts) + "\n"


def tables(result: Result) -> list[Table]:
    """Table 1 (every setting), 2 (methods), 3 (classes), with int8 what it cost, and where the time went."""
    int8 = [_int8(result)] if result.engine.get("cosine_with_fp32") else []
    return [_sweep(result), _methods(result), _classes(result), *int8, _seconds(result)]


def heading(result: Result) -> str:
    """What was run on what, in one line."""
    counts = ", ".join(f"{part['images']} {split}" for split, part in result.data["splits"].items())
    height, width = result.backbone["input_size"]
    return (
        f"{result.data['name']}: {len(result.data['classes'])} classes, {counts} images at {height}x{width}; "
        f"{result.backbone['name']} ({result.backbone['weights']} weights), {result.engine['name']} "
        f"{result.engine['precision']} on {result.engine['device']}, {result.environment['processor']}, "
        f"{result.engine['threads']} threads"
    )


def verdict(result: Result) -> str:
    """The answer in plain words: fine-tuning against SVM where both were run, else the best two kinds."""
    select, best_of_kind = result.comparison["select"], result.comparison["best_of_kind"]
    asked = QUESTION if best_of_kind.keys() >= QUESTION else best_of_kind.keys()
    champions = [result.method(name) for kind, name in best_of_kind.items() if kind in asked]
    champions.sort(key=lambda method: -method["valid"][select])
    if len(champions) < 2:
        return f"{_achieved(champions[0])}; with one kind of method there is nothing to compare."
    first, second = champions[:2]
    p = _p(result, first["name"], second["name"])
    ahead = first["test"]["accuracy"] - second["test"]["accuracy"]
    by = f"{abs(ahead) * 100:.1f} points of accuracy"
    told = f"{_achieved(first)}, {_achieved(second)}."
    if p >= CERTAIN:
        told += f" The {by} between them may be chance (exact McNemar p = {_p_text(p)})."
    else:
        winner = first if ahead > 0 else second
        told += f" {winner['name']} is ahead by {by}, more than chance explains (p = {_p_text(p)})."
    slow, fast = sorted((first, second), key=lambda method: -method["fit_s"])
    ratio = f"{slow['fit_s'] / fast['fit_s']:.1f}"
    longer = "about as long as" if ratio == "1.0" else f"{ratio} times as long as"
    told += (
        f" On features that are there, {slow['kind']} took {_s(slow['fit_s'])}, {longer} "
        f"{fast['kind']} with {_s(fast['fit_s'])}."
    )
    best = result.comparison["best"]
    if best not in (first["name"], second["name"]):
        told += f" Best of all on the validation split, {_achieved(result.method(best))}."
    return told


def notes(result: Result) -> list[str]:
    """What a reader must know to read the tables rightly."""
    found = []
    if result.backbone["weights"] == "random":
        found.append(
            "the network is untrained (random weights, batch-norm statistics estimated on training images): "
            "these figures compare methods and times, and say nothing of what a pre-trained network reaches"
        )
    if result.backbone["weights"] == "embedded":
        found.append(
            "the network was trained on drawn pictures alone (embedded weights): it shows how the methods compare, "
            "and reaches less than one trained on photographs (--weights imagenet)"
        )
    if result.engine.get("trials"):
        found.append(_chosen(result))
    if result.data["drawn"]:
        found.append(
            f"the folder has no own split {', '.join(result.data['drawn'])}; drawn, stratified and seeded"
        )
    others = result.data["others"]
    if others["count"]:
        named = ", ".join(others["first"]) + (" ..." if others["count"] > len(others["first"]) else "")
        files = "other file was" if others["count"] == 1 else "other files were"
        found.append(f"{others['count']} {files} left alone: {named}")
    if result.data["test_in_train"]:
        found.append(
            f"{result.data['test_in_train']} test images are training images too, byte for byte: "
            "the scores flatter every method"
        )
    if result.data["skipped"]:
        first = result.data["skipped"][0]
        more = skipped_count(result) - 1
        rest = f" and {more} more" if more else ""
        found.append(f"images were skipped: {first['name']} ({first['reason']}){rest}")
    if result.features["damaged_shards"]:
        found.append(
            f"{result.features['damaged_shards']} damaged files of the store were set aside and computed again"
        )
    found.append(
        "settings are chosen on the validation split; intervals are 95 % bootstraps over test images; "
        f"{LAB}, on other data"
    )
    return found


def side_by_side(results: Sequence[Result]) -> Table:
    """One row for every method of every result, numbered in their order."""
    rows = [
        [
            str(number),
            result.data["name"],
            f"{result.backbone['name']} {result.backbone['weights']}",
            f"{result.environment['processor']}, {result.engine['device']} {result.engine['precision']}",
            method["name"],
            _with_interval(method["test"], "accuracy"),
            _with_interval(method["test"], "macro_f1"),
            _s(method["fit_s"]),
            _s(result.features["cold_seconds"]) if result.features["cold_seconds"] is not None else "-",
        ]
        for number, result in enumerate(results, 1)
        for method in result.methods
    ]
    columns = [
        "#",
        "data",
        "backbone",
        "machine",
        "method",
        " accuracy",
        " macro F1",
        " fit",
        " cold",
    ]
    return Table(
        "Results side by side, on the test split (cold: features from an empty store)", columns, rows
    )


def _sweep(result: Result) -> Table:
    rows = [
        [
            method["name"] if i == 0 else "",
            _params(row["params"]) + (" *" if row["params"] == method["best_params"] else ""),
            f"{row['valid'][result.comparison['select']]:.3f}",
            f"{row['test']['accuracy']:.3f}",
            f"{row['test']['macro_f1']:.3f}",
            _s(row["fit_s"]),
        ]
        for method in result.methods
        for i, row in enumerate(method["sweep"])
    ]
    by = result.comparison["select"].replace("_", " ")
    columns = ["method", "setting", f" {by} (valid)", " accuracy", " macro F1", " fit"]
    return Table(
        "Table 1: every setting, on the test split (* chosen on the validation split)", columns, rows
    )


def _methods(result: Result) -> Table:
    prepare_s = sum(sum(result.seconds.get(phase, [])) for phase in ("read", "load"))
    cold_s = result.features["cold_seconds"]
    rows = []
    for method in result.methods:
        warm_s = prepare_s + method["fit_s"] + method["predict_s"]
        rows.append(
            [
                method["name"],
                _params(method["best_params"]),
                _with_interval(method["test"], "accuracy"),
                _with_interval(method["test"], "macro_f1"),
                _s(method["fit_s"]),
                _s(method["predict_s"]),
                "-" if cold_s is None else _s(cold_s + warm_s),
                _s(warm_s),
            ]
        )
    columns = [
        "method",
        "setting",
        " accuracy",
        " macro F1",
        " fit",
        " predict",
        " cold total",
        " warm total",
    ]
    return Table("Table 2: methods, on the test split (cold: with an empty store)", columns, rows)


def _classes(result: Result) -> Table:
    first = result.methods[0]["test"]["per_class"]
    rows = [
        [
            entry["class"],
            str(entry["support"]),
            *(_share(method["test"]["per_class"][c]["recall"]) for method in result.methods),
        ]
        for c, entry in enumerate(first)
    ]
    columns = ["class", " test", *(f" {method['name']}" for method in result.methods)]
    return Table(
        "Table 3: accuracy per class (recall, test split; test: images of the class in it)", columns, rows
    )


def _int8(result: Result) -> Table:
    cosine = result.engine["cosine_with_fp32"]
    rows = []
    for method in result.methods:
        told = method["int8_against_fp32"]
        low, high = (f"{100 * bound:+.1f}" for bound in told["accuracy_difference_ci95"])
        difference = f"{100 * told['accuracy_difference']:+.1f} ({low} to {high})"
        rows.append([method["name"], f"{told['changed']:.1%}", difference])
    return Table(
        f"What int8 cost: methods fitted on int8 features, given {cosine['images']} test images in int8 and in fp32 "
        f"(cosine {cosine['min']:.4f} at least, median {cosine['median']:.4f})",
        ["method", " predictions changed", " points of accuracy (95 %)"],
        rows,
    )


def _chosen(result: Result) -> str:
    """Which engine was taken, with the figures of the trials."""
    name, precision = result.engine["name"], result.engine["precision"]
    trials = result.engine["trials"]
    speeds = ", ".join(f"{t['engine']} {t['precision']} {t['images_per_s']:.1f}" for t in trials)
    own = next((t for t in trials if (t["engine"], t["precision"]) == (name, precision)), None)
    close = (
        f"; on the trial's images its features' cosine with fp32 was {own['cosine']:.4f} at least"
        if own
        else ""
    )
    return f"{name} {precision}: {result.engine['reason']} (trials, images/s: {speeds}){close}"


def _seconds(result: Result) -> Table:
    total = result.seconds["total"]
    phases = {name: sum(values) for name, values in result.seconds.items() if name != "total"}
    phases["everything else"] = total - sum(phases.values())
    rows = [[name, _s(seconds), f"{seconds / total:.0%}"] for name, seconds in phases.items()]
    speed = result.features["images_per_s"]
    told = (
        f"{result.features['computed']} images computed at {speed:.1f} images/s"
        if speed
        else "nothing computed"
    )
    return Table(
        f"Where the time went ({told}, {result.features['reused']} reused)",
        ["phase", " seconds", " share"],
        [*rows, ["total", _s(total), "100%"]],
    )


def _achieved(method: dict[str, Any]) -> str:
    test = method["test"]
    setting = _params(method["best_params"])
    return (
        f"{method['name']} ({method['kind']}, {setting}) reaches accuracy {test['accuracy']:.2f} "
        f"and macro F1 {test['macro_f1']:.2f}"
    )


def _p(result: Result, a: str, b: str) -> float:
    pair = next(pair for pair in result.comparison["pairs"] if {pair["a"], pair["b"]} == {a, b})
    p: float = pair["mcnemar_p"]
    return p


def _p_text(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "under 0.0001"


def _params(params: dict[str, Any]) -> str:
    """Parameters in short: those at their neutral value tell nothing."""
    return ", ".join(
        f"{value}"
        if name == "kernel"
        else f"{name} {value:g}"
        if isinstance(value, float | int)
        else f"{name} {value}"
        for name, value in params.items()
        if value is not None and not (name == "weight_decay" and value == 0) and value != "scale"
    )


def _with_interval(test: dict[str, Any], score: str) -> str:
    low, high = test[f"{score}_ci95"]
    return f"{test[score]:.3f} ({_short(low)}-{_short(high)})"


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0").replace("1.00", "1.0")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _s(seconds: float) -> str:
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"
