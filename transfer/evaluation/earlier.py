"""The seconds that an earlier run took, from which the time left of one like it is estimated."""

from __future__ import annotations

from pathlib import Path

from transfer.config import RunConfig
from transfer.evaluation import results
from transfer.evaluation.network_methods import list_methods
from transfer.heads.registry import default_methods
from transfer.system.errors import UserError
from transfer.system.remote import path_of

# Settings that decide how long methods take, and have the same name in a result.
SETTINGS, LISTS = (
    ("select", "epochs", "batch_size", "repeats"),
    ("size", "lr", "transform", "adapt", "lr_blocks"),
)


def expected_seconds(file: Path, config: RunConfig) -> dict[str, float]:
    """Return the seconds of each phase of an earlier run, in order, which together took as long as the run.

    Parameters
    ----------
    file : Path
        Its result file.
    config : RunConfig
        Of the run to come.

    Returns
    -------
    dict of str to float
        Empty where there is no such file, or where the run was of other images, methods or settings.
    """
    if not file.exists():
        return {}
    try:
        found = results.load(file)
    except UserError:  # it is about to be replaced
        return {}
    same = (
        found.data["name"] == path_of(config.data).resolve().name
        and found.backbone["name"] == config.backbone
        and found.config["methods"] == [*(config.methods or default_methods()), *list_methods(config)]
        and found.config.get("views", 1) == config.views
        and all((found.config.get(name) or []) == list(getattr(config, name) or ()) for name in LISTS)
        and all(found.config.get(name) == getattr(config, name) for name in SETTINGS)
    )
    spent = {phase: sum(parts) for phase, parts in found.seconds.items() if same and phase != "total"}
    scale = found.seconds["total"] / (sum(spent.values()) or 1.0)  # pauses are in no phase
    return {phase: scale * seconds for phase, seconds in spent.items()}
