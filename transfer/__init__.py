"""Fine-tune the last layer, or train an SVM on frozen features? Compared fast, with timings to trust."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["SVM", "FineTune", "FineTuneSearch", "Result", "RunConfig", "SVMSearch", "UserError", "run"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: some bring PyTorch with them."""
    if name == "run":
        from transfer.experiment import run

        return run
    if name in ("RunConfig", "UserError"):
        from transfer import config

        return getattr(config, name)
    if name == "Result":
        from transfer.results import Result

        return Result
    if name in __all__:
        from transfer import heads

        return getattr(heads, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
