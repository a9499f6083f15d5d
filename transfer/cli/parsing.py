"""Text of options to values."""

from __future__ import annotations

import re

from transfer.config import MAX_SIDE, MIN_SIDE, REPEAT_GROUPS
from transfer.system.errors import UserError


def parse_numbers(flag: str, text: str, example: str) -> tuple[float, ...]:
    """Parse numbers with commas between, such as `"1e-4,1e-3"`."""
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise UserError(f"{flag} is {text!r}; give numbers, such as {example}") from None


def parse_size(text: str) -> tuple[int, int]:
    """Parse `"240x800"` to `(240, 800)`: height and width in pixels."""
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if not match or not all(MIN_SIDE <= int(part) <= MAX_SIDE for part in match.groups()):
        raise UserError(
            f"--size is {text!r}; give height x width in pixels, {MIN_SIDE} to {MAX_SIDE} each, such as 240x800"
        )
    return int(match[1]), int(match[2])


def parse_duration(text: str) -> float:
    """Parse a time, `"90s"`, `"10m"` or `"1.5h"`, to seconds."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", text)
    if not match or not float(match[1]):
        raise UserError(f"--time-budget is {text!r}; give seconds, minutes or hours, such as 90s, 10m or 1h")
    return float(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]


def parse_age(text: str) -> float:
    """Parse an age, `"90d"` or `"12h"`, to seconds."""
    match = re.fullmatch(r"(\d{1,6})([dh])", text)
    if not match:
        raise UserError(f"--older-than is {text!r}; give days or hours, such as 90d or 12h")
    return int(match[1]) * {"d": 86400.0, "h": 3600.0}[match[2]]


def parse_bytes(flag: str, text: str) -> int:
    """Parse a size, `"20GB"` or `"500MB"`, to bytes; units are powers of 1000."""
    match = re.fullmatch(r"(\d{1,9})(MB|GB|TB)", text)
    if not match:
        raise UserError(f"{flag} is {text!r}; give MB, GB or TB, such as 20GB")
    return int(match[1]) * {"MB": 10**6, "GB": 10**9, "TB": 10**12}[match[2]]


def parse_columns(text: str | None) -> dict[str, str]:
    """Parse names of columns, such as `"file=path,label=species"`, or none; an empty name is of no column."""
    if not text:
        return {}
    pairs = [part.partition("=") for part in text.split(",")]
    roles = [role.strip() for role, _, _ in pairs]
    if not all(sign for _, sign, _ in pairs) or len(set(roles)) < len(roles):
        raise UserError(f"--columns is {text!r}; give each once, such as file=path,label=species")
    return dict(zip(roles, (name.strip() for _, _, name in pairs), strict=True))


def parse_repeats(text: str) -> int | str:
    """Parse the number of `--repeats`, or `groups`."""
    if text != REPEAT_GROUPS and not re.fullmatch(r"\d{1,9}", text):
        raise UserError(f"--repeats is {text!r}; give a whole number from 0 to 999999999, or {REPEAT_GROUPS}")
    return text if text == REPEAT_GROUPS else int(text)
