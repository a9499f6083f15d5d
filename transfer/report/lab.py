"""The figures of the lab report that began this, on its own data."""

from __future__ import annotations

# By kind of method, as results name it.
LAB_FIGURES = {
    "fine-tuning": {"accuracy": 0.78, "macro_f1": 0.35, "seconds": 180},
    "SVM": {"accuracy": 0.87, "macro_f1": 0.56, "seconds": 15},
}


def format_lab_seconds(kind: str) -> str:
    """Format the runtime of a kind of method as the report states it: `about 3 min`, `15 s`."""
    seconds = LAB_FIGURES[kind]["seconds"]
    return f"about {seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def describe_lab() -> str:
    """Say in a clause what the report found."""
    fine_tuning, svm = (
        f"at {own['accuracy']:.2f} / {own['macro_f1']:.2f} in {format_lab_seconds(kind)}"
        for kind, own in LAB_FIGURES.items()
    )
    return f"the lab report had fine-tuning {fine_tuning}, the SVM {svm}"
