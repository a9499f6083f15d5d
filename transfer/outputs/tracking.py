"""A finished comparison as a run of MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from transfer.evaluation.results import Result
from transfer.report.wording import SCORES
from transfer.system.errors import UserError
from transfer.system.hardware import installed_version
from transfer.system.run_files import PAGE, RESULT
from transfer.system.text import first_line

EXPERIMENT = "transfer"
# Of a request to a server, unless the user's environment says so: MLflow's own 7 take four minutes where there is none.
RETRIES = "2"


def log_run(result: Result, page: str) -> str:
    """Log a result to MLflow's tracking URI, in the experiment `transfer`.

    Parameters
    ----------
    result : Result
        Its settings become parameters, its scores and times metrics (`svm/accuracy`), its text an artifact.
    page : str
        HTML, kept as an artifact.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    UserError
        For whatever fails in MLflow or its server.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    now_ms = int(time.time() * 1000)
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        client = MlflowClient()
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment, run_name=result.data["name"]).info.run_id
        ended = "FAILED"
        try:
            client.log_batch(
                run,
                metrics=[Metric(name, value, now_ms, 0) for name, value in metrics(result)],
                params=[Param(name, str(value)) for name, value in parameters(result)],
            )
            client.log_text(run, page, PAGE)
            client.log_text(run, result.to_json(), RESULT)
            ended = "FINISHED"
        finally:
            client.set_terminated(run, ended)
    except Exception as error:  # of MLflow, of HTTP, of a database
        if "unsupported URI" in str(error) and not installed_version("mlflow"):
            raise UserError(
                "mlflow-skinny needs a server: set MLFLOW_TRACKING_URI, or pip install mlflow"
            ) from error
        raise UserError(f"MLflow has no record of this run: {first_line(error).strip()}") from error
    return str(run)


def parameters(result: Result) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a run, and what they came to; those without a value are left out."""
    parts = {
        "data": (result.data, ("name", "fingerprint")),
        "backbone": (result.backbone, ("name", "weights", "input_size")),
        "engine": (result.engine, ("name", "precision", "device")),
    }
    found = {f"{part}.{name}": values.get(name) for part, (values, names) in parts.items() for name in names}
    for name, value in (result.config | found).items():
        if value is not None:
            yield name, value


def metrics(result: Result) -> Iterator[tuple[str, float]]:
    """Yield the scores of every method on the test split, the ends of their intervals, and times in seconds."""
    for method in result.methods:
        for score in SCORES:
            low, high = method["test"][f"{score}_ci95"]
            values = {score: method["test"][score], f"{score}_low": low, f"{score}_high": high}
            yield from ((f"{method['name']}/{name}", value) for name, value in values.items())
        yield from ((f"{method['name']}/{name}", method[name]) for name in ("fit_s", "predict_s"))
    yield "total_s", result.seconds["total"]
