"""Messages of the library, which name arguments, in words of the command line, which has options."""

from __future__ import annotations

import re

from transfer.config import RunConfig

# Arguments of `run`, `list_candidates`, `learning_curve.prepare`, `predictor.load`, `export` and `Rule` of pruning that
# are no settings.
_OPTIONS = {
    "data": "DATA",
    "models": "--out",
    "out": "--out",
    "force": "--force",
    "log": "--log",
    "keys": "--key",
    "method": "--method",
    "format": "--format",
    "draws": "--draws",
    "time_budget": "--time-budget",
    "min_confidence": "--min-confidence",
}
_ARGUMENTS = re.compile(r"`([a-z_]+(?:='?[^`]*?'?)?)`")
_ONE = re.compile(r"([a-z_]+)(?:='?([^`]*?)'?)?")


def name_options(message: str) -> str:
    """Replace arguments in backquotes by options: `` `device='cpu'` `` becomes `--device cpu`."""
    return _ARGUMENTS.sub(_replace, message)


def _replace(found: re.Match[str]) -> str:
    options = []
    for argument in re.split(r", (?=[a-z_]+=)", found[1]):
        one = _ONE.fullmatch(argument)
        if one is None or one[1] not in {*_OPTIONS, *RunConfig.__dataclass_fields__}:
            return found[0]
        option = _OPTIONS.get(one[1], f"--{one[1].replace('_', '-')}")
        value = one[2]
        if value and value.startswith("["):  # the items of a list are joined by commas
            value = re.sub(r"[][' ]", "", value)
        options.append(option if value in (None, "True") else f"{option} {value}")
    return " ".join(options)
