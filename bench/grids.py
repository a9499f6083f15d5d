"""Our searches over exactly the settings that a reference tries, so that both do the same work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.references import one_by_one, svc_grid
from transfer.config import RunConfig
from transfer.heads.base import GridSearch
from transfer.heads.registry import METHODS

CONFIG = RunConfig(data="features", device="cpu")
# The grids of the references, in the words of our searches.
GRIDS: dict[str, dict[str, Any]] = {
    "svm": {"kernels": svc_grid.KERNELS, "C": svc_grid.GRID_C},
    "ridge": {"alpha": one_by_one.ALPHA},
    "logreg": {"C": one_by_one.C},
    "knn": {"k": one_by_one.NEIGHBORS},
}


def search(name: str, device: str = "cpu", **grid: Any) -> GridSearch:
    """Build the search of a method with the settings of its reference and no others.

    Parameters
    ----------
    name
        A method of `transfer.heads.registry.METHODS`; those without an entry in `GRIDS` are built as they are.
    device
        `cpu` or `cuda`.
    **grid
        Replaces axes of the grid.
    """
    built = METHODS[name].build(replace(CONFIG, device=device))
    only = {**GRIDS.get(name, {}), **grid}
    if only:
        # Neither settings beyond the grid's edges nor class weights: a reference tries none.
        plain = {"extend": False, "class_weight": (None,)}
        only |= {key: value for key, value in plain.items() if key in built.get_params()}
    built.set_params(**only)
    return built
