"""Formatting of figures and settings of a result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from transfer.evaluation.results import ALPHA

# Scores as they are called in text.
SCORES = {"macro_f1": "macro F1", "accuracy": "accuracy"}
# Images of another size than the network's, by the way of resizing.
RESIZED = {"stretch": "stretched", "letterbox": "letterboxed", "crop": "cropped"}
# What decoded images, and how.
DECODED = {
    "pillow": "Pillow",
    "pillow-reduced": "Pillow, JPEGs at a reduced scale of at least twice the input size",
    "nvjpeg": "nvJPEG",
}


def format_params(params: dict[str, Any]) -> str:
    """Format parameters briefly; those with a neutral value are left out."""
    return ", ".join(
        f"{value} by Nyström"
        if name == "kernel" and params.get("n_landmarks")
        else f"{value}"
        if name in ("kernel", "class_weight")
        else f"m {value}"
        if name == "n_landmarks"
        else f"{name} {value:g}"
        if isinstance(value, float | int)
        else f"{name} {value}"
        for name, value in params.items()
        if value is not None
        and not (name == "weight_decay" and value == 0)
        and name != "cosine_steps"
        and value != "scale"
    )


def describe_weights(backbone: Mapping[str, Any]) -> str:
    """Return which weights a network has; `package` could be mistaken for the bundled ones (`embedded`)."""
    weights = backbone["weights"]
    return "ImageNet weights of its package" if weights == "package" else f"{weights} weights"


def describe_layers(backbone: dict[str, Any]) -> str:
    """Return the layers that features are the outputs of; empty where they are what the classifier takes."""
    names = " + ".join(backbone.get("layers", ()))
    return names and f"layers {names}"


def describe_resize(backbone: dict[str, Any]) -> str:
    """Return how images were brought to the input size; empty where that is the usual way."""
    way = backbone.get("resize", "stretch")
    return "" if way == "stretch" else f"images {RESIZED[way]}"


def describe_decoder(engine: dict[str, Any]) -> str:
    """Return what decoded the images; empty where that is the usual decoder."""
    decoder = engine.get("decoder", "pillow")
    return "" if decoder == "pillow" else f"decoded by {decoder}"


def describe_transform(config: dict[str, Any]) -> str:
    """Return the steps that features took before every method; empty where there were none."""
    steps = ", ".join(config.get("transform", ()))
    return steps and f"features by {steps}"


def describe_options(backbone: dict[str, Any], engine: dict[str, Any], config: dict[str, Any]) -> str:
    """Return what of these is not as usual, each after a comma."""
    found = (
        describe_resize(backbone),
        describe_decoder(engine),
        describe_layers(backbone),
        describe_transform(config),
    )
    return "".join(f", {one}" for one in found if one)


def format_setting(row: dict[str, Any]) -> str:
    """Format a row of a sweep; a solution shared by larger values is marked: `linear, C >= 0.01`."""
    text = format_params(row["params"])
    for name, value in row["params"].items():
        if isinstance(value, float | int) and any(other[name] > value for other in row.get("same_as", ())):
            text = text.replace(f"{name} {value:g}", f"{name} >= {value:g}")
    return text


def count_settings(method: dict[str, Any]) -> int:
    """Count the settings that a method was fitted with; several may share a solution and so a row of its sweep."""
    return sum(1 + len(row.get("same_as", ())) for row in method["sweep"])


def format_seconds(seconds: float) -> str:
    """Format seconds with two or three digits."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def format_bound(share: float, digits: int = 2) -> str:
    """Format a share as `.85`, or `1.0`."""
    return re.sub("^1.0+$", "1.0", f"{share:.{digits}f}".removeprefix("0"))


def format_score(scores: dict[str, Any], score: str) -> str:
    """Format a score with its interval: `0.850 (.81-.89)`."""
    value, (low, high) = scores[score], scores[f"{score}_ci95"]
    # Near 1, bounds of two digits may leave out the score itself.
    digits = 2 if round(low, 2) <= round(value, 3) <= round(high, 2) else 3
    return f"{value:.3f} ({format_bound(low, digits)}-{format_bound(high, digits)})"


def format_share(value: float | None) -> str:
    """Format a share with two digits; `-` for none."""
    return "-" if value is None else f"{value:.2f}"


def format_points(value: float, ci95: Sequence[float] | None, interval: str = "({} to {})") -> str:
    """Format a difference in points with its interval: `+1.2 (-0.8 to +3.1)`."""
    # Of a small loss, +0.0 rather than -0.0.
    text, *bounds = (f"{round(100 * points, 1) + 0.0:+.1f}" for points in (value, *(ci95 or ())))
    return f"{text} {interval.format(*bounds)}" if bounds else text


def format_p(p: float | None) -> str:
    """Format a p value with two digits, or more if one below 0.05 would be rounded to it; `-` for none."""
    if p is None:
        return "-"
    if p < 1e-4:
        return "<.0001"
    digits = 2
    while p < ALPHA <= float(f"{p:.{digits}g}"):
        digits += 1
    return f"{p:.{digits}g}"


def describe_p(p: float) -> str:
    """Return a p value as `p = 0.03`, or `p < .0001`."""
    shown = format_p(p)
    return f"p {shown[0]} {shown[1:]}" if shown.startswith("<") else f"p = {shown}"


def describe_groups_option(groups: dict[str, Any], *, moves: bool) -> str:
    """Return the options that keep groups together; splits of the data's own are not moved, so others are added."""
    pattern = f"'{groups['suggestion']['pattern']}'" if groups["suggestion"] else "REGEX"
    return f"--groups {pattern}" + ("" if moves else " --repeats groups")
