"""A finished comparison as an object in Python, which a notebook shows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from transfer.config import BUILT_IN, RunConfig
from transfer.evaluation import experiment
from transfer.evaluation.experiment import Experiment
from transfer.evaluation.results import Result
from transfer.outputs import folder
from transfer.report.html import notebook
from transfer.report.tables import total_seconds
from transfer.report.verdict import verdict
from transfer.report.wording import SCORES
from transfer.system.errors import UserError, check_choice
from transfer.system.progress import Progress, silent
from transfer.system.run_files import MODELS


class Answer(NamedTuple):
    """What a method says about a test image.

    Examples
    --------
    >>> import transfer
    >>> found = transfer.compare("features.npz", methods=["knn"], repeats=0)
    >>> found.predictions[0].method
    'knn'
    """

    file: str
    group: str
    label: str
    """The image's own."""
    method: str
    predicted: str
    probability: float
    """Of the predicted label, calibrated on the validation split."""


@dataclass(frozen=True, repr=False)
class Drawing:
    """A drawing that a notebook shows.

    Parameters
    ----------
    svg : str
        A whole SVG document.

    Examples
    --------
    >>> import transfer
    >>> found = transfer.compare("features.npz", methods=["knn"], repeats=0)
    >>> found.plot().svg[:4]
    '<svg'
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg


@dataclass(frozen=True, repr=False)
class Comparison:
    """The methods of a run side by side. A notebook shows it as a table.

    Parameters
    ----------
    experiment : Experiment

    Examples
    --------
    >>> import transfer
    >>> found = transfer.compare("features.npz", methods=["knn", "ridge"], repeats=0)
    >>> found.to_pandas()[["method", "accuracy", "fit_s"]].shape
    (2, 3)
    >>> found.predictions[0].method
    'knn'
    >>> found.plot("accuracy").svg[:4]
    '<svg'
    """

    experiment: Experiment

    @property
    def result(self) -> Result:
        """The record of the run, as `transfer.run` returns it."""
        return self.experiment.result

    def __repr__(self) -> str:
        return verdict(self.result)

    def _repr_html_(self) -> str:
        return notebook.table(self.result)

    def to_pandas(self) -> Any:
        """Return a row a method: scores on the test split with 95 % intervals, and times in seconds.

        Returns
        -------
        pandas.DataFrame
            `method`, for each score its value and the ends of its interval (`accuracy`, `accuracy_low`,
            `accuracy_high`), `fit_s` of the whole search, `predict_s`, and `warm_s` and `cold_s` of a whole run of the
            method with a full and with an empty store.

        Raises
        ------
        UserError
            If pandas is not installed.
        """
        try:
            import pandas  # optional
        except ImportError:
            raise UserError("a table needs pandas; install it (pip install pandas)") from None
        rows = []
        for method in self.result.methods:
            test = method["test"]
            row: dict[str, Any] = {"method": method["name"]}
            for score in SCORES:
                low, high = test[f"{score}_ci95"]
                row |= {score: test[score], f"{score}_low": low, f"{score}_high": high}
            cold_s, warm_s = total_seconds(self.result, method)
            times = {"fit_s": method["fit_s"], "predict_s": method["predict_s"]}
            rows.append(row | times | {"warm_s": warm_s, "cold_s": cold_s})
        return pandas.DataFrame(rows)

    @cached_property
    def predictions(self) -> list[Answer]:
        """A row a method and test image, which `pandas.DataFrame` takes."""
        return [Answer(*row) for row in self.experiment.test_answers()]

    def plot(self, score: str = "macro_f1") -> Drawing:
        """Draw a score of each method, with its interval, against the time of its search.

        Parameters
        ----------
        score : {"macro_f1", "accuracy"}

        Returns
        -------
        Drawing
            A notebook shows it; `svg` is its text.
        """
        check_choice("score", score, tuple(SCORES))
        return Drawing(notebook.score_against_time(self.result, score))

    def save(self, out: Path | str, *, force: bool = False) -> None:
        """Write what `transfer run --out` does: result, page, predictions and models.

        Parameters
        ----------
        out : path
            A folder, made if it is not there.
        force : bool
            Whether models of other data or another network there may be replaced.

        Raises
        ------
        UserError
            Of the first file that can't be written, once all others are; for a folder among the images, and for
            models that only `force` replaces.
        """
        out, config = Path(out), self.experiment.config
        experiment.check_folders(config, out, out / MODELS, force=force)
        try:
            out.mkdir(parents=True, exist_ok=True)
            if not self.experiment.features.given:
                (out / MODELS).mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"can't make {out} ({error.strerror}); give another `out`") from error
        failures = folder.save(out, self.experiment)
        if failures:
            raise failures[0]


def compare(
    data: Path | str = BUILT_IN,
    methods: Sequence[str] = (),
    *,
    on_progress: Progress = silent,
    **settings: Any,
) -> Comparison:
    """Compare methods on labelled images.

    Parameters
    ----------
    data : path
        As for `RunConfig`.
    methods : sequence of str
        Such as `["fc", "svm"]`; those that are run by default.
    on_progress : Progress
    **settings
        Further settings of `RunConfig`, such as `backbone="resnet18"`, `size=(240, 800)`, `layers=["layer4"]`.

    Returns
    -------
    Comparison

    Raises
    ------
    UserError
        For what a user can mend, and for a setting that there is not.

    Examples
    --------
    >>> import transfer
    >>> found = transfer.compare("features.npz", methods=["knn"], repeats=0)
    >>> found.result.method("knn")["test"]["accuracy"] > 0.5
    True
    """
    known = RunConfig.__dataclass_fields__
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                f"no setting {name!r}; "
                + (f"did you mean `{near[0]}`?" if near else f"choose one of {', '.join(known)}")
            )
    names = (methods,) if isinstance(methods, str) else tuple(methods)
    config = RunConfig(data=str(data), methods=names, **settings)
    return Comparison(experiment.compare(config, on_progress))
