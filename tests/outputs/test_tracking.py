"""`tracking` with MLflow itself and a store of files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.refusals import refusal
from tests.samples import EXAMPLE
from transfer import cli
from transfer.evaluation import results
from transfer.outputs import tracking
from transfer.system.errors import UserError


def test_names_of_metrics_and_parameters_are_distinguished() -> None:
    result = results.load(EXAMPLE)
    found = list(tracking.metrics(result))
    assert len(dict(found)) == len(found) == 8 * len(result.methods) + 1
    name = result.methods[0]["name"]
    assert dict(found)[f"{name}/accuracy_low"] == result.methods[0]["test"]["accuracy_ci95"][0]
    settings = dict(tracking.parameters(result))
    assert settings["backbone.name"] == result.backbone["name"]
    assert None not in settings.values()


def test_mlflow_that_is_missing_is_one_line_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["run", "no-such-folder", "--log=mlflow"]) == 2
    assert capsys.readouterr().err == (
        "transfer: --log mlflow needs mlflow; install it (pip install 'mlflow')\n"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
class TestMLflow:
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
        return tmp_path / "store"

    def test_a_result_is_a_finished_run_with_its_page(self, store: Path) -> None:
        from mlflow import MlflowClient

        result = results.load(EXAMPLE)
        for _ in range(2):  # the experiment is made once
            run_id = tracking.log_run(result, "<p>page</p>")
        client = MlflowClient()
        (experiment,) = client.search_experiments(filter_string="name = 'transfer'")
        assert len(client.search_runs([experiment.experiment_id])) == 2
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.metrics == pytest.approx(dict(tracking.metrics(result)))
        assert run.data.params == {name: str(value) for name, value in tracking.parameters(result)}
        kept = {path.name: path for path in store.rglob("artifacts/*") if run_id in path.parts}
        assert kept["report.html"].read_text() == "<p>page</p>"
        assert json.loads(kept["result.json"].read_text())["created"] == result.created

    def test_a_store_that_fails_is_one_line(self, store: Path) -> None:
        store.write_text("in the way")
        with pytest.raises(UserError, match="MLflow has no record of this run: "):
            tracking.log_run(results.load(EXAMPLE), "")

    def test_the_small_package_says_what_it_needs(self, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import mlflow

        def refuse() -> None:
            raise mlflow.MlflowException(
                "Model registry functionality is unavailable; got unsupported URI 's'"
            )

        monkeypatch.setattr(mlflow, "MlflowClient", refuse)
        monkeypatch.setattr(tracking, "installed_version", lambda package: None)
        assert refusal(tracking.log_run, results.load(EXAMPLE), "") == (
            "mlflow-skinny needs a server: set MLFLOW_TRACKING_URI, or pip install mlflow"
        )

    @pytest.mark.usefixtures("timed_once")
    def test_the_command_logs_and_keeps_its_results_where_that_fails(
        self, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rng, y = np.random.default_rng(0), np.repeat(np.arange(3), 40)
        np.savez(tmp_path / "features.npz", X=rng.normal(size=(120, 4)) + y[:, None], y=y)
        out = tmp_path / "out"
        words = [
            "run",
            str(tmp_path / "features.npz"),
            "--methods=knn",
            "--repeats=0",
            "--quiet",
            "--log=mlflow",
        ]
        assert cli.main([*words, f"--out={out}"]) == 0
        (page,) = store.rglob("artifacts/report.html")
        assert page.read_text() == (out / "report.html").read_text()
        shutil.rmtree(store)
        shutil.rmtree(out)
        store.write_text("in the way")
        capsys.readouterr()
        assert cli.main([*words, f"--out={out}"]) == 2
        printed, err = capsys.readouterr()
        assert "knn" in printed
        assert err.startswith("transfer: MLflow has no record of this run: ")
        assert {path.name for path in out.iterdir()} >= {"result.json", "report.html", "predictions.csv"}
