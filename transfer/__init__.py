"""Fine-tune the last layer, or train an SVM on frozen features? Compared fast, with timings to trust."""

from typing import Any

from transfer.system.version import __version__ as __version__

__all__ = [
    "SVM",
    "Comparison",
    "FineTune",
    "FineTuneSearch",
    "Result",
    "RunConfig",
    "SVMSearch",
    "UserError",
    "compare",
    "load",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: some import PyTorch."""
    if name == "run":
        from transfer.evaluation.experiment import run

        return run
    if name in ("Comparison", "compare"):
        from transfer.outputs import comparison

        return getattr(comparison, name)
    if name == "load":
        from transfer.serving.predictor import load

        return load
    if name in ("RunConfig", "UserError"):
        from transfer import config

        return getattr(config, name)
    if name == "Result":
        from transfer.evaluation.results import Result

        return Result
    if name in __all__:
        from transfer import heads

        return getattr(heads, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
